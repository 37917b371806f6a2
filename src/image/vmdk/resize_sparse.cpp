#include <fmt/format.h>

#include <algorithm>

#include "image/vmdk/disk_files.h"
#include "image/vmdk/spec.h"
#include "vocab/numbers.h"

namespace vireo::image::vmdk {
namespace {

using Entries = std::vector<u32>;

Result<Entries> read_entries(Storage const& storage, u64 at, u64 count) {
  auto entries = Entries(count);
  TRY(storage.read(at, std::as_writable_bytes(std::span{entries})));
  return entries;
}

/// Grains behind the end lose their place, in a table that is there.
Result<> cut_tables(Storage const& storage, Entries const& directory, SparseHeader const& header, u64 grains) {
  auto const per_table = header.entries_per_table;
  for (auto number = grains / per_table; number < directory.size(); ++number) {
    if (directory[number] == 0) continue;
    auto const first = number * per_table < grains ? grains % per_table : 0;
    if (first == 0) {
      TRY(storage.write_zeroes(u64{directory[number]} * sector, header.table_bytes(), true));
      continue;
    }
    TRY(storage.write(u64{directory[number]} * sector + first * 4,
                      std::vector<std::byte>((per_table - first) * 4)));
  }
  return {};
}

Result<> patch_header(Storage const& storage, u64 sectors, u64 directory, u64 redundant) {
  auto bytes = std::vector<std::byte>(sparse_at::length);
  TRY(storage.read(0, bytes));
  store_le<u64>(bytes.data() + sparse_at::capacity, sectors);
  store_le<u64>(bytes.data() + sparse_at::directory, directory / sector);
  if (redundant != 0) store_le<u64>(bytes.data() + sparse_at::redundant_directory, redundant / sector);
  TRY(storage.write(0, bytes));
  return storage.sync();
}

/// A longer directory at the end of the file; tables of zeroes for what is new.
Result<u64> move_directory(Storage const& storage, Entries entries, u64 needed, u64 table_bytes) {
  auto const at = align_up(TRY(storage.size()), sector);
  auto tables = at + align_up(needed * 4, sector);
  auto const old = entries.size();
  entries.resize(needed);
  for (auto number = old; number < needed; ++number, tables += table_bytes) {
    if (tables / sector > 0xffffffff) {
      return fail(Errc::no_space, fmt::format("{}: VMDK extents cannot grow over 2 TiB", storage.path()));
    }
    entries[number] = static_cast<u32>(tables / sector);
  }
  TRY(storage.truncate(align_up(tables, 64 * KiB)));
  TRY(storage.write(at, std::as_bytes(std::span{entries})));
  return at;
}

}  // namespace

Result<> resize_sparse(Storage const& storage, u64 sectors) {
  auto const header = TRY(read_sparse_header(storage));
  if (header.kind != SparseHeader::Kind::hosted) {
    return fail(Errc::unsupported,
                fmt::format("{}: ESXi's VMDK kinds are read only; convert it", storage.path()));
  }
  auto const grain = header.grain / sector;
  auto const grains = (sectors + grain - 1) / grain;
  auto const needed = (grains + header.entries_per_table - 1) / header.entries_per_table;
  if (needed * 4 > largest_directory_bytes) {
    return fail(Errc::invalid, fmt::format("{}: {} sectors are too many for VMDK", storage.path(), sectors));
  }
  auto const first = TRY(read_entries(storage, header.directory, header.directory_entries));
  auto const redundant = header.redundant_directory == 0
                             ? Entries{}
                             : TRY(read_entries(storage, header.redundant_directory, header.directory_entries));
  if (needed <= first.size()) {
    TRY(patch_header(storage, sectors, header.directory, header.redundant_directory));
    TRY(cut_tables(storage, first, header, grains));
    TRY(cut_tables(storage, redundant, header, grains));
    for (auto const at : {header.directory, header.redundant_directory}) {
      auto const from = at + align_up(needed * 4, sector);
      auto const to = at + align_up(first.size() * 4, sector);
      if (at != 0 && from < to) TRY(storage.write_zeroes(from, to - from, true));
    }
    return storage.sync();
  }
  auto const second_at =
      redundant.empty() ? u64{0} : TRY(move_directory(storage, redundant, needed, header.table_bytes()));
  auto const first_at = TRY(move_directory(storage, first, needed, header.table_bytes()));
  TRY(storage.sync());
  return patch_header(storage, sectors, first_at, second_at);
}

}  // namespace vireo::image::vmdk
