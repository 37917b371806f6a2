#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "image/vhdx/crc32c.h"
#include "image/vhdx/structure.h"

namespace vireo::image::vhdx {
namespace {

bool overlap(Region const& a, Region const& b) { return a.offset < b.end() && b.offset < a.end(); }

struct Reader {
  PatchedFile const& file;
  Region log;
  std::string const& path() const { return file.storage().path(); }

  Result<Regions> regions(ConstBytes table, u64 at) const {
    using namespace region_at;
    auto all = std::vector<Region>{log};
    auto bat = std::optional<Region>{};
    auto metadata = std::optional<Region>{};
    auto const entry_count = load_le<u32>(table.data() + count);
    if (entry_count > most_entries) {
      return fail(Errc::corrupt,
                  fmt::format("{}: VHDX region table at offset {:#x}: {} entries", path(), at, entry_count));
    }
    for (auto index = u64{0}; index < entry_count; ++index) {
      auto const* const entry = table.data() + entries + index * entry_bytes;
      auto const region = Region{load_le<u64>(entry + entry_offset), load_le<u32>(entry + entry_length)};
      auto const overlaps = [&](Region const& other) { return overlap(region, other); };
      if (region.offset % MiB != 0 || region.length % MiB != 0 || region.length == 0 ||
          region.offset < header_section || region.offset > largest_file ||
          std::ranges::any_of(all, overlaps)) {
        return fail(Errc::corrupt,
                    fmt::format("{}: VHDX region table at offset {:#x}: entry {} lies at {:#x}, {:#x} "
                                "bytes long",
                                path(), at, index, region.offset, region.length));
      }
      all.push_back(region);
      auto const id = load_unique_id(entry);
      if (id == bat_region) bat = region;
      if (id == metadata_region) metadata = region;
      if (id != bat_region && id != metadata_region && (load_le<u32>(entry + entry_required) & 1) != 0) {
        return fail(Errc::unsupported,
                    fmt::format("{}: VHDX needs a region that is not known: {}", path(), guid_text(id)));
      }
    }
    if (bat && metadata) return Regions{*bat, *metadata};
    return fail(Errc::corrupt, fmt::format("{}: VHDX region table at offset {:#x} lacks {}", path(), at,
                                           bat ? "metadata" : "the block allocation table"));
  }
};

}  // namespace

std::string guid_text(UniqueId const& id) {
  return fmt::format("{{{:08x}-{:04x}-{:04x}-{:04x}-{:04x}{:08x}}}", load_le<u32>(id.data()),
                     load_le<u16>(id.data() + 4), load_le<u16>(id.data() + 6), load_be<u16>(id.data() + 8),
                     load_be<u16>(id.data() + 10), load_be<u32>(id.data() + 12));
}

Result<Regions> read_regions(PatchedFile const& file, Region const& log) {
  auto const reader = Reader{file, log};
  auto table = std::vector<std::byte>(region_at::length);
  for (auto const at : {first_region_table, second_region_table}) {
    TRY(file.read(at, table));
    if (load_le<u32>(table.data()) == region_at::signature_value &&
        load_le<u32>(table.data() + region_at::checksum) == crc32c(table, region_at::checksum)) {
      return reader.regions(table, at);
    }
  }
  return fail(Errc::corrupt,
              fmt::format("{}: VHDX: neither of the region tables at offsets {:#x} and {:#x} is valid",
                          reader.path(), first_region_table, second_region_table));
}

}  // namespace vireo::image::vhdx
