#include "image/create_vmdk.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "image/open_image.h"
#include "image/vmdk/descriptor.h"
#include "image/vmdk/disk_files.h"
#include "image/vmdk/stream_writer.h"
#include "image/vmdk/vmdk_image.h"

namespace vireo::image {
namespace {

using namespace vmdk;  // NOLINT: the format's own vocabulary

constexpr u64 descriptor_sectors{20};
constexpr u64 largest_sparse{(u64{1} << 40) * 2 - 4 * GiB};
constexpr u64 largest_disk{u64{64} << 40};

u64 ceiling(u64 value, u64 unit) { return value / unit + (value % unit != 0 ? 1 : 0); }

/// Header, descriptor, then both grain directories with their tables behind each. In sectors.
struct Layout {
  u64 tables{};
  u64 directory_sectors{};
  u64 redundant{};
  u64 directory{};
  u64 overhead{};
};
Layout lay_out(u64 sectors) {
  auto layout = Layout{.tables = ceiling(ceiling(sectors, default_grain), table_entries)};
  auto const table_sectors = layout.tables * table_entries * 4 / sector;
  layout.directory_sectors = ceiling(layout.tables * 4, sector);
  layout.redundant = 1 + descriptor_sectors;
  layout.directory = layout.redundant + layout.directory_sectors + table_sectors;
  layout.overhead = align_up(layout.directory + layout.directory_sectors + table_sectors, default_grain);
  return layout;
}

struct Maker {
  std::string const& path;
  VmdkOptions const& options;
  u64 sectors;
  u32 parent_cid{no_parent};
  std::vector<std::string> made{};

  Result<Storage> make(std::string const& name) {
    auto file = TRY(Storage::create(name));
    made.push_back(name);
    return file;
  }

  std::string text(std::string_view create_type, std::vector<ExtentLine> extents) const {
    return descriptor_text({.cid = random_cid(),
                            .parent_cid = parent_cid,
                            .create_type = create_type,
                            .parent_hint = options.parent,
                            .extents = std::move(extents),
                            .adapter = options.adapter,
                            .sectors = sectors});
  }

  /// With a descriptor inside, unless `descriptor` is empty.
  Result<> sparse_file(std::string const& name, u64 extent_sectors, std::string_view descriptor) {
    using namespace sparse_at;
    auto const file = TRY(make(name));
    auto const layout = lay_out(extent_sectors);
    auto start = std::vector<std::byte>((1 + descriptor_sectors) * sector);
    auto* const data = start.data();
    auto const zeroed = options.zeroed_grain ? sparse_flag::zeroed_grain : 0;
    store_le<u32>(data + magic, sparse_magic);
    store_le<u32>(data + version, options.zeroed_grain ? 2 : 1);
    store_le<u32>(data + flags, sparse_flag::newline_test | sparse_flag::redundant_table | zeroed);
    store_le<u64>(data + capacity, extent_sectors);
    store_le<u64>(data + grain_size, default_grain);
    store_le<u32>(data + entries_per_table, table_entries);
    store_le<u64>(data + redundant_directory, layout.redundant);
    store_le<u64>(data + directory, layout.directory);
    store_le<u64>(data + overhead, layout.overhead);
    store_le<u32>(data + single_end_line, 0x0a0d200a);
    if (!descriptor.empty()) {
      store_le<u64>(data + descriptor_offset, 1);
      store_le<u64>(data + descriptor_size, descriptor_sectors);
      std::ranges::copy(std::as_bytes(std::span{descriptor}), start.begin() + sector);
    }
    TRY(file.truncate(layout.overhead * sector));
    for (auto const first : {layout.redundant, layout.directory}) {
      auto entries = std::vector<u32>(layout.tables);
      for (auto number = u64{0}; number < layout.tables; ++number) {
        entries[number] =
            static_cast<u32>(first + layout.directory_sectors + number * table_entries * 4 / sector);
      }
      TRY(file.write(first * sector, std::as_bytes(std::span{entries})));
    }
    TRY(file.write(0, start));
    return file.sync();
  }

  Result<> flat_file(std::string const& name, u64 extent_sectors) {
    auto const file = TRY(make(name));
    TRY(file.truncate(extent_sectors * sector));
    return file.sync();
  }

  Result<> descriptor_file(std::string_view text_of) {
    auto const file = TRY(make(path));
    TRY(file.write(0, std::as_bytes(std::span{text_of})));
    return file.sync();
  }

  Result<> split(bool flat) {
    auto const location = std::filesystem::path{path};
    auto lines = std::vector<ExtentLine>{};
    for (auto done = u64{0}; done < sectors;) {
      auto const part = std::min(sectors - done, split_extent);
      auto const name =
          fmt::format("{}-{}{:03}.vmdk", location.stem().string(), flat ? 'f' : 's', lines.size() + 1);
      auto const full = (location.parent_path() / name).string();
      TRY(flat ? flat_file(full, part) : sparse_file(full, part, {}));
      lines.push_back({.sectors = part, .type = flat ? "FLAT" : "SPARSE", .file = name});
      done += part;
    }
    return descriptor_file(text(flat ? "twoGbMaxExtentFlat" : "twoGbMaxExtentSparse", std::move(lines)));
  }

  Result<> monolithic_flat() {
    auto const location = std::filesystem::path{path};
    auto const name = location.stem().string() + "-flat.vmdk";
    TRY(flat_file((location.parent_path() / name).string(), sectors));
    return descriptor_file(text("monolithicFlat", {{.sectors = sectors, .type = "FLAT", .file = name}}));
  }

  Result<> monolithic_sparse() {
    auto const name = std::filesystem::path{path}.filename().string();
    auto const inside = text("monolithicSparse", {{.sectors = sectors, .type = "SPARSE", .file = name}});
    if (inside.size() > descriptor_sectors * sector) {
      return fail(Errc::invalid, fmt::format("{}: the names are too long for the descriptor", path));
    }
    return sparse_file(path, sectors, inside);
  }

  Result<> stream_optimized() {
    auto writer = TRY(StreamWriter::create(path, sectors * sector, options.adapter));
    made.push_back(path);
    return writer.finish();
  }

  Result<> run() {
    switch (options.kind) {
      case VmdkKind::monolithic_sparse: return monolithic_sparse();
      case VmdkKind::monolithic_flat: return monolithic_flat();
      case VmdkKind::split_sparse: return split(false);
      case VmdkKind::split_flat: return split(true);
      case VmdkKind::stream_optimized: return stream_optimized();
    }
    return fail(Errc::invalid, fmt::format("{}: no such kind of VMDK", path));
  }
};

Result<> check_names(std::string const& path, VmdkOptions const& options) {
  static constexpr auto adapters = std::array<std::string_view, 4>{"ide", "lsilogic", "buslogic", "legacyESX"};
  if (std::ranges::find(adapters, options.adapter) == adapters.end()) {
    return fail(Errc::invalid, fmt::format("{}: adapter {} is none of ide, lsilogic, buslogic, legacyESX", path,
                                           options.adapter));
  }
  for (auto const& name : {path, options.parent}) {
    if (name.find_first_of("\"\n\r") == std::string::npos) continue;
    return fail(Errc::invalid, fmt::format("{}: a name with a quotation mark or a line end", name));
  }
  return {};
}

}  // namespace

Result<> vmdk::make_extent(std::string const& path, u64 sectors, bool flat, bool zeroed_grain) {
  auto const options = VmdkOptions{.zeroed_grain = zeroed_grain};
  auto maker = Maker{path, options, sectors};
  return flat ? maker.flat_file(path, sectors) : maker.sparse_file(path, sectors, {});
}

Result<> create_vmdk(std::string const& path, u64 size, VmdkOptions const& options) {
  TRY(check_names(path, options));
  auto parent_cid = no_parent;
  auto const sparse = options.kind == VmdkKind::monolithic_sparse || options.kind == VmdkKind::split_sparse;
  if (!options.parent.empty()) {
    if (!sparse) return fail(Errc::invalid, fmt::format("{}: only a sparse VMDK has a parent", path));
    auto const name = std::filesystem::path{path}.parent_path() / options.parent;
    auto const image =
        TRY(open_image(name.string(), {.format = "vmdk", .read_only = true, .follow_references = true}));
    if (size == 0) size = image->geometry().bytes;
    if (auto const* const parent = dynamic_cast<VmdkImage const*>(image.get())) parent_cid = parent->cid();
  }
  auto const largest = options.kind == VmdkKind::monolithic_sparse || options.kind == VmdkKind::stream_optimized
                           ? largest_sparse
                       : sparse || options.kind == VmdkKind::split_flat ? split_extent * sector * most_extents
                                                                        : largest_disk;
  if (size == 0 || size > largest) {
    return fail(Errc::invalid, fmt::format("{}: a disk of {} bytes; at least 1, at most {} for this kind", path,
                                           size, largest));
  }
  auto maker = Maker{path, options, align_up(size, sector) / sector, parent_cid};
  auto const outcome = maker.run();
  if (outcome) return {};
  for (auto const& name : maker.made) Storage::remove(name);
  return outcome;
}

}  // namespace vireo::image
