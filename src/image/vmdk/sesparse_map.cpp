#include "image/vmdk/sesparse_map.h"

#include <fmt/format.h>

namespace vireo::image::vmdk {
namespace {

using block_map::BlockState;
constexpr std::size_t cached_tables{256};

}  // namespace

SeSparseMap::SeSparseMap(Storage const& storage, SparseHeader const& header, u64 file_bytes)
    : storage_{&storage}, header_{header}, file_bytes_{file_bytes}, pages_{cached_tables} {}

std::unexpected<Error> SeSparseMap::corrupt(std::string_view what, u64 index, u64 entry) const {
  return fail(Errc::corrupt,
              fmt::format("{}: VMDK seSparse: {} {} is {:#x}", storage_->path(), what, index, entry));
}

Result<std::unique_ptr<SeSparseMap>> SeSparseMap::open(Storage const& storage, SparseHeader const& header) {
  auto map = std::unique_ptr<SeSparseMap>{new SeSparseMap{storage, header, TRY(storage.size())}};
  map->directory_.resize(header.directory_entries);
  TRY(storage.read(header.directory, std::as_writable_bytes(std::span{map->directory_})));
  for (auto index = std::size_t{0}; index < map->directory_.size(); ++index) {
    auto const entry = map->directory_[index];
    auto const place = header.tables + (entry & ~sesparse::directory_kind_mask) * header.table_bytes();
    if (entry != 0 && ((entry & sesparse::directory_kind_mask) != sesparse::directory_allocated ||
                       place > map->file_bytes_ || header.table_bytes() > map->file_bytes_ - place)) {
      return map->corrupt("grain directory entry", index, entry);
    }
  }
  return map;
}

u64 SeSparseMap::absent_run(u64 block) const {
  auto const per_table = header_.entries_per_table;
  return directory_[block / per_table] != 0 ? 0 : per_table - block % per_table;
}

Result<BlockState> SeSparseMap::state_of(u64 block) {
  auto const number = block / header_.entries_per_table;
  auto const named = directory_[number];
  if (named == 0) return BlockState{};
  auto const* page = pages_.find(number);
  if (page == nullptr) {
    auto bytes = std::vector<std::byte>(header_.table_bytes());
    TRY(storage_->read(header_.tables + (named & ~sesparse::directory_kind_mask) * bytes.size(), bytes));
    page = pages_.insert(number, std::move(bytes));
  }
  auto const entry = page->get<u64>(block % header_.entries_per_table);
  switch (entry & sesparse::entry_kind_mask) {
    case 0:
      if (entry != 0) return corrupt("grain table entry of grain", block, entry);
      return BlockState{};
    case sesparse::entry_unmapped:
    case sesparse::entry_zero: return BlockState{.kind = BlockState::Kind::zero};
    case sesparse::entry_allocated: break;
    default: return corrupt("grain table entry of grain", block, entry);
  }
  auto const grain = ((entry & 0x0fff000000000000) >> 48) | ((entry & 0x0000ffffffffffff) << 12);
  if (grain >= file_bytes_ / header_.grain) return corrupt("grain table entry of grain", block, entry);
  auto const offset = header_.grains + grain * header_.grain;
  if (offset >= file_bytes_) return corrupt("grain table entry of grain", block, entry);
  return BlockState{BlockState::Kind::data, offset, 0};
}

Result<> SeSparseMap::set(u64, BlockState const&, block_map::Space&) {
  return fail(Errc::unsupported, fmt::format("{}: VMDK seSparse is read only", storage_->path()));
}

}  // namespace vireo::image::vmdk
