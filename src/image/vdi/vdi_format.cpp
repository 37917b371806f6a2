#include "image/vdi/vdi_format.h"

#include <fmt/format.h>

#include "image/blocks/block_mapped_image.h"
#include "image/empty_layer.h"
#include "image/vdi/vdi_layout.h"
#include "image/vdi/vdi_operations.h"

namespace vireo::image::vdi {
namespace {

bool probe(ConstBytes head) {
  return head.size() >= header_bytes && load_le<u32>(head.data() + header_at::signature) == signature;
}

Result<std::unique_ptr<BlockImage>> open_parent(Storage const& storage, Header const& header,
                                                OpenContext context) {
  if (!context.options.follow_references) {
    return fail(Errc::denied,
                fmt::format("{}: vdi: is a differencing image; {}", storage.path(), reference_hint));
  }
  auto const path = TRY(find_parent(storage.path(), header.parent_id));
  auto const parent_storage = TRY(Storage::open(path, false, CacheMode::writeback));
  auto const parent = TRY(read_header(parent_storage));
  if (parent.modification != header.parent_modification) {
    return fail(
        Errc::corrupt,
        fmt::format("{}: vdi: its parent {} was written to since this image was made (modification UUID at "
                    "offset {:#x})",
                    storage.path(), path, header_at::parent_modification_uuid));
  }
  context.options.read_only = true;
  context.options.format = format.name;
  auto opened = open_image_in(path, std::move(context));
  if (!opened) return std::unexpected{std::move(opened).error().in(storage.path() + ": parent")};
  return opened;
}

Result<std::unique_ptr<BlockImage>> open(Storage storage, OpenContext context) {
  auto const keeps_identity = context.options.keep_identity;
  auto const header = TRY(read_header(storage));
  auto parent = std::unique_ptr<BlockImage>{};
  if (context.options.layer_only) {
    parent = empty_layer(header.bytes);
  } else if (header.type == ImageType::differencing) {
    parent = TRY(open_parent(storage, header, std::move(context)));
  }
  auto layout = std::make_unique<VdiLayout>(header, TRY(storage.size()), keeps_identity);
  return std::make_unique<blocks::BlockMappedImage>(std::move(storage), std::move(layout), std::move(parent));
}

}  // namespace

ImageFormat const format{.name = "vdi",
                         .probe = probe,
                         .open = open,
                         .create = create,
                         .describe = describe,
                         .find_parent = parent_of,
                         .check = check,
                         .resize = resize,
                         .set_parent = set_parent};

}  // namespace vireo::image::vdi
