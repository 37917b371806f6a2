#include "image/vmdk/sparse_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/vmdk/deflate.h"

namespace vireo::image::vmdk {
namespace {

using Kind = BlockState::Kind;
constexpr std::size_t cached_tables{2048};
constexpr u64 largest_sector{0xffffffff};

}  // namespace

SparseMap::SparseMap(Storage const& storage, SparseHeader const& header, u64 end)
    : storage_{&storage}, header_{header}, end_{end}, pages_{cached_tables} {}

std::unexpected<Error> SparseMap::corrupt(std::string_view what, u64 index, u64 offset) const {
  return fail(Errc::corrupt, fmt::format("{}: VMDK: {} {} points to offset {:#x}, which cannot be",
                                         storage_->path(), what, index, offset));
}

Result<std::unique_ptr<SparseMap>> SparseMap::open(Storage const& storage, SparseHeader const& header) {
  if (header.compressed && (header.flags & sparse_flag::markers) == 0) {
    return fail(Errc::unsupported,
                fmt::format("{}: VMDK with compressed grains without markers", storage.path()));
  }
  auto map = std::unique_ptr<SparseMap>{new SparseMap{storage, header, TRY(storage.size())}};
  map->directory_ = TRY(map->read_directory(header.directory, "grain directory entry"));
  if (header.redundant_directory != 0 && storage.writable()) {
    map->redundant_ = TRY(map->read_directory(header.redundant_directory, "redundant grain directory entry"));
  }
  if (storage.writable()) TRY(map->guard_metadata());
  return map;
}

Result<std::vector<u32>> SparseMap::read_directory(u64 at, std::string_view name) const {
  auto entries = std::vector<u32>(header_.directory_entries);
  TRY(storage_->read(at, std::as_writable_bytes(std::span{entries})));
  for (auto index = std::size_t{0}; index < entries.size(); ++index) {
    auto const offset = u64{entries[index]} * sector;
    if (offset >= end_) return corrupt(name, index, offset);
  }
  return entries;
}

Result<> SparseMap::guard_metadata() {
  metadata_.add(0, sector);
  if (header_.descriptor_bytes != 0) metadata_.add(header_.descriptor, header_.descriptor_bytes);
  auto const directory_bytes = align_up(header_.directory_entries * 4, sector);
  metadata_.add(header_.directory, directory_bytes);
  if (!redundant_.empty()) metadata_.add(header_.redundant_directory, directory_bytes);
  for (auto const* directory : {&directory_, &redundant_}) {
    for (auto const entry : *directory) {
      if (entry != 0) metadata_.add(u64{entry} * sector, header_.table_bytes());
    }
  }
  if (metadata_.settle()) return {};
  return fail(Errc::corrupt,
              fmt::format("{}: VMDK: header, descriptor, grain directories and grain tables overlap; "
                          "open it read-only",
                          storage_->path()));
}

Result<SparseMap::Page*> SparseMap::table(u64 number) {
  if (auto* const page = pages_.find(number)) return page;
  auto bytes = std::vector<std::byte>(header_.table_bytes());
  TRY(storage_->read(u64{directory_[number]} * sector, bytes));
  return pages_.insert(number, std::move(bytes));
}

u64 SparseMap::absent_run(u64 block) const {
  auto const per_table = header_.entries_per_table;
  return directory_[block / per_table] != 0 ? 0 : per_table - block % per_table;
}

Result<BlockState> SparseMap::state_of(u64 block) {
  auto const number = block / header_.entries_per_table;
  if (directory_[number] == 0) return BlockState{};
  auto const* const page = TRY(table(number));
  auto const entry = page->get<u32>(block % header_.entries_per_table);
  if (entry == 0) return BlockState{};
  if (entry == zeroed_grain_entry && knows_zero()) return BlockState{.kind = Kind::zero};
  auto const offset = u64{entry} * sector;
  auto state = BlockState{header_.compressed ? Kind::packed : Kind::data, offset, 0};
  if (offset >= end_) return corrupt("grain table entry of grain", block, offset);
  if (!storage_->writable()) return state;
  if (header_.compressed) state.length = TRY(packed_length(offset));
  auto const length = header_.compressed ? state.length : header_.grain;
  if (metadata_.touches(offset, length)) return corrupt("grain table entry of grain", block, offset);
  return state;
}

Result<u64> SparseMap::packed_length(u64 offset) const {
  auto head = std::vector<std::byte>(grain_at::data);
  TRY(storage_->read(offset, head));
  auto const size = load_le<u32>(head.data() + grain_at::size);
  if (size == 0 || size > largest_packed(header_.grain)) {
    return fail(Errc::corrupt, fmt::format("{}: VMDK: compressed grain at offset {:#x} claims {} bytes",
                                           storage_->path(), offset, size));
  }
  return align_up(grain_at::data + size, sector);
}

Result<> SparseMap::unpack(u64 block, BlockState const& state, Bytes into) const {
  auto const length = TRY(packed_length(state.offset));
  auto packed = std::vector<std::byte>(length);
  TRY(storage_->read(state.offset, packed));
  auto const lba = load_le<u64>(packed.data() + grain_at::lba);
  if (lba != block * (header_.grain / sector)) {
    return fail(Errc::corrupt,
                fmt::format("{}: VMDK: compressed grain at offset {:#x} is for sector {}, not {}",
                            storage_->path(), state.offset, lba, block * (header_.grain / sector)));
  }
  auto const size = load_le<u32>(packed.data() + grain_at::size);
  auto const inside = std::min(header_.grain, header_.bytes - block * header_.grain);
  TRY_IN(fmt::format("{}: VMDK: grain at offset {:#x}", storage_->path(), state.offset),
         inflate_grain(ConstBytes{packed}.subspan(grain_at::data, std::min<u64>(size, length - grain_at::data)),
                       into, inside));
  return {};
}

Result<std::vector<std::byte>> SparseMap::pack(u64 block, ConstBytes from) const {
  return pack_grain(block * (header_.grain / sector), from);
}

Result<> SparseMap::set(u64 block, BlockState const& state, Space& space) {
  auto const number = block / header_.entries_per_table;
  if (directory_[number] == 0 && state.kind == Kind::absent) return {};
  if (directory_[number] == 0) TRY(make_table(number, space));
  if (state.offset / sector > largest_sector) {
    return fail(Errc::no_space, fmt::format("{}: VMDK extents cannot grow over 2 TiB", storage_->path()));
  }
  auto* const page = TRY(table(number));
  auto const entry = state.kind == Kind::zero ? zeroed_grain_entry : static_cast<u32>(state.offset / sector);
  page->set<u32>(block % header_.entries_per_table, entry);
  pages_.mark_dirty(*page);
  end_ = std::max({end_, space.end(), state.offset + sector});
  return {};
}

Result<u32> SparseMap::place_of_table(Space& space) {
  auto const place = TRY(space.allocate_bytes(header_.table_bytes(), sector));
  if (place.offset / sector > largest_sector) {
    return fail(Errc::no_space, fmt::format("{}: VMDK extents cannot grow over 2 TiB", storage_->path()));
  }
  metadata_.append(place.offset, header_.table_bytes());
  return static_cast<u32>(place.offset / sector);
}

Result<> SparseMap::make_table(u64 number, Space& space) {
  auto const first = TRY(place_of_table(space));
  if (!redundant_.empty() && redundant_[number] == 0) redundant_[number] = TRY(place_of_table(space));
  directory_[number] = first;
  end_ = std::max(end_, space.end());
  directory_dirty_ = true;
  auto* const page = pages_.insert(number, std::vector<std::byte>(header_.table_bytes()));
  pages_.mark_dirty(*page);
  return {};
}

SparseMap::Stages SparseMap::take_dirty() {
  auto stages = Stages(2);
  for (auto const* page : pages_.take_dirty()) {
    stages[0].push_back({u64{directory_[page->number]} * sector, page->bytes});
    if (redundant_.empty() || redundant_[page->number] == 0) continue;
    stages[0].push_back({u64{redundant_[page->number]} * sector, page->bytes});
  }
  directory_taken_ = std::exchange(directory_dirty_, false);
  if (!directory_taken_) return stages;
  auto const copy = [](std::vector<u32> const& directory) {
    auto const bytes = std::as_bytes(std::span{directory});
    return std::vector<std::byte>{bytes.begin(), bytes.end()};
  };
  stages[1].push_back({header_.directory, copy(directory_)});
  if (!redundant_.empty()) stages[1].push_back({header_.redundant_directory, copy(redundant_)});
  return stages;
}

void SparseMap::written(Stages const&, bool success) {
  pages_.written(success);
  if (!success && directory_taken_) directory_dirty_ = true;
  directory_taken_ = false;
}

/// The file is about to grow over its footer: from now on the header names the directory.
Result<> SparseMap::before_first_write() {
  if (!header_.footer) return {};
  auto directory = std::vector<std::byte>(8);
  store_le<u64>(directory.data(), header_.directory / sector);
  TRY(storage_->write(sparse_at::directory, directory));
  return storage_->sync();
}

}  // namespace vireo::image::vmdk
