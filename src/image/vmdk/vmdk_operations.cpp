#include "image/vmdk/vmdk_operations.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "host/system_error.h"
#include "image/create_vmdk.h"
#include "image/open_image.h"
#include "image/vmdk/disk_files.h"
#include "image/vmdk/open_extents.h"
#include "image/vmdk/spec.h"
#include "image/vmdk/vmdk_image.h"
#include "vocab/numbers.h"

namespace vireo::image::vmdk {
namespace {

constexpr u64 most_grains{u64{1} << 27};

Result<VmdkKind> kind_of(std::string_view subformat) {
  using enum VmdkKind;
  if (subformat == "monolithicSparse") return monolithic_sparse;
  if (subformat == "monolithicFlat") return monolithic_flat;
  if (subformat == "twoGbMaxExtentSparse") return split_sparse;
  if (subformat == "twoGbMaxExtentFlat") return split_flat;
  if (subformat == "streamOptimized") return stream_optimized;
  return fail(Errc::invalid, fmt::format("subformat '{}': monolithicSparse, monolithicFlat, "
                                         "twoGbMaxExtentSparse, twoGbMaxExtentFlat or streamOptimized",
                                         subformat));
}

/// Cuts the list of extents to `sectors`, or makes it longer; changes and makes files.
struct Resizer {
  DiskFiles const& disk;
  u64 sectors;

  Result<> change_file(ExtentLine const& line, u64 wanted) const {
    auto const path = disk.path_of(line);
    auto const storage = TRY(Storage::open(path, true, CacheMode::writeback));
    if (!disk.single) TRY(storage.lock());
    if (is_sparse(line)) return resize_sparse(storage, wanted);
    TRY(storage.truncate((line.offset + wanted) * sector));
    return storage.sync();
  }

  /// The text first, so that no file is shorter than it says.
  Result<> shrink() const {
    auto extents = disk.descriptor.extents;
    auto dropped = std::vector<ExtentLine>{};
    auto left = sectors;
    for (auto index = std::size_t{0}; index < extents.size(); ++index) {
      auto& line = extents[index];
      if (left == 0) {
        dropped.assign(extents.begin() + static_cast<std::ptrdiff_t>(index), extents.end());
        extents.resize(index);
        break;
      }
      line.sectors = std::min(line.sectors, left);
      left -= line.sectors;
    }
    TRY(disk.write(extents));
    auto const& last = extents.back();
    if (last.type != "ZERO") TRY(change_file(last, last.sectors));
    for (auto const& line : dropped) {
      if (line.type != "ZERO") ::unlink(disk.path_of(line).c_str());
    }
    return {};
  }

  std::string next_name(std::size_t number, bool flat) const {
    auto const stem = std::filesystem::path{disk.storage.path()}.stem().string();
    return fmt::format("{}-{}{:03}.vmdk", stem, flat ? 'f' : 's', number);
  }

  Result<> grow() const {
    auto extents = disk.descriptor.extents;
    auto missing = sectors - disk.sectors();
    auto& last = extents.back();
    if (!is_sparse(last) && !is_flat(last)) {
      return fail(Errc::unsupported, fmt::format("{}: VMDK extents of type {} do not grow; convert the image",
                                                 disk.storage.path(), last.type));
    }
    auto const flat = is_flat(last);
    auto const split = disk.descriptor.create_type.starts_with("twoGbMaxExtent");
    auto const room = split ? split_extent - std::min(split_extent, last.sectors) : missing;
    if (auto const more = std::min(room, missing); more != 0) {
      TRY(change_file(last, last.sectors + more));
      last.sectors += more;
      missing -= more;
    }
    while (missing != 0) {
      auto const part = std::min(missing, split_extent);
      auto line = ExtentLine{.sectors = part, .type = flat ? "FLAT" : "SPARSE"};
      line.file = next_name(extents.size() + 1, flat);
      TRY(make_extent(disk.path_of(line), part, flat));
      extents.push_back(line);
      missing -= part;
    }
    return disk.write(extents);
  }
};

/// A sparse extent's places.
struct SparseChecker {
  Storage const& storage;
  SparseHeader header{};
  std::vector<u32> directory{};
  std::vector<u32> redundant{};
  Placement placement{};
  u64 unequal{};

  Result<u64> length_at(u64 offset) const {
    if (!header.compressed) return header.grain;
    auto head = std::vector<std::byte>(grain_at::data);
    TRY(storage.read(offset, head));
    return align_up(grain_at::data + load_le<u32>(head.data() + grain_at::size), sector);
  }

  Result<std::vector<u32>> entries(u64 at, u64 count) const {
    auto result = std::vector<u32>(count);
    TRY(storage.read(at, std::as_writable_bytes(std::span{result})));
    return result;
  }

  Result<> read_tables(Repair repair, CheckReport& report) {
    auto const per_table = header.entries_per_table;
    auto const zeroed = (header.flags & sparse_flag::zeroed_grain) != 0;
    for (auto number = u64{0}; number < directory.size(); ++number) {
      auto const at = u64{directory[number]} * sector;
      if (at == 0 || at >= placement.end) {
        if (at != 0) report.corruption(fmt::format("grain directory entry {} points to {:#x}", number, at));
        continue;
      }
      auto const table = TRY(entries(at, per_table));
      placement.metadata.push_back({number, at, align_up(header.table_bytes(), sector)});
      if (number < redundant.size() && redundant[number] != 0) {
        auto const copy_at = u64{redundant[number]} * sector;
        placement.metadata.push_back({number, copy_at, align_up(header.table_bytes(), sector)});
        if (copy_at < placement.end && TRY(entries(copy_at, per_table)) != table) {
          report.stale(fmt::format("the second copy of grain table {} differs", number));
          if (repair != Repair::none) {
            TRY(storage.write(copy_at, std::as_bytes(std::span{table})));
            ++report.leaks_fixed;
          }
        }
      }
      for (auto index = u64{0}; index < per_table; ++index) {
        auto const grain = number * per_table + index;
        if (grain >= header.grain_count() || table[index] == 0 ||
            (zeroed && table[index] == zeroed_grain_entry)) {
          continue;
        }
        if (placement.blocks.size() > std::min(placement.end / sector, most_grains)) {
          return fail(Errc::corrupt,
                      fmt::format("{}: VMDK: its tables name more grains than the file holds", storage.path()));
        }
        auto const place = u64{table[index]} * sector;
        placement.blocks.push_back(
            {grain, place, place < placement.end ? TRY(length_at(place)) : header.grain});
      }
    }
    return {};
  }

  Result<CheckReport> run(Repair repair) {
    header = TRY(read_sparse_header(storage));
    if (header.kind != SparseHeader::Kind::hosted) {
      return fail(Errc::unsupported,
                  fmt::format("{}: ESXi's own kinds of VMDK are not checked", storage.path()));
    }
    auto const directory_bytes = align_up(header.directory_entries * 4, sector);
    placement = {.metadata = {{0, 0, sector}, {0, header.directory, directory_bytes}},
                 .end = align_up(TRY(storage.size()), header.grain),
                 .unit = header.grain,
                 .total = header.grain_count()};
    if (header.descriptor_bytes != 0)
      placement.metadata.push_back({0, header.descriptor, header.descriptor_bytes});
    directory = TRY(entries(header.directory, header.directory_entries));
    if (header.redundant_directory != 0) {
      redundant = TRY(entries(header.redundant_directory, header.directory_entries));
      placement.metadata.push_back({0, header.redundant_directory, directory_bytes});
    }
    auto report = CheckReport{};
    TRY(read_tables(repair, report));
    placement.clear = [this](u64 grain) { return clear(grain); };
    auto result = TRY(check_placement(storage, placement, repair));
    result.corruptions += report.corruptions;
    result.corruptions_fixed += report.corruptions_fixed;
    result.compressed = header.compressed ? result.allocated : 0;
    result.findings.insert(result.findings.begin(), report.findings.begin(), report.findings.end());
    return result;
  }

  Result<> clear(u64 grain) const {
    auto const number = grain / header.entries_per_table;
    for (auto const* tables : {&directory, &redundant}) {
      if (number >= tables->size() || (*tables)[number] == 0) continue;
      TRY(storage.write(u64{(*tables)[number]} * sector + grain % header.entries_per_table * 4,
                        std::vector<std::byte>(4)));
    }
    return {};
  }
};

void add(CheckReport& sum, CheckReport const& part) {
  sum.corruptions += part.corruptions;
  sum.leaks += part.leaks;
  sum.corruptions_fixed += part.corruptions_fixed;
  sum.leaks_fixed += part.leaks_fixed;
  sum.allocated += part.allocated;
  sum.fragmented += part.fragmented;
  sum.compressed += part.compressed;
  sum.total += part.total;
  sum.end += part.end;
  sum.findings.insert(sum.findings.end(), part.findings.begin(), part.findings.end());
}

}  // namespace

Result<> create(CreateRequest const& request) {
  auto options = OptionReader{request};
  auto const standard = request.preallocation != Preallocation::off ? "monolithicFlat" : "monolithicSparse";
  auto const kind = options.text("subformat", standard);
  auto const adapter = options.text("adapter_type", "ide");
  auto const zeroed = TRY(options.flag("zeroed_grain", false));
  static_cast<void>(options.text("hwversion", ""));
  static_cast<void>(options.text("toolsversion", ""));
  static_cast<void>(TRY(options.flag("compat6", false)));
  TRY(options.finish());
  return create_vmdk(
      request.path, request.bytes,
      {.kind = TRY(kind_of(kind)), .parent = request.backing.path, .zeroed_grain = zeroed, .adapter = adapter});
}

Result<Description> describe(Storage const& storage) {
  auto const disk = TRY(DiskFiles::read(storage));
  auto description = Description{.bytes = disk.sectors() * sector, .flat = true};
  description.files.push_back(storage.path());
  auto const& descriptor = disk.descriptor;
  for (auto const& line : descriptor.extents) {
    if (is_sparse(line)) description.flat = false;
    // Only what is the disk's own by its name: an image does not choose which files are looked at.
    if (!disk.single && is_own(storage.path(), line.file)) description.files.push_back(disk.path_of(line));
  }
  if (disk.single) {
    auto const header = TRY(read_sparse_header(storage));
    description.bytes = header.bytes;
    description.cluster = header.grain;
  } else if (!description.flat) {
    description.cluster = default_grain * sector;
  }
  description.facts = {{"cid", u64{descriptor.cid}},
                       {"parent cid", u64{descriptor.parent_cid}},
                       {"create type", descriptor.create_type}};
  auto extents = FactList{{}, true};
  for (auto const& line : descriptor.extents) {
    auto fact = FactList{};
    if (descriptor.create_type == "streamOptimized") fact.facts.push_back({"compressed", true});
    fact.facts.push_back({"virtual size", line.sectors * sector});
    fact.facts.push_back({"filename", disk.path_of(line)});
    if (is_sparse(line)) fact.facts.push_back({"cluster size", description.cluster});
    fact.facts.push_back({"format", disk.single ? std::string{} : line.type});
    extents.facts.push_back({"", std::move(fact)});
  }
  description.facts.push_back({"extents", std::move(extents)});
  if (descriptor.parent_cid != no_parent) {
    description.backing_file = descriptor.parent_hint;
    description.backing_format = "vmdk";
  }
  return description;
}

Result<std::string> parent_of(Storage const& storage) {
  auto const disk = TRY(DiskFiles::read(storage));
  return (std::filesystem::path{storage.path()}.parent_path() / disk.descriptor.parent_hint).string();
}

Result<> set_parent(Storage const& storage, std::string const& parent) {
  auto const disk = TRY(DiskFiles::read(storage));
  if (parent.find_first_of("\"\n\r") != std::string::npos)
    return fail(Errc::invalid, fmt::format("{}: a name with a quotation mark or a line end", parent));
  if (parent.empty()) return disk.write_parent({}, no_parent);
  auto const path = (std::filesystem::path{storage.path()}.parent_path() / parent).string();
  auto const image = TRY(open_image(path, {.format = "vmdk", .read_only = true, .follow_references = true}));
  auto const* const layer = dynamic_cast<VmdkImage const*>(image.get());
  if (layer == nullptr) return fail(Errc::invalid, fmt::format("{}: is no VMDK image", path));
  return disk.write_parent(parent, layer->cid());
}

Result<> make_empty(Storage const& storage) {
  TRY(storage.lock());
  auto const disk = TRY(DiskFiles::read(storage));
  for (auto const& line : disk.descriptor.extents) {
    if (!is_sparse(line) || !is_own(storage.path(), line.file))
      return fail(Errc::unsupported,
                  fmt::format("{}: VMDK extent \"{}\" is not made anew", storage.path(), line.file));
  }
  for (auto const& line : disk.descriptor.extents) {
    auto const path = disk.path_of(line);
    auto const old = TRY(Storage::open(path, true, CacheMode::writeback));
    TRY(old.lock());
    auto const flags = TRY(read_sparse_header(old)).flags;
    auto const fresh = path + ".vireo-new";
    ::unlink(fresh.c_str());
    TRY(make_extent(fresh, line.sectors, false, (flags & sparse_flag::zeroed_grain) != 0));
    if (::rename(fresh.c_str(), path.c_str()) != 0) return host::fail_errno(errno, path + ": rename");
  }
  return set_parent(storage, disk.descriptor.parent_hint);  // its CID is another since it was written to
}

Result<CheckReport> check(Storage const& storage, Repair repair) {
  auto const disk = TRY(DiskFiles::read(storage));
  if (disk.single) return SparseChecker{storage}.run(repair);
  auto sum = CheckReport{};
  for (auto const& line : disk.descriptor.extents) {
    if (line.type == "ZERO" || !is_own(storage.path(), line.file)) continue;
    auto const extent = TRY(Storage::open(disk.path_of(line), repair != Repair::none, CacheMode::writeback));
    TRY(extent.lock());
    if (is_sparse(line)) {
      add(sum, TRY(SparseChecker{extent}.run(repair)));
      continue;
    }
    auto const there = TRY(extent.size()) / sector;
    sum.total += line.sectors;
    sum.allocated += line.sectors;
    sum.end += TRY(extent.size());
    if (there < line.offset + line.sectors) {
      sum.corruption(
          fmt::format("{} is {} sectors long, not {}", extent.path(), there, line.offset + line.sectors));
    }
  }
  return sum;
}

Result<> resize(Storage const& storage, u64 bytes) {
  auto const disk = TRY(DiskFiles::read(storage));
  auto const sectors = align_up(bytes, sector) / sector;
  auto const now = disk.single ? TRY(read_sparse_header(storage)).bytes / sector : disk.sectors();
  for (auto const& line : disk.descriptor.extents) {
    if (disk.single || line.type == "ZERO" || is_own(storage.path(), line.file)) continue;
    return fail(Errc::denied,
                fmt::format("{}: VMDK extent \"{}\" is not named after its descriptor; convert the "
                            "image instead",
                            storage.path(), line.file));
  }
  auto const resizer = Resizer{disk, sectors};
  if (disk.single) {
    auto line = disk.descriptor.extents.front();
    line.sectors = sectors;
    if (sectors > now) TRY(resize_sparse(storage, sectors));
    TRY(disk.write({line}));
    return sectors < now ? resize_sparse(storage, sectors) : Result<>{};
  }
  return sectors < now ? resizer.shrink() : sectors > now ? resizer.grow() : Result<>{};
}

}  // namespace vireo::image::vmdk
