#include "image/blocks/survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "vocab/numbers.h"

namespace vireo::image::blocks {
namespace {

constexpr u64 entries_at_once{16384};

}  // namespace

Result<u64> survey(Storage const& storage, Layout const& layout, u64 before) {
  auto const shape = layout.shape();
  auto places = std::vector<u64>{};
  auto bytes = std::vector<std::byte>(entries_at_once * 4);
  for (auto done = u64{0}; done < shape.entries;) {
    auto const count = std::min(entries_at_once, shape.entries - done);
    TRY(storage.read(shape.table_at + done * 4, Bytes{bytes}.first(count * 4)));
    for (auto each = u64{0}; each < count; ++each) {
      auto const block = TRY(layout.decode(storage, done + each, load_le<u32>(bytes.data() + each * 4)));
      if (block.kind == Block::Kind::data) places.push_back(block.place);
    }
    done += count;
  }
  std::ranges::sort(places);
  auto const overlap =
      std::ranges::adjacent_find(places, [&](u64 one, u64 next) { return next - one < before + shape.block; });
  if (overlap != places.end()) {
    return fail(Errc::corrupt,
                fmt::format("{}: two blocks lie at offset {:#x}; open it read-only and convert it",
                            storage.path(), *overlap));
  }
  return places.empty() ? 0 : places.back() + shape.block;
}

}  // namespace vireo::image::blocks
