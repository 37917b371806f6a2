#include "image/vhdx/bat.h"

#include <fmt/format.h>

#include <algorithm>

namespace vireo::image::vhdx {
namespace {

using Kind = BlockState::Kind;
constexpr u64 page_bytes{log_at::sector};
constexpr u64 entries_per_page{page_bytes / 8};
constexpr std::size_t cached_pages{1024};

}  // namespace

Bat::Bat(std::unique_ptr<PatchedFile> file, FileHeader const& header, Regions const& regions,
         DiskInfo const& info, u64 file_bytes, bool keeps_identity)
    : file_{std::move(file)},
      storage_{&file_->storage()},
      header_{header},
      log_{*storage_, header_},
      regions_{regions},
      info_{info},
      keeps_identity_{keeps_identity},
      end_{file_bytes},
      pages_{cached_pages},
      bitmaps_{cached_pages} {}

Result<Bat::Page*> Bat::page_of(u64 entry) {
  auto const number = entry / entries_per_page;
  if (auto* const page = pages_.find(number)) return page;
  auto bytes = std::vector<std::byte>(page_bytes);
  TRY(file_->read(regions_.bat.offset + number * page_bytes, bytes));
  return pages_.insert(number, std::move(bytes));
}

/// Blocks lie in the file, on no metadata, and not where an unplayed log holds another content.
Result<> Bat::check_place(std::string_view what, u64 entry, u64 offset, u64 length) const {
  auto const log = Region{header_.log_offset, header_.log_length};
  auto const touches = [&](Region const& region) {
    return offset < region.end() && region.offset < offset + length;
  };
  auto const there = storage_->writable() ? length : 1;
  if (offset < header_section || offset > end_ || there > end_ - offset || touches(log) ||
      touches(regions_.bat) || touches(regions_.metadata)) {
    return fail(Errc::corrupt, fmt::format("{}: VHDX: block allocation table entry {}: {} at offset {:#x}",
                                           storage_->path(), entry, what, offset));
  }
  if (!file_->touches(offset, length)) return {};
  return fail(Errc::unsupported,
              fmt::format("{}: VHDX: its log changes data; open it for writing once", storage_->path()));
}

Result<BlockState> Bat::state_of(u64 block) {
  auto const index = entry_of(block);
  auto const* const page = TRY(page_of(index));
  auto const entry = page->get<u64>(index % entries_per_page);
  auto const offset = entry & bat_entry::offset_mask;
  switch (auto const state = static_cast<PayloadState>(entry & bat_entry::state_mask)) {
    case PayloadState::not_present: return BlockState{};
    case PayloadState::undefined:
    case PayloadState::zero:
    case PayloadState::unmapped: return BlockState{.kind = Kind::zero};
    case PayloadState::fully_present:
    case PayloadState::partially_present: {
      auto const partial = state == PayloadState::partially_present;
      if (partial && !info_.has_parent) break;
      TRY(check_place("a block", index, offset, info_.block));
      return BlockState{partial ? Kind::partial : Kind::data, offset, 0};
    }
  }
  return fail(Errc::corrupt, fmt::format("{}: VHDX: block allocation table entry {} is {:#x}", storage_->path(),
                                         index, entry));
}

Result<> Bat::set(u64 block, BlockState const& state, block_map::Space& space) {
  auto const index = entry_of(block);
  auto* const page = TRY(page_of(index));
  auto const data = state.kind == Kind::data;
  auto const kind = data ? PayloadState::fully_present : PayloadState::zero;
  page->set<u64>(index % entries_per_page, static_cast<u64>(kind) | (data ? state.offset : 0));
  pages_.mark_dirty(*page);
  end_ = std::max(end_, space.end());
  return {};
}

Result<Bat::Page const*> Bat::bitmap_page(u64 chunk, u64 page) {
  auto const number = chunk * (bitmap_block / page_bytes) + page;
  if (auto const* const found = bitmaps_.find(number)) return found;
  auto const index = chunk * (info_.chunk_ratio() + 1) + info_.chunk_ratio();
  auto const* const table = TRY(page_of(index));
  auto const entry = table->get<u64>(index % entries_per_page);
  auto const offset = entry & bat_entry::offset_mask;
  if ((entry & bat_entry::state_mask) != bat_entry::bitmap_present || offset < header_section ||
      offset >= end_) {
    return fail(Errc::corrupt, fmt::format("{}: VHDX: block allocation table entry {}: no sector bitmap: {:#x}",
                                           storage_->path(), index, entry));
  }
  auto bytes = std::vector<std::byte>(page_bytes);
  TRY(file_->read(offset + page * page_bytes, bytes));
  return bitmaps_.insert(number, std::move(bytes));
}

Result<block_map::SectorRun> Bat::sector_run(u64 block, u64 within) {
  auto const ratio = info_.chunk_ratio();
  auto const first = (block % ratio * info_.block + within) / info_.logical_sector;  // in the chunk
  auto const end_of_block = (block % ratio + 1) * info_.block / info_.logical_sector;
  auto const page = first / (page_bytes * 8);
  auto const end = std::min(end_of_block, (page + 1) * page_bytes * 8);
  auto const* const bits = TRY(bitmap_page(block / ratio, page));
  auto const bit = [&](u64 number) {
    auto const in_page = number % (page_bytes * 8);
    return (bits->get<u8>(in_page / 8) >> (in_page % 8) & 1) != 0;
  };
  auto last = first + 1;
  while (last < end && bit(last) == bit(first)) ++last;
  return block_map::SectorRun{bit(first),
                              (last - first) * info_.logical_sector - within % info_.logical_sector};
}

Bat::Stages Bat::take_dirty() {
  auto stages = Stages(1);
  for (auto const* page : pages_.take_dirty()) {
    stages[0].push_back({regions_.bat.offset + page->number * page_bytes, page->bytes});
  }
  return stages;
}

Result<> Bat::commit(Stages const& stages) {
  auto const lock = std::lock_guard{header_mutex_};
  for (auto const& stage : stages) TRY(log_.write(stage));
  return {};
}

/// 2.2.2.1: both ids change with the first change of the file and of its data.
Result<> Bat::before_first_write() {
  auto const lock = std::lock_guard{header_mutex_};
  header_.file_write = TRY(new_unique_id());
  if (!keeps_identity_) header_.data_write = TRY(new_unique_id());
  return write_file_header(*storage_, header_);
}

Result<> Bat::close() {
  auto const lock = std::lock_guard{header_mutex_};
  return log_.close();
}

}  // namespace vireo::image::vhdx
