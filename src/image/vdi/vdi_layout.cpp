#include "image/vdi/vdi_layout.h"

#include <fmt/format.h>

#include <algorithm>

namespace vireo::image::vdi {
namespace {

constexpr u64 scan_chunk{64 * KiB};

}  // namespace

using blocks::Block;

VdiLayout::VdiLayout(Header const& header, u64 file_bytes) : header_{header}, places_{blocks_in(file_bytes)} {}

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

/// How many places there are up to the last one that the table names.
Result<u64> VdiLayout::blocks_in_use(Storage const& storage) const {
  auto in_use = u64{0};
  auto bytes = std::vector<std::byte>(scan_chunk);
  for (auto done = u64{0}; done < header_.blocks;) {
    auto const count = std::min<u64>(scan_chunk / 4, header_.blocks - done);
    TRY(storage.read(header_.table_at + done * 4, Bytes{bytes}.first(count * 4)));
    for (auto each = u64{0}; each < count; ++each) {
      auto const entry = load_le<u32>(bytes.data() + each * 4);
      if (entry < places_) in_use = std::max<u64>(in_use, entry + u64{1});
    }
    done += count;
  }
  return in_use;
}

Result<> VdiLayout::begin_changes(Storage const& storage) {
  auto const in_use = TRY(blocks_in_use(storage));
  if (in_use < places_ && storage.file().kind() == host::File::Kind::regular) {
    TRY(storage.file().truncate(header_.data_at + in_use * header_.stride()));
  }
  places_ = in_use;
  auto count = std::vector<std::byte>(4);
  store_le<u32>(count.data(), static_cast<u32>(places_));
  TRY(storage.write(header_at::blocks_allocated, count));
  header_.modification = TRY(new_unique_id());
  TRY(storage.write(header_at::modification_uuid, header_.modification));
  return storage.sync();  // images above must notice before there is anything to notice
}

Result<blocks::Layout::NewBlock> VdiLayout::append(Storage const& storage) {
  auto const regular = storage.file().kind() == host::File::Kind::regular;
  auto const end = header_.data_at + (places_ + 1) * header_.stride();
  if (places_ >= entry_zero || (!regular && end > TRY(storage.size()))) {
    return fail(Errc::no_space, fmt::format("{}: vdi: no place for block {}", storage.path(), places_));
  }
  auto count = std::vector<std::byte>(4);
  store_le<u32>(count.data(), static_cast<u32>(places_ + 1));
  TRY(storage.write(header_at::blocks_allocated, count));
  if (regular) TRY(storage.file().truncate(end));
  return NewBlock{.place = place_of(places_++), .zeroed = regular};
}

}  // namespace vireo::image::vdi
