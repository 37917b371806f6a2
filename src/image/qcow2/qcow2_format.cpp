#include "image/qcow2/qcow2_format.h"

#include <fmt/format.h>

#include <filesystem>

#include "image/formats.h"
#include "image/qcow2/qcow2_image.h"

namespace vireo::image::qcow2 {
namespace {

bool probe(ConstBytes head) { return head.size() >= 8 && load_be<u32>(head.data()) == magic; }

Result<std::string> backing_path(Storage const& storage, std::string const& name) {
  auto const colon = name.find(':');
  if (colon != std::string::npos && name.find('/') > colon && !name.starts_with("file:")) {
    return fail(Errc::unsupported,
                fmt::format("{}: backing file \"{}\" is not a plain file; copy it to one and rebase the image",
                            storage.path(), name));
  }
  auto const path = std::filesystem::path{name.starts_with("file:") ? name.substr(5) : name};
  return path.is_absolute() ? path.string()
                            : (std::filesystem::path{storage.path()}.parent_path() / path).string();
}

Result<std::unique_ptr<BlockImage>> open(Storage storage, OpenContext context) {
  auto const header = TRY(read_header(storage));
  auto backing = std::unique_ptr<BlockImage>{};
  if (!header.backing_file.empty()) {
    auto const path = TRY(backing_path(storage, header.backing_file));
    context.options.read_only = true;
    context.options.format = header.backing_format;
    backing = TRY_IN(fmt::format("{}: backing file", storage.path()), open_image_in(path, std::move(context)));
  }
  return Qcow2Image::open(std::move(storage), header, std::move(backing));
}

}  // namespace

ImageFormat const format{.name = "qcow2", .probe = probe, .open = open};

}  // namespace vireo::image::qcow2
