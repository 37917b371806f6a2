#include "image/vhdx/vhdx_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "image/block_map/mapped_image.h"
#include "image/empty_layer.h"
#include "image/vhdx/bat.h"
#include "image/vhdx/log_replay.h"
#include "image/vhdx/vhdx_operations.h"

namespace vireo::image::vhdx {

std::optional<std::string> parent_path(Storage const& storage, DiskInfo const& info) {
  auto const slashes = [](std::string text) {
    std::ranges::replace(text, '\\', '/');
    return text;
  };
  if (auto const found = info.locator.find("relative_path"); found != info.locator.end()) {
    auto const folder = std::filesystem::path{storage.path()}.parent_path();
    return (folder / slashes(found->second)).string();
  }
  auto const found = info.locator.find("absolute_win32_path");
  if (found == info.locator.end() || !found->second.starts_with('/')) return {};
  return found->second;
}

namespace {

bool probe(ConstBytes head) { return head.size() >= 8 && load_le<u64>(head.data()) == file_signature; }

/// The parent holds what the child was made on.
Result<> check_linkage(Storage const& storage, DiskInfo const& info, std::string const& path) {
  auto const file = TRY(Storage::open(path, false, CacheMode::writeback));
  auto const header = TRY(read_file_header(file));
  auto const id = guid_text(header.data_write);
  for (auto const* key : {"parent_linkage", "parent_linkage2"}) {
    auto const found = info.locator.find(key);
    if (found == info.locator.end()) continue;
    auto wanted = found->second;
    std::ranges::transform(wanted, wanted.begin(), [](char each) {
      return static_cast<char>(each >= 'A' && each <= 'F' ? each + 32 : each);
    });
    if (wanted == id) return {};
  }
  return fail(Errc::corrupt, fmt::format("{}: its parent \"{}\" has changed since: its data is {} now",
                                         storage.path(), path, id));
}

Result<std::shared_ptr<BlockImage>> open_parent(Storage const& storage, DiskInfo const& info,
                                                OpenContext context) {
  if (context.options.layer_only) return empty_layer(info.bytes);
  if (!info.has_parent) return nullptr;
  auto const path = parent_path(storage, info);
  if (!context.options.follow_references) {
    return fail(Errc::denied, fmt::format("{}: is a child of \"{}\"; {}", storage.path(), path.value_or("?"),
                                          reference_hint));
  }
  if (!path) {
    return fail(Errc::not_found,
                fmt::format("{}: VHDX: its parent locator holds no path that is usable here", storage.path()));
  }
  context.options.read_only = true;
  context.options.format = "vhdx";
  auto const where = fmt::format("{}: parent", storage.path());
  auto parent = std::shared_ptr<BlockImage>{TRY_IN(where, open_image_in(*path, std::move(context)))};
  TRY(check_linkage(storage, info, *path));  // it is locked: nobody writes to it
  return parent;
}

Result<std::unique_ptr<BlockImage>> open(Storage file, OpenContext context) {
  auto const storage = std::make_shared<Storage const>(std::move(file));
  auto const keeps_identity = context.options.keep_identity;
  auto header = TRY(read_file_header(*storage));
  auto patched = std::make_unique<PatchedFile>(*storage);
  TRY(replay_log(*storage, header, *patched));
  auto const regions = TRY(read_regions(*patched, {header.log_offset, header.log_length}));
  auto const info = TRY(read_disk_info(*patched, regions.metadata));
  if (info.bat_entries() > regions.bat.length / 8) {
    return fail(Errc::corrupt,
                fmt::format("{}: VHDX: a block allocation table of {} bytes at offset {:#x}; {} entries "
                            "are needed",
                            storage->path(), regions.bat.length, regions.bat.offset, info.bat_entries()));
  }
  auto const file_bytes = TRY(storage->size());
  auto const end_of_tables =
      std::max({regions.bat.end(), regions.metadata.end(), header.log_offset + header.log_length});
  if (storage->writable() && end_of_tables > file_bytes) {
    return fail(Errc::corrupt, fmt::format("{}: VHDX: the file of {} bytes ends before its tables, at {:#x}",
                                           storage->path(), file_bytes, end_of_tables));
  }
  auto parent = TRY(open_parent(*storage, info, std::move(context)));
  auto bat = std::make_unique<Bat>(std::move(patched), header, regions, info, file_bytes, keeps_identity);
  auto const shape = block_map::MappedImage::Shape{.bytes = info.bytes,
                                                   .sector = info.logical_sector,
                                                   .block = info.block,
                                                   .alignment = MiB,
                                                   .knows_zero = true,
                                                   .keeps_places = info.leaves_blocks_allocated,
                                                   .end_of_file = align_up(file_bytes, MiB),
                                                   .log_name = "vhdx"};
  return std::make_unique<block_map::MappedImage>(storage, std::move(bat), shape,
                                                  block_map::Below{std::move(parent), 0});
}

}  // namespace

ImageFormat const format{.name = "vhdx",
                         .probe = probe,
                         .open = open,
                         .create = create,
                         .describe = describe,
                         .find_parent = parent_of,
                         .check = check,
                         .resize = resize,
                         .set_parent = set_parent};

}  // namespace vireo::image::vhdx
