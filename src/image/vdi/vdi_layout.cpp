#include "image/vdi/vdi_layout.h"

#include <fmt/format.h>

#include "image/blocks/survey.h"

namespace vireo::image::vdi {
using blocks::Block;

VdiLayout::VdiLayout(Header const& header, u64 file_bytes, bool keeps_identity)
    : header_{header}, keeps_identity_{keeps_identity}, places_{blocks_in(file_bytes)} {}

u64 VdiLayout::blocks_in(u64 file_bytes) const {
  return file_bytes <= header_.data_at
             ? 0
             : (file_bytes - header_.data_at + header_.stride() - 1) / header_.stride();
}

blocks::Layout::Shape VdiLayout::shape() const {
  return {.bytes = header_.bytes,
          .block = header_.block,
          .table_at = header_.table_at,
          .entries = header_.blocks,
          .zero_entries = true};
}

Result<Block> VdiLayout::decode(Storage const& storage, u64 number, u32 stored) const {
  if (stored == entry_absent) return Block{};
  if (stored == entry_zero) return Block{.kind = Block::Kind::zero};
  if (stored >= places_) {
    return fail(Errc::corrupt,
                fmt::format("{}: vdi block table (at offset {:#x}): block {} lies at place {} of {}",
                            storage.path(), header_.table_at + number * 4, number, stored, places_));
  }
  return Block{.kind = Block::Kind::data, .place = place_of(stored)};
}

u32 VdiLayout::encode(Block const& block) const {
  switch (block.kind) {
    case Block::Kind::absent: return entry_absent;
    case Block::Kind::zero: return entry_zero;
    case Block::Kind::data: break;
  }
  return static_cast<u32>((block.place - header_.extra - header_.data_at) / header_.stride());
}

Result<> VdiLayout::begin_changes(Storage const& storage) {
  auto const end = TRY(blocks::survey(storage, *this, header_.extra));
  auto const in_use = blocks_in(end);
  if (in_use < places_ && storage.can_grow()) {
    TRY(storage.truncate(header_.data_at + in_use * header_.stride()));
  }
  places_ = in_use;
  auto count = std::vector<std::byte>(4);
  store_le<u32>(count.data(), static_cast<u32>(places_));
  TRY(storage.write(header_at::blocks_allocated, count));
  if (!keeps_identity_) header_.modification = TRY(new_unique_id());
  TRY(storage.write(header_at::modification_uuid, header_.modification));
  return storage.sync();  // images above must notice before there is anything to notice
}

Result<blocks::Layout::NewBlock> VdiLayout::append(Storage const& storage) {
  auto const regular = storage.can_grow();
  auto const end = header_.data_at + (places_ + 1) * header_.stride();
  if (places_ >= entry_zero || (!regular && end > TRY(storage.size()))) {
    return fail(Errc::no_space, fmt::format("{}: vdi: no place for block {}", storage.path(), places_));
  }
  auto count = std::vector<std::byte>(4);
  store_le<u32>(count.data(), static_cast<u32>(places_ + 1));
  TRY(storage.write(header_at::blocks_allocated, count));
  if (regular) TRY(storage.truncate(end));
  return NewBlock{.place = place_of(places_++), .zeroed = regular};
}

}  // namespace vireo::image::vdi
