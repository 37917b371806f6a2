#include "image/vhd/vhd_layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/blocks/survey.h"

namespace vireo::image::vhd {
namespace {

constexpr u64 data_alignment{4096};

}  // namespace

using blocks::Block;

VhdLayout::VhdLayout(Footer footer, DynamicHeader header, u64 file_bytes)
    : footer_{std::move(footer)},
      header_{std::move(header)},
      bitmap_{header_.bitmap_bytes()},
      end_{footer_.at_end ? align_down(file_bytes - footer_bytes, 512) : align_up(file_bytes, 512)} {
  metadata_ = {{0, footer_bytes},
               {footer_.data_offset, dynamic_bytes},
               {header_.table_at, align_up(u64{header_.entries} * 4, 512)}};
  for (auto const& locator : header_.locators) metadata_.push_back({locator.at, locator.length});
}

u64 VhdLayout::end_of_metadata() const {
  auto end = u64{0};
  for (auto const& place : metadata_) end = std::max(end, align_up(place.at + place.length, 512));
  return end;
}

blocks::Layout::Shape VhdLayout::shape() const {
  return {.bytes = footer_.bytes,
          .block = header_.block,
          .table_at = header_.table_at,
          .entries = header_.entries,
          .bitmap = bitmap_,
          .bitmap_starts_full = footer_.type == DiskType::dynamic};
}

Result<Block> VhdLayout::decode(Storage const& storage, u64 number, u32 stored) const {
  auto const entry = load_be<u32>(&stored);
  if (entry == entry_absent) return Block{};
  auto const start = u64{entry} * 512;
  auto const end = start + bitmap_ + header_.block;
  auto const hits_metadata = std::ranges::any_of(
      metadata_, [&](Place const& place) { return start < place.at + place.length && place.at < end; });
  if (end > end_ || hits_metadata) {
    return fail(Errc::corrupt,
                fmt::format("{}: vhd block table (at offset {:#x}): block {} lies at offset {:#x}, {}",
                            storage.path(), header_.table_at + number * 4, number, start,
                            hits_metadata ? "on metadata" : "and ends behind the file"));
  }
  return Block{.kind = Block::Kind::data, .place = start + bitmap_};
}

u32 VhdLayout::encode(Block const& block) const {
  auto const entry =
      block.kind == Block::Kind::data ? static_cast<u32>((block.place - bitmap_) / 512) : entry_absent;
  auto stored = u32{};
  store_be(&stored, entry);
  return stored;
}

Result<> VhdLayout::begin_changes(Storage const& storage) {
  if (!storage.can_grow()) {
    return fail(Errc::unsupported,
                fmt::format("{}: vhd: a dynamic disk on a block device can only be read", storage.path()));
  }
  end_ = std::max(TRY(blocks::survey(storage, *this, bitmap_)), end_of_metadata());
  auto const wanted = end_ + footer_bytes;
  auto const file_bytes = TRY(storage.size());
  if (footer_.at_end && file_bytes == wanted) return {};
  TRY(storage.write(end_, footer_.raw));
  return file_bytes > wanted ? storage.truncate(wanted) : Result<>{};
}

Result<blocks::Layout::NewBlock> VhdLayout::append(Storage const& storage) {
  auto const place = align_up(end_ + bitmap_, data_alignment);
  auto const start = place - bitmap_;
  if (start / 512 >= entry_absent) {
    return fail(Errc::no_space,
                fmt::format("{}: vhd: no place for a block at offset {:#x}", storage.path(), start));
  }
  TRY(storage.write(place + header_.block, footer_.raw));
  // What is left of the old footer. The rest of it is overwritten by the block's bitmap.
  if (start > end_) TRY(storage.write(end_, std::vector<std::byte>(start - end_)));
  end_ = place + header_.block;
  return NewBlock{.place = place, .zeroed = true};
}

}  // namespace vireo::image::vhd
