#include "image/appliance/package.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "vocab/numbers.h"

namespace vireo::image::appliance {
namespace {

namespace fs = std::filesystem;

constexpr u64 largest_text{16 * MiB};
constexpr u64 piece{1 * MiB};

bool ends_with(std::string const& name, std::string_view end) {
  if (name.size() < end.size()) return false;
  return std::equal(end.begin(), end.end(), name.end() - static_cast<std::ptrdiff_t>(end.size()),
                    [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b + 32) : b); });
}
std::string with_end(std::string const& name, std::string_view end) {
  return fmt::format("{}{}", name.substr(0, name.rfind('.')), end);
}

}  // namespace

Result<Package> Package::open(std::string const& path) {
  auto package = Package{};
  package.path_ = path;
  package.folder_ = fs::path{path}.parent_path().string();
  package.descriptor_ = fs::path{path}.filename().string();
  package.is_tar_ = !ends_with(path, ".ovf");
  if (package.is_tar_) {
    auto const file = TRY(host::File::open(path, {}));
    auto const bytes = TRY(file.size());
    package.members_ = TRY_IN(path, read_tar([&](u64 at, Bytes into) { return file.read(at, into); }, bytes));
    auto const found =
        std::ranges::find_if(package.members_, [](auto const& each) { return ends_with(each.name, ".ovf"); });
    if (found == package.members_.end())
      return fail(Errc::corrupt, fmt::format("{}: holds no OVF descriptor", path));
    package.descriptor_ = found->name;
  }
  auto const manifest = with_end(package.descriptor_, ".mf");
  package.is_signed_ = package.has(with_end(package.descriptor_, ".cert"));
  package.has_manifest_ = package.has(manifest);
  if (package.has_manifest_) {
    auto const text = TRY(package.text_of(manifest, largest_text));
    package.manifest_ = TRY_IN(path, parse_manifest(text));
    for (auto const& line : package.manifest_) {
      if (!is_plain_name(line.file) || !package.has(line.file))
        return fail(Errc::corrupt,
                    fmt::format("{}: its manifest names \"{:.100}\", which is missing", path, line.file));
    }
  }
  auto const text = TRY(package.text_of(package.descriptor_, largest_text));
  TRY(package.check_text(package.descriptor_, text));
  package.appliance_ = TRY_IN(path, parse_ovf(text));
  return package;
}

std::vector<std::string> Package::warnings() const {
  auto lines = appliance_.warnings;
  if (is_signed_) lines.emplace_back("its signature is not verified");
  if (!has_manifest_) lines.emplace_back("it has no manifest: nothing tells whether its files are whole");
  for (auto const& file : appliance_.files) {
    if (has_manifest_ && line_of(file.name) == nullptr)
      lines.push_back(fmt::format("its manifest has no sum of {}", file.name));
  }
  return lines;
}

bool Package::has(std::string const& name) const {
  if (is_tar_) return std::ranges::find(members_, name, &TarMember::name) != members_.end();
  auto failure = std::error_code{};
  return fs::exists(fs::path{folder_} / name, failure);
}

ManifestLine const* Package::line_of(std::string const& name) const {
  auto const found = std::ranges::find(manifest_, name, &ManifestLine::file);
  return found == manifest_.end() ? nullptr : &*found;
}

Result<Package::Source> Package::source(std::string const& name) const {
  if (is_tar_) {
    auto const found = std::ranges::find(members_, name, &TarMember::name);
    if (found == members_.end()) return fail(Errc::not_found, fmt::format("{}: holds no {}", path_, name));
    return Source{TRY(host::File::open(path_, {})), found->at, found->bytes};
  }
  auto const path = fs::path{folder_} / name;
  auto failure = std::error_code{};
  // A folder that somebody unpacked: a link could lead to any file of this host.
  if (name != descriptor_ && fs::is_symlink(path, failure))
    return fail(Errc::denied, fmt::format("{}: is a link", path.string()));
  auto file = TRY(host::File::open(path.string(), {.no_wait = true}));
  if (file.kind() != host::File::Kind::regular)
    return fail(Errc::denied, fmt::format("{}: is no plain file", path.string()));
  auto const bytes = TRY(file.size());
  return Source{std::move(file), 0, bytes};
}

Result<std::string> Package::text_of(std::string const& name, u64 longest) const {
  auto const from = TRY(source(name));
  if (from.bytes > longest)
    return fail(Errc::corrupt, fmt::format("{}: {} is {} bytes long", path_, name, from.bytes));
  auto text = std::string(from.bytes, '\0');
  TRY(from.file.read(from.at, std::as_writable_bytes(std::span{text})));
  return text;
}

Result<> Package::check_text(std::string const& name, std::string const& text) const {
  auto const* const line = line_of(name);
  if (line == nullptr) return {};
  auto sum = TRY_IN(path_, FileSum::create(line->kind));
  TRY(sum.add(std::as_bytes(std::span{text})));
  if (TRY(sum.finish()) == line->sum) return {};
  return fail(Errc::corrupt, fmt::format("{}: {} is not what its manifest says", path_, name));
}

Result<> Package::read_all(std::string const& name, host::File const* copy) const {
  auto const from = TRY(source(name));
  auto const* const line = line_of(name);
  auto sum = TRY_IN(path_, FileSum::create(line == nullptr ? "SHA256" : line->kind));
  auto buffer = std::vector<std::byte>(piece);
  for (auto done = u64{0}; done < from.bytes; done += piece) {
    auto const part = Bytes{buffer}.first(std::min(piece, from.bytes - done));
    TRY(from.file.read(from.at + done, part));
    TRY(sum.add(part));
    if (copy != nullptr) TRY(copy->write(done, part));
  }
  if (line == nullptr || TRY(sum.finish()) == line->sum) return {};
  return fail(Errc::corrupt, fmt::format("{}: {} is not what its manifest says", path_, name));
}

Result<std::optional<std::string>> Package::find_checked(std::string const& name) const {
  if (is_tar_) return std::nullopt;
  if (line_of(name) != nullptr) TRY(read_all(name, nullptr));
  TRY(source(name));
  return (fs::path{folder_} / name).string();
}

Result<> Package::copy_checked(std::string const& name, std::string const& path) const {
  auto const file = TRY(host::File::open(path, {.write = true, .create = true, .exclusive = true}));
  auto const outcome = read_all(name, &file);
  if (!outcome) ::unlink(path.c_str());
  return outcome;
}

}  // namespace vireo::image::appliance
