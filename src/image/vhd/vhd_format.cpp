#include "image/vhd/vhd_format.h"

#include <fmt/format.h>

#include "image/blocks/block_mapped_image.h"
#include "image/empty_layer.h"
#include "image/vhd/fixed_vhd_image.h"
#include "image/vhd/vhd_layout.h"
#include "image/vhd/vhd_operations.h"

namespace vireo::image::vhd {
namespace {

/// Of dynamic and differencing disks. A fixed disk starts with the guest's bytes.
bool probe(ConstBytes head) {
  return head.size() >= footer_bytes &&
         std::memcmp(head.data(), footer_cookie.data(), footer_cookie.size()) == 0;
}

Result<std::unique_ptr<BlockImage>> open_parent(Storage const& storage, DynamicHeader const& header,
                                                OpenContext context) {
  if (!context.options.follow_references) {
    return fail(Errc::denied, fmt::format("{}: vhd: is a differencing image over \"{}\"; {}", storage.path(),
                                          header.parent_name, reference_hint));
  }
  auto const path = TRY(find_parent(storage, header));
  context.options.read_only = true;
  context.options.format = format.name;
  auto opened = open_image_in(path, std::move(context));
  if (!opened) return std::unexpected{std::move(opened).error().in(storage.path() + ": parent")};
  return opened;
}

Result<std::unique_ptr<BlockImage>> open(Storage storage, OpenContext context) {
  auto footer = TRY(read_footer(storage));
  if (footer.type == DiskType::fixed) return open_fixed(std::move(storage), footer);
  auto header = TRY(read_dynamic_header(storage, footer));
  auto parent = std::unique_ptr<BlockImage>{};
  if (context.options.layer_only) {
    parent = empty_layer(footer.bytes);
  } else if (footer.type == DiskType::differencing) {
    parent = TRY(open_parent(storage, header, std::move(context)));
  }
  auto const file_bytes = TRY(storage.size());
  auto layout = std::make_unique<VhdLayout>(std::move(footer), std::move(header), file_bytes);
  return std::make_unique<blocks::BlockMappedImage>(std::move(storage), std::move(layout), std::move(parent));
}

}  // namespace

ImageFormat const format{.name = "vhd",
                         .probe = probe,
                         .open = open,
                         .create = create,
                         .describe = describe,
                         .find_parent = parent_of,
                         .check = check,
                         .resize = resize,
                         .set_parent = set_parent};

}  // namespace vireo::image::vhd
