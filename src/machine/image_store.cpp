#include "machine/image_store.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>

#include "host/paths.h"
#include "host/system_error.h"
#include "vocab/units.h"

namespace vireo::machine {
namespace {

namespace fs = std::filesystem;

std::string double_quoted(std::string_view text) {
  auto result = std::string{"\""};
  for (auto const letter : text) {
    if (letter == '"' || letter == '\\') result += '\\';
    result += letter;
  }
  return result + "\"";
}

std::string description(StoredImage const& image) {
  return fmt::format(
      "apiVersion: vireo/v1\nkind: Image\nname: {}\nspec:\n  release: {}\n  disk: {}\n  diskFormat: {}\n"
      "  kernel: {}\n  initrd: {}\n  commandLine: {}\n",
      image.name, double_quoted(image.release), double_quoted(image.disk), image.disk_format,
      double_quoted(image.kernel), double_quoted(image.initrd), double_quoted(image.command_line));
}

Result<> remove_tree(std::string const& path) {
  auto error = std::error_code{};
  fs::remove_all(path, error);
  if (error) return host::fail_errno(error.value(), fmt::format("{}: cannot be removed", path));
  return {};
}

/// Machines read it (as a backing file) or write to it.
bool in_use(StoredImage const& image) {
  auto const disk = host::File::open(image.disk, {.write = true});
  return disk && !disk->lock(host::File::Lock::exclusive);
}

}  // namespace

Result<> check_image_name(std::string_view name) {
  auto const plain = [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9');
  };
  auto const allowed = [&](char letter) {
    return plain(letter) || letter == '.' || letter == '_' || letter == '-';
  };
  if (!name.empty() && name.size() <= 63 && plain(name.front()) && std::ranges::all_of(name, allowed))
    return {};
  return fail(Errc::invalid,
              fmt::format("image name '{}': lower-case letters, digits, '.', '_' and '-', at most 63, "
                          "a letter or digit first",
                          name));
}

ImageStore::ImageStore() : ImageStore{host::home_folder() + "/images"} {}

Result<StoredImage> ImageStore::read(std::string_view name) const {
  auto const folder = folder_of(name);
  auto const path = folder + "/image.yaml";
  auto const text = TRY(host::read_text(path));
  try {
    auto const document = YAML::Load(text);
    auto const spec = document["spec"];
    if (document["kind"].as<std::string>("") != "Image" || !spec.IsMap()) {
      return fail(Errc::corrupt, fmt::format("{}: no description of an image", path));
    }
    auto const entry = [&](char const* key) { return spec[key].as<std::string>(""); };
    auto const beside = [&](char const* key) {
      return entry(key).empty() ? "" : (fs::path{folder} / entry(key)).string();
    };
    return StoredImage{.name = std::string{name},
                       .release = entry("release"),
                       .disk = beside("disk"),
                       .disk_format = entry("diskFormat"),
                       .kernel = beside("kernel"),
                       .initrd = beside("initrd"),
                       .command_line = entry("commandLine")};
  } catch (YAML::Exception const& exception) {
    return fail(Errc::corrupt, fmt::format("{}: {}", path, exception.what()));
  }
}

Result<std::vector<StoredImage>> ImageStore::list() const {
  auto images = std::vector<StoredImage>{};
  auto error = std::error_code{};
  for (auto const& entry : fs::directory_iterator{folder_, error}) {
    auto const name = entry.path().filename().string();
    if (!check_image_name(name)) continue;
    if (auto image = read(name)) images.push_back(*std::move(image));
  }
  if (error && error != std::errc::no_such_file_or_directory) return host::fail_errno(error.value(), folder_);
  std::ranges::sort(images, {}, &StoredImage::name);
  return images;
}

Result<StoredImage> ImageStore::find(std::string_view name) const {
  TRY(check_image_name(name));
  auto image = read(name);
  if (image || image.error().code() != Errc::not_found) return image;
  auto names = std::vector<std::string>{};
  for (auto const& each : TRY(list())) names.push_back(each.name);
  auto const near = nearest(name, names);
  return fail(Errc::not_found,
              near.empty() ? fmt::format("no image '{0}' in {1}; build one: vireo image build debian -o {0}",
                                         name, folder_)
                           : fmt::format("no image '{}' in {}; did you mean '{}'?", name, folder_, near));
}

Result<> ImageStore::remove(std::string_view name) const {
  auto const image = TRY(find(name));
  if (in_use(image))
    return fail(Errc::busy, fmt::format("image {}: a machine uses its disk; stop it first", name));
  // Out of sight in one step: a half-removed image is never listed.
  auto const doomed = fmt::format("{}/.{}.removed", folder_, name);
  TRY(remove_tree(doomed));
  auto error = std::error_code{};
  fs::rename(folder_of(name), doomed, error);
  if (error) return host::fail_errno(error.value(), fmt::format("image {}: cannot be removed", name));
  return remove_tree(doomed);
}

Result<ImageStore::Draft> ImageStore::draft(std::string const& name) const {
  TRY(check_image_name(name));
  TRY(host::make_folders(folder_));
  auto draft = Draft{};
  draft.final_ = folder_of(name);
  draft.lock_ =
      TRY(host::File::open(fmt::format("{}/.{}.lock", folder_, name), {.write = true, .create = true}));
  TRY_IN(fmt::format("image {} is being built", name), draft.lock_.lock(host::File::Lock::exclusive));
  if (fs::exists(draft.final_)) {
    return fail(Errc::busy, fmt::format("image {0} exists; remove it first: vireo image rm {0}", name));
  }
  auto folder = fmt::format("{}/.{}.draft", folder_, name);
  TRY(remove_tree(folder));
  TRY(host::make_folders(folder));
  draft.folder_ = std::move(folder);
  return draft;
}

ImageStore::Draft::~Draft() {
  // The lock's file stays: whoever waits for it must not lock a file that has no name.
  if (!folder_.empty()) static_cast<void>(remove_tree(folder_));
}

Result<StoredImage> ImageStore::Draft::publish(StoredImage const& image) {
  TRY(host::write_text(folder_ + "/image.yaml", description(image)));
  auto error = std::error_code{};
  fs::rename(folder_, final_, error);
  if (error) return host::fail_errno(error.value(), fmt::format("image {}: cannot be published", image.name));
  folder_.clear();
  return ImageStore{fs::path{final_}.parent_path().string()}.find(image.name);
}

}  // namespace vireo::machine
