#include "image/vmdk/disk_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/vmdk/spec.h"
#include "vocab/numbers.h"

namespace vireo::image::vmdk {
namespace {

std::string line_of(ExtentLine const& line) {
  using enum ExtentLine::Access;
  auto const* const access = line.access == read_write  ? "RW"
                             : line.access == read_only ? "RDONLY"
                                                        : "NOACCESS";
  if (line.type == "ZERO") return fmt::format("{} {} ZERO", access, line.sectors);
  auto const place = is_flat(line) ? fmt::format(" {}", line.offset) : std::string{};
  return fmt::format("{} {} {} \"{}\"{}", access, line.sectors, line.type, line.file, place);
}

bool is_extent_line(std::string_view line) {
  auto const start = line.find_first_not_of(" \t");
  if (start == std::string_view::npos) return false;
  line.remove_prefix(start);
  return line.starts_with("RW ") || line.starts_with("RDONLY ") || line.starts_with("NOACCESS ");
}

std::string with_extents(std::string_view text, std::vector<ExtentLine> const& extents) {
  auto sectors = u64{0};
  for (auto const& extent : extents) sectors += extent.sectors;
  auto const heads = text.find("ddb.geometry.heads = \"16\"") != std::string_view::npos ? u64{16} : u64{255};
  auto const cylinders = std::min<u64>(sectors / (heads * 63), heads == 16 ? 16383 : 65535);
  auto result = std::string{};
  auto placed = false;
  while (!text.empty()) {
    auto const end = std::min(text.find('\n'), text.size());
    auto const line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with("ddb.geometry.cylinders")) {
      result += fmt::format("ddb.geometry.cylinders = \"{}\"\n", cylinders);
    } else if (!is_extent_line(line)) {
      result += fmt::format("{}\n", line);
    } else if (!placed) {
      for (auto const& extent : extents) result += line_of(extent) + "\n";
      placed = true;
    }
  }
  return result;
}

/// Other lines of the field, wherever they stand, go.
std::string with_parent(std::string_view text, std::string const& hint, u32 parent_cid) {
  auto result = std::string{};
  while (!text.empty()) {
    auto const end = std::min(text.find('\n'), text.size());
    auto const line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with("parentFileNameHint")) continue;
    if (!line.starts_with("parentCID")) {
      result += fmt::format("{}\n", line);
      continue;
    }
    result += fmt::format("parentCID={:08x}\n", parent_cid);
    if (!hint.empty()) result += fmt::format("parentFileNameHint=\"{}\"\n", hint);
  }
  return result;
}

}  // namespace

Result<DiskFiles> DiskFiles::read(Storage const& storage) {
  auto files = DiskFiles{.storage = storage};
  auto head = std::vector<std::byte>(8);
  TRY(storage.read(0, head));
  auto const magic = load_le<u32>(head.data());
  files.single = magic == sparse_magic || magic == cowd_magic || load_le<u64>(head.data()) == sesparse::magic;
  files.place = {0, TRY(storage.size())};
  if (files.single) {
    auto const header = TRY(read_sparse_header(storage));
    if (header.descriptor_bytes == 0) {
      return fail(Errc::invalid,
                  fmt::format("{}: is one extent of a VMDK disk; name its descriptor", storage.path()));
    }
    files.place = {header.descriptor, header.descriptor_bytes};
  } else if (files.place.length > largest_descriptor_bytes) {
    return fail(Errc::corrupt, fmt::format("{}: neither a VMDK extent nor a descriptor", storage.path()));
  }
  files.text = TRY(read_descriptor(storage, files.place));
  files.descriptor = TRY(parse_descriptor(storage.path(), files.text));
  if (files.descriptor.extents.empty()) {
    return fail(Errc::corrupt, fmt::format("{}: VMDK descriptor names no extent", storage.path()));
  }
  return files;
}

u64 DiskFiles::sectors() const {
  auto sum = u64{0};
  for (auto const& line : descriptor.extents) sum += line.sectors;
  return sum;
}

Result<> DiskFiles::write(std::vector<ExtentLine> const& extents) const {
  return put(with_extents(text, extents));
}

Result<> DiskFiles::write_parent(std::string const& hint, u32 parent_cid) const {
  return put(with_parent(text, hint, parent_cid));
}

Result<> DiskFiles::put(std::string changed) const {
  if (!single) return host::write_text(storage.path(), changed);
  if (changed.size() > place.length) {
    return fail(Errc::unsupported, fmt::format("{}: VMDK: no room in its descriptor", storage.path()));
  }
  changed.resize(place.length);
  TRY(storage.write(place.offset, std::as_bytes(std::span{changed})));
  return storage.sync();
}

}  // namespace vireo::image::vmdk
