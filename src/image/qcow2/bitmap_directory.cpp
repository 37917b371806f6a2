#include "image/qcow2/bitmap_directory.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/qcow2/editor.h"
#include "image/qcow2/spec.h"
#include "observe/log.h"
#include "vocab/numbers.h"

namespace vireo::image::qcow2 {
namespace {

std::unexpected<Error> corrupt(Storage const& storage, std::string_view what) {
  return fail(Errc::corrupt, fmt::format("{}: qcow2 bitmaps: {}", storage.path(), what));
}

std::string text(ConstBytes bytes) {
  // SOUND: bytes seen as characters.
  return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
}

}  // namespace

bool StoredBitmap::understood() const {
  constexpr auto known = bitmap_flag::in_use | bitmap_flag::automatic | bitmap_flag::extra_data_compatible;
  return type == dirty_tracking_bitmap && extra.empty() && (flags & ~known) == 0 &&
         granularity_bits >= DirtyBitmap::smallest_granularity_bits &&
         granularity_bits <= DirtyBitmap::largest_granularity_bits;
}

Result<std::vector<StoredBitmap>> read_bitmap_directory(Storage const& storage, Header const& header) {
  auto all = std::vector<StoredBitmap>{};
  auto const bytes = header.bitmap_directory_bytes;
  if (header.bitmaps == 0) return all;
  auto const file_bytes = TRY(storage.size());
  if (header.bitmaps > most_bitmaps || bytes > largest_bitmap_directory ||
      header.bitmap_directory_offset % header.cluster_size() != 0 ||
      header.bitmap_directory_offset > file_bytes || bytes > file_bytes - header.bitmap_directory_offset) {
    return corrupt(
        storage, fmt::format("a directory of {} bytes at offset {:#x}", bytes, header.bitmap_directory_offset));
  }
  auto directory = std::vector<std::byte>(bytes);
  TRY(storage.read(header.bitmap_directory_offset, directory));
  auto at = u64{0};
  for (auto number = u32{0}; number < header.bitmaps; ++number) {
    if (at > bytes || bytes - at < bitmap_at::extra) return corrupt(storage, "the directory is too short");
    auto const* const data = directory.data() + at;
    auto const extra = u64{load_be<u32>(data + bitmap_at::extra_size)};
    auto const name = u64{load_be<u16>(data + bitmap_at::name_size)};
    if (bytes - at - bitmap_at::extra < extra + name) return corrupt(storage, "the directory is too short");
    auto const tail = ConstBytes{directory}.subspan(at + bitmap_at::extra, extra + name);
    all.push_back({.name = text(tail.subspan(extra)),
                   .table_offset = load_be<u64>(data + bitmap_at::table_offset),
                   .table_size = load_be<u32>(data + bitmap_at::table_size),
                   .flags = load_be<u32>(data + bitmap_at::flags),
                   .type = load_be<u8>(data + bitmap_at::type),
                   .granularity_bits = load_be<u8>(data + bitmap_at::granularity_bits),
                   .extra = {tail.begin(), tail.begin() + static_cast<std::ptrdiff_t>(extra)},
                   .entry_at = at});
    at += align_up(bitmap_at::extra + extra + name, 8);
  }
  return all;
}

std::vector<std::byte> encode_bitmap_directory(std::vector<StoredBitmap> const& bitmaps) {
  auto bytes = std::vector<std::byte>{};
  for (auto const& each : bitmaps) {
    auto const start = bytes.size();
    bytes.resize(start + bitmap_at::extra);
    auto* const data = bytes.data() + start;
    store_be<u64>(data + bitmap_at::table_offset, each.table_offset);
    store_be<u32>(data + bitmap_at::table_size, each.table_size);
    store_be<u32>(data + bitmap_at::flags, each.flags);
    store_be<u8>(data + bitmap_at::type, each.type);
    store_be<u8>(data + bitmap_at::granularity_bits, each.granularity_bits);
    store_be<u16>(data + bitmap_at::name_size, static_cast<u16>(each.name.size()));
    store_be<u32>(data + bitmap_at::extra_size, static_cast<u32>(each.extra.size()));
    bytes.insert(bytes.end(), each.extra.begin(), each.extra.end());
    auto const name = std::as_bytes(std::span{each.name});
    bytes.insert(bytes.end(), name.begin(), name.end());
    bytes.resize(align_up(bytes.size(), 8));
  }
  return bytes;
}

Result<DirtyBitmap> load_bitmap(Storage const& storage, Header const& header, StoredBitmap const& stored) {
  auto const granularity = u64{1} << stored.granularity_bits;
  auto const bytes_needed = (((header.size + granularity - 1) >> stored.granularity_bits) + 7) / 8;
  auto const clusters = (bytes_needed + header.cluster_size() - 1) >> header.cluster_bits;
  if (bytes_needed > largest_bitmaps) {
    return fail(Errc::unsupported, fmt::format("{}: qcow2 bitmap '{}' takes {} bytes; at most {}",
                                               storage.path(), stored.name, bytes_needed, largest_bitmaps));
  }
  auto bitmap = TRY(DirtyBitmap::create(stored.name, header.size, granularity));
  bitmap.enabled = (stored.flags & bitmap_flag::automatic) != 0;
  bitmap.inconsistent = (stored.flags & bitmap_flag::in_use) != 0;
  if (bitmap.inconsistent) return bitmap;
  auto const file_bytes = TRY(storage.size());
  if (stored.table_size != clusters || stored.table_offset % header.cluster_size() != 0 ||
      stored.table_offset > file_bytes || u64{stored.table_size} * 8 > file_bytes - stored.table_offset) {
    return corrupt(storage, fmt::format("'{}' has a table of {} entries at offset {:#x}; {} are needed",
                                        stored.name, stored.table_size, stored.table_offset, clusters));
  }
  auto table = std::vector<std::byte>(u64{stored.table_size} * 8);
  TRY(storage.read(stored.table_offset, table));
  auto data = std::vector<std::byte>(header.cluster_size());
  for (auto index = u64{0}; index < clusters; ++index) {
    auto const entry = load_be<u64>(table.data() + index * 8);
    auto const at = entry & l1_entry::offset_mask;
    auto const wrong = (entry & ~(l1_entry::offset_mask | bitmap_all_ones)) != 0 ||
                       (at != 0 && (entry & bitmap_all_ones) != 0) || at % header.cluster_size() != 0 ||
                       at >= file_bytes;
    if (wrong) {
      return corrupt(storage, fmt::format("entry {} of the table of '{}' is {:#x}", index, stored.name, entry));
    }
    if (entry == 0) continue;
    if (at == 0) std::ranges::fill(data, std::byte{0xff});
    if (at != 0) TRY(storage.read(at, data));
    bitmap.load(index << header.cluster_bits, data);
  }
  return bitmap;
}

Result<LoadedBitmaps> load_bitmaps(Storage const& storage, Header const& header) {
  auto loaded = LoadedBitmaps{};
  auto room = largest_bitmaps;
  for (auto const& each : TRY(read_bitmap_directory(storage, header))) {
    auto bitmap = each.understood() ? load_bitmap(storage, header, each)
                                    : fail(Errc::unsupported, "a bitmap of an unknown kind");
    if (bitmap && bitmap->byte_count() <= room) {
      room -= bitmap->byte_count();
      loaded.bitmaps.push_back(*std::move(bitmap));
    } else {
      loaded.opaque.insert(each.name);
    }
  }
  return loaded;
}

Result<> mark_in_use(Storage const& storage, Header const& header) {
  auto changed = false;
  for (auto const& each : TRY(read_bitmap_directory(storage, header))) {
    if ((each.flags & bitmap_flag::automatic) == 0 || (each.flags & bitmap_flag::in_use) != 0) continue;
    auto flags = std::vector<std::byte>(4);
    store_be<u32>(flags.data(), each.flags | bitmap_flag::in_use);
    TRY(storage.write(header.bitmap_directory_offset + each.entry_at + bitmap_at::flags, flags));
    changed = true;
  }
  return changed ? storage.sync() : Result<>{};
}

Result<std::vector<Fact>> describe_bitmaps(Storage const& storage, Header const& header) {
  auto facts = std::vector<Fact>{};
  for (auto const& each : TRY(read_bitmap_directory(storage, header))) {
    auto flags = FactList{{}, true};
    if ((each.flags & bitmap_flag::in_use) != 0) flags.facts.push_back({"", std::string{"in-use"}});
    if ((each.flags & bitmap_flag::automatic) != 0) flags.facts.push_back({"", std::string{"auto"}});
    auto const granularity = each.granularity_bits < 64 ? u64{1} << each.granularity_bits : 0;
    facts.push_back(
        {"", FactList{{{"flags", flags}, {"name", each.name}, {"granularity", granularity}}, false}});
  }
  return facts;
}

Result<std::unique_ptr<FileBitmaps>> FileBitmaps::open(Storage const& storage, Header const& header) {
  auto bitmaps = std::unique_ptr<FileBitmaps>{new FileBitmaps{storage, header.size}};
  auto loaded = load_bitmaps(storage, header);
  if (!loaded) {
    observe::log(observe::Level::warning, "image", "{}; none of them is valid any longer",
                 loaded.error().what());
    auto bytes = std::vector<std::byte>(8);
    store_be<u64>(bytes.data(), header.autoclear_features & ~autoclear_bitmaps);
    TRY(storage.write(header_at::autoclear_features, bytes));
    TRY(storage.sync());
    return bitmaps;
  }
  for (auto const& name : loaded->opaque) {
    observe::log(observe::Level::warning, "image",
                 "{}: qcow2 bitmap '{}' cannot be read, and will be out of date", storage.path(), name);
  }
  if (!loaded->opaque.empty()) bitmaps->must_announce();
  bitmaps->opaque_ = std::move(loaded->opaque);
  bitmaps->put(std::move(loaded->bitmaps));
  return bitmaps;
}

Result<> FileBitmaps::drop(std::string const& name) {
  if (opaque_.erase(name) == 0) return remove(name);
  set_edited();
  return {};
}

void FileBitmaps::distrust() { distrust_all(); }

void FileBitmaps::restore(std::vector<DirtyBitmap> bitmaps) {
  for (auto& each : bitmaps) {
    static_cast<void>(remove(each.name()));
    static_cast<void>(add(std::move(each)));
  }
}

Result<> FileBitmaps::invalidate_stored() { return mark_in_use(storage_, TRY(read_header(storage_))); }

Result<> FileBitmaps::save() {
  auto const bitmaps = to_store();
  if (!bitmaps) return {};
  auto editor = TRY(Editor::open(storage_));
  return editor.store_bitmaps({*bitmaps, opaque_});
}

}  // namespace vireo::image::qcow2
