#include "image/vmdk/open_extents.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "image/empty_layer.h"
#include "image/vmdk/flat_extent.h"
#include "image/vmdk/sesparse_map.h"
#include "image/vmdk/sparse_map.h"

namespace vireo::image::vmdk {
namespace {

using std::filesystem::path;

/// "-s001", "-f002": the suffixes of numbered extents.
bool is_numbered(std::string_view suffix) {
  if (suffix.size() < 5 || suffix[0] != '-' || (suffix[1] != 's' && suffix[1] != 'f')) return false;
  return std::ranges::all_of(suffix.substr(2), [](char each) { return each >= '0' && each <= '9'; });
}

}  // namespace

bool is_own(path const& descriptor, std::string const& name) {
  auto const stem = descriptor.stem().string();
  if (name.find('/') != std::string::npos || !name.starts_with(stem) || !name.ends_with(".vmdk")) return false;
  if (name.size() < stem.size() + 5) return false;
  auto const suffix = std::string_view{name}.substr(stem.size(), name.size() - stem.size() - 5);
  static constexpr auto known = std::array<std::string_view, 3>{"-flat", "-delta", "-sesparse"};
  if (std::ranges::find(known, suffix) == known.end() && !is_numbered(suffix)) return false;
  auto ignored = std::error_code{};
  return !std::filesystem::is_symlink(descriptor.parent_path() / name, ignored);
}

namespace {

struct Opener {
  std::string const& descriptor;
  OpenContext const& context;
  std::shared_ptr<BlockImage> const& parent;

  std::unexpected<Error> error(Errc code, ExtentLine const& line, std::string_view what) const {
    return fail(code, fmt::format("{}: VMDK extent \"{}\": {}", descriptor, line.file, what));
  }

  Result<std::shared_ptr<Storage const>> file_of(ExtentLine const& line) const {
    if (!context.options.follow_references && !is_own(descriptor, line.file)) {
      return error(Errc::denied, line,
                   fmt::format("is not named after the descriptor, or a link; {}", reference_hint));
    }
    auto const name = (path{descriptor}.parent_path() / line.file).string();
    auto const writable = !context.options.read_only && line.access == ExtentLine::Access::read_write;
    auto storage = TRY(Storage::open(name, writable, context.options.cache));
    if (std::ranges::find(context.above, storage.identity()) != context.above.end()) {
      return error(Errc::corrupt, line, "is the descriptor itself or a child's");
    }
    TRY(storage.lock(context.locks()));
    return std::make_shared<Storage const>(std::move(storage));
  }

  Result<std::unique_ptr<BlockImage>> flat(ExtentLine const& line) const {
    auto const storage = TRY(file_of(line));
    auto const size = TRY(storage->size());
    if (line.offset + line.sectors > size / sector) {
      return error(Errc::corrupt, line,
                   fmt::format("{} sectors from sector {} lie outside the file of {} bytes", line.sectors,
                               line.offset, size));
    }
    return std::make_unique<FlatExtent>(storage, line.offset * sector, line.sectors * sector);
  }

  Result<std::unique_ptr<BlockImage>> sparse(ExtentLine const& line, u64 start) const {
    auto storage = TRY(file_of(line));
    auto const header = TRY(read_sparse_header(*storage));
    auto const bytes = line.sectors * sector;
    if (header.bytes < bytes) {
      return error(
          Errc::corrupt, line,
          fmt::format("holds {} sectors, the descriptor says {}", header.bytes / sector, line.sectors));
    }
    return open_sparse(std::move(storage), header, bytes, {parent, start});
  }

  Result<std::unique_ptr<BlockImage>> open(ExtentLine const& line, u64 start) const {
    if (line.access == ExtentLine::Access::none) {
      return error(Errc::unsupported, line, "NOACCESS: not to be read");
    }
    auto const& type = line.type;
    if (type == "ZERO") return std::make_unique<ZeroExtent>(descriptor, line.sectors * sector);
    if (type == "FLAT" || type == "VMFS") return flat(line);
    if (type == "SPARSE" || type == "VMFSSPARSE" || type == "SESPARSE") return sparse(line, start);
    return error(Errc::unsupported, line, fmt::format("extents of type {} are not supported", type));
  }
};

}  // namespace

Result<std::unique_ptr<BlockImage>> open_sparse(std::shared_ptr<Storage const> storage,
                                                SparseHeader const& header, u64 bytes, block_map::Below below) {
  using enum SparseHeader::Kind;
  if (storage->writable() && header.kind != hosted) {
    return fail(Errc::unsupported,
                fmt::format("{}: VMDK {} is read only; open it so, or convert it", storage->path(),
                            header.kind == cowd ? "vmfsSparse" : "seSparse"));
  }
  auto map = std::unique_ptr<block_map::BlockMap>{};
  if (header.kind == sesparse) {
    map = TRY(SeSparseMap::open(*storage, header));
  } else {
    map = TRY(SparseMap::open(*storage, header));
  }
  auto const shape =
      block_map::MappedImage::Shape{.bytes = bytes,
                                    .block = header.grain,
                                    .alignment = header.compressed ? sector : std::max(header.grain, sector),
                                    .knows_zero = (header.flags & sparse_flag::zeroed_grain) != 0,
                                    .packs = header.compressed,
                                    .end_of_file = TRY(storage->size()),
                                    .log_name = "vmdk"};
  return std::make_unique<block_map::MappedImage>(std::move(storage), std::move(map), shape, std::move(below));
}

Result<std::vector<VmdkImage::Part>> open_extents(std::string const& path, Descriptor const& descriptor,
                                                  OpenContext const& context,
                                                  std::shared_ptr<BlockImage> const& parent) {
  auto parts = std::vector<VmdkImage::Part>{};
  auto const opener = Opener{path, context, parent};
  auto start = u64{0};
  for (auto const& line : descriptor.extents) {
    auto const bytes = line.sectors * sector;
    if (start + bytes > largest_capacity * sector) {
      return fail(Errc::corrupt,
                  fmt::format("{}: VMDK descriptor: extents of more than {} sectors", path, largest_capacity));
    }
    parts.push_back({start, bytes, TRY(opener.open(line, start))});
    start += bytes;
  }
  if (parts.empty()) return fail(Errc::corrupt, fmt::format("{}: VMDK descriptor names no extent", path));
  return parts;
}

}  // namespace vireo::image::vmdk
