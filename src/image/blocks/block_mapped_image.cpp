#include "image/blocks/block_mapped_image.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/blocks/sector_bitmap.h"
#include "image/check_range.h"
#include "observe/log.h"
#include "vocab/numbers.h"

namespace vireo::image::blocks {
namespace {

constexpr u64 table_page_bytes{4096};
constexpr u64 entries_per_page{table_page_bytes / 4};
constexpr u64 cached_bytes{1 * MiB};
constexpr u64 largest_look_ahead{65536};  // blocks

std::size_t cached_pages(u64 page_bytes) {
  return static_cast<std::size_t>(std::max<u64>(cached_bytes / std::max<u64>(page_bytes, sector), 4));
}

}  // namespace

BlockMappedImage::BlockMappedImage(Storage storage, std::unique_ptr<Layout> layout,
                                   std::unique_ptr<BlockImage> parent)
    : storage_{std::move(storage)},
      layout_{std::move(layout)},
      parent_{std::move(parent)},
      shape_{layout_->shape()},
      parent_bytes_{parent_ ? parent_->geometry().bytes : 0},
      table_{cached_pages(table_page_bytes)},
      bitmaps_{cached_pages(shape_.bitmap)} {}

BlockMappedImage::~BlockMappedImage() {
  if (auto const closed = flush(); !closed) {
    observe::log(observe::Level::error, "image", "closing: {}", closed.error().what());
  }
}

BlockImage::Geometry BlockMappedImage::geometry() const {
  return {.bytes = shape_.bytes,
          .sector = sector,
          .cluster = static_cast<u32>(shape_.block),
          .read_only = !storage_.writable()};
}

Result<Page*> BlockMappedImage::table_page(u64 number) {
  auto const page = number / entries_per_page;
  auto const length = std::min(table_page_bytes, shape_.entries * 4 - page * table_page_bytes);
  return table_.load(storage_, page, shape_.table_at + page * table_page_bytes, length);
}

Result<Block> BlockMappedImage::block_of(u64 number) {
  auto const* const page = TRY(table_page(number));
  auto const stored = load_le<u32>(page->bytes().data() + number % entries_per_page * 4);
  return layout_->decode(storage_, number, stored);
}

Result<> BlockMappedImage::set_block(u64 number, Block const& block) {
  auto* const page = TRY(table_page(number));
  store_le<u32>(table_.change(*page, number % entries_per_page * 4, 4).data(), layout_->encode(block));
  return {};
}

Result<Page*> BlockMappedImage::bitmap_of(u64 number, Block const& block) {
  return bitmaps_.load(storage_, number, block.place - shape_.bitmap, shape_.bitmap);
}

Result<BlockMappedImage::Run> BlockMappedImage::find_run(u64 at, u64 length) {
  auto const number = at / shape_.block;
  auto const within = at % shape_.block;
  auto run = Run{.block = TRY(block_of(number))};
  run.kind = run.block.kind;
  run.file_at = run.block.place + within;
  run.length = std::min(length, shape_.block - within);
  if (run.kind != Kind::data || shape_.bitmap == 0) return run;
  auto const* const bitmap = TRY(bitmap_of(number, run.block));
  auto const first = within / sector;
  auto const end = (within + run.length + sector - 1) / sector;
  auto const equal = equal_sectors(bitmap->bytes(), first, end - first);
  run.length = std::min(run.length, (first + equal) * sector - within);
  if (!sector_present(bitmap->bytes(), first)) run.kind = Kind::absent;
  return run;
}

Result<> BlockMappedImage::read(u64 at, Bytes into) {
  TRY(check_range(storage_.path(), at, into.size(), shape_.bytes));
  while (!into.empty()) {
    auto const done = TRY(read_some(at, into));
    into = into.subspan(done);
    at += done;
  }
  return {};
}

Result<u64> BlockMappedImage::read_some(u64 at, Bytes into) {
  auto const run = TRY([&] {
    auto const lock = Lock{mutex_};
    return find_run(at, into.size());
  }());
  auto const part = into.first(run.length);
  switch (run.kind) {
    case Kind::zero: std::ranges::fill(part, std::byte{0}); break;
    case Kind::absent: TRY(read_parent(at, part)); break;
    case Kind::data: TRY(storage_.read(run.file_at, part)); break;
  }
  return run.length;
}

Result<> BlockMappedImage::read_parent(u64 at, Bytes into) {
  auto const there = at < parent_bytes_ ? std::min<u64>(into.size(), parent_bytes_ - at) : 0;
  if (there != 0) TRY(parent_->read(at, into.first(there)));
  std::ranges::fill(into.subspan(there), std::byte{0});
  return {};
}

Result<> BlockMappedImage::flush() {
  if (!storage_.writable()) return {};
  auto const one_at_a_time = std::lock_guard{writing_tables_};
  return write_tables();
}

/// The order stands in README.md.
Result<> BlockMappedImage::write_tables() {
  auto const [bitmaps, table] = [&] {
    auto const lock = Lock{mutex_};
    return std::pair{bitmaps_.take_dirty(), table_.take_dirty()};
  }();
  auto const outcome = [&]() -> Result<> {
    TRY(storage_.sync());
    if (bitmaps.empty() && table.empty()) return {};
    for (auto const& write : bitmaps) TRY(storage_.write(write.at, write.bytes));
    for (auto const& write : table) TRY(storage_.write(write.at, write.bytes));
    return storage_.sync();
  }();
  auto const lock = Lock{mutex_};
  bitmaps_.written(bitmaps, outcome.has_value());
  table_.written(table, outcome.has_value());
  return outcome;
}

ConstBytes BlockMappedImage::view(u64 at, u64 length) {
  if (storage_.writable() || at >= shape_.bytes) return {};
  auto const run = [&] {
    auto const lock = Lock{mutex_};
    return find_run(at, std::min(length, shape_.bytes - at));
  }();
  if (!run || run->kind != Kind::data) return {};
  return storage_.view(run->file_at, run->length);
}

Result<BlockImage::Place> BlockMappedImage::place_at(u64 at) {
  auto place = Place{.extent = TRY(extent_at(at))};
  auto const lock = Lock{mutex_};
  auto const run = TRY(find_run(at, place.extent.length));
  if (run.kind != Kind::data) return place;
  place.extent.length = std::min(place.extent.length, run.length);
  place.offset = run.file_at;
  return place;
}

/// Blocks of one kind in a row make one extent, blocks and bitmaps with data one each: there the file system
/// knows what was punched out.
Result<BlockImage::Extent> BlockMappedImage::extent_at(u64 at) {
  TRY(check_range(storage_.path(), at, 1, shape_.bytes));
  auto const lock = Lock{mutex_};
  auto const presence_of = [&](Kind kind, u64 where) {
    return kind == Kind::absent && where < parent_bytes_ ? Presence::absent : Presence::zero;
  };
  auto const first = TRY(find_run(at, shape_.bytes - at));
  if (first.kind == Kind::data) {
    auto const extent = TRY(storage_.extent_at(first.file_at));
    if (extent.length == 0) return Extent{at, first.length, Presence::zero};  // behind the end of the file
    return Extent{at, std::min(first.length, extent.length), extent.data ? Presence::data : Presence::zero};
  }
  auto const presence = presence_of(first.kind, at);
  auto end = at + first.length;
  for (auto looked_at = u64{0}; end < shape_.bytes && looked_at < largest_look_ahead; ++looked_at) {
    auto const next = TRY(find_run(end, shape_.bytes - end));
    if (next.kind == Kind::data || presence_of(next.kind, end) != presence) break;
    end += next.length;
  }
  // The parent may end inside: behind its end there are zeroes.
  if (presence == Presence::absent) end = std::min(end, parent_bytes_);
  return Extent{at, end - at, presence};
}

}  // namespace vireo::image::blocks
