#include "image/vmdk/vmdk_format.h"

#include <fmt/format.h>

#include <filesystem>

#include "image/empty_layer.h"
#include "image/vmdk/open_extents.h"
#include "image/vmdk/vmdk_operations.h"

namespace vireo::image::vmdk {
namespace {

constexpr std::string_view text_start{"# Disk DescriptorFile"};

bool is_sparse(ConstBytes head) {
  auto const magic = load_le<u32>(head.data());
  return magic == sparse_magic || magic == cowd_magic || load_le<u64>(head.data()) == sesparse::magic;
}

bool is_text(ConstBytes head) {
  if (head.size() < text_start.size()) return false;
  for (auto at = std::size_t{0}; at < text_start.size(); ++at) {
    auto const lower = [](char each) { return each >= 'A' && each <= 'Z' ? each + ('a' - 'A') : each; };
    if (lower(static_cast<char>(head[at])) != lower(text_start[at])) return false;
  }
  return true;
}

bool probe(ConstBytes head) { return head.size() >= 8 && (is_sparse(head) || is_text(head)); }

Result<std::shared_ptr<BlockImage>> open_parent(Storage const& storage, Descriptor const& descriptor,
                                                u64 disk_bytes, OpenContext context) {
  if (context.options.layer_only) return empty_layer(disk_bytes);
  if (descriptor.parent_cid == no_parent) return nullptr;
  auto const& hint = descriptor.parent_hint;
  if (hint.empty()) {
    return fail(Errc::corrupt,
                fmt::format("{}: VMDK descriptor has parentCID {:08x}, but no parentFileNameHint",
                            storage.path(), descriptor.parent_cid));
  }
  if (!context.options.follow_references) {
    return fail(Errc::denied,
                fmt::format("{}: is a child of \"{}\"; {}", storage.path(), hint, reference_hint));
  }
  auto const where = fmt::format("{}: parent", storage.path());
  context.options.read_only = true;
  context.options.format = "vmdk";
  auto const path = std::filesystem::path{storage.path()}.parent_path() / hint;
  auto parent = std::shared_ptr<BlockImage>{TRY_IN(where, open_image_in(path.string(), std::move(context)))};
  auto const* const image = dynamic_cast<VmdkImage const*>(parent.get());
  if (image != nullptr && image->cid() != descriptor.parent_cid) {
    return fail(Errc::corrupt, fmt::format("{}: its parent \"{}\" has changed since: CID {:08x}, not {:08x}",
                                           storage.path(), hint, image->cid(), descriptor.parent_cid));
  }
  return parent;
}

Result<std::unique_ptr<BlockImage>> open_single(std::shared_ptr<Storage const> storage, OpenContext context) {
  auto const kept = context.options.keep_identity;
  auto const header = TRY(read_sparse_header(*storage));
  if (header.descriptor_bytes == 0) {
    return fail(
        Errc::invalid,
        fmt::format("{}: is one extent of a VMDK disk; open the descriptor that names it", storage->path()));
  }
  auto const place = DescriptorPlace{header.descriptor, header.descriptor_bytes};
  auto const text = TRY(read_descriptor(*storage, place));
  auto const descriptor = TRY(parse_descriptor(storage->path(), text));
  auto parent = TRY(open_parent(*storage, descriptor, header.bytes, std::move(context)));
  auto disk = TRY(open_sparse(storage, header, header.bytes, {std::move(parent), 0}));
  auto parts = std::vector<VmdkImage::Part>{};
  parts.push_back({0, header.bytes, std::move(disk)});
  return std::make_unique<VmdkImage>(std::move(parts),
                                     VmdkImage::Identity{storage, place, descriptor.cid, kept});
}

Result<std::unique_ptr<BlockImage>> open(Storage file, OpenContext context) {
  auto const storage = std::make_shared<Storage const>(std::move(file));
  auto head = std::vector<std::byte>(64);
  TRY(storage->read(0, head));
  if (is_sparse(head)) return open_single(storage, std::move(context));
  auto const kept = context.options.keep_identity;
  auto const place = DescriptorPlace{0, TRY(storage->size())};
  if (!is_text(head) || place.length > largest_descriptor_bytes) {
    return fail(Errc::corrupt,
                fmt::format("{}: neither a VMDK extent nor a descriptor of at most {} bytes: starts with {:#x}",
                            storage->path(), largest_descriptor_bytes, load_le<u32>(head.data())));
  }
  auto const text = TRY(read_descriptor(*storage, place));
  auto const descriptor = TRY(parse_descriptor(storage->path(), text));
  auto const parent = TRY(open_parent(*storage, descriptor, largest_capacity * sector, context));
  auto parts = TRY(open_extents(storage->path(), descriptor, context, parent));
  return std::make_unique<VmdkImage>(std::move(parts),
                                     VmdkImage::Identity{storage, place, descriptor.cid, kept});
}

}  // namespace

ImageFormat const format{.name = "vmdk",
                         .probe = probe,
                         .open = open,
                         .create = create,
                         .describe = describe,
                         .find_parent = parent_of,
                         .check = check,
                         .resize = resize,
                         .set_parent = set_parent};

}  // namespace vireo::image::vmdk
