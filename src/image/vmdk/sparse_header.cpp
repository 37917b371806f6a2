#include "image/vmdk/sparse_header.h"

#include <fmt/format.h>

#include <bit>
#include <vector>

namespace vireo::image::vmdk {
namespace {

struct Reader {
  Storage const& storage;
  u64 file_bytes{};
  u64 header_at{};

  std::unexpected<Error> corrupt(std::string_view field, u64 at, u64 value) const {
    return fail(Errc::corrupt, fmt::format("{}: VMDK header: {} at offset {:#x} is {:#x}; damaged or cut off",
                                           storage.path(), field, header_at + at, value));
  }
  /// `count` sectors from `first`, in the file.
  bool inside(u64 first, u64 bytes) const {
    return first <= file_bytes / sector && bytes <= file_bytes - first * sector;
  }
  Result<> check_sizes(SparseHeader& header, u64 capacity, u64 capacity_at, u64 grain, u64 grain_at) const {
    if (capacity == 0 || capacity > largest_capacity) return corrupt("capacity", capacity_at, capacity);
    if (!std::has_single_bit(grain) || grain > largest_grain) return corrupt("grain size", grain_at, grain);
    header.bytes = capacity * sector;
    header.grain = grain * sector;
    return {};
  }
  Result<> check_directory(SparseHeader& header, u64 first, std::string_view field, u64 at) const {
    auto const per_table = header.entries_per_table;
    header.directory_entries = (header.grain_count() + per_table - 1) / per_table;
    auto const bytes = header.directory_entries * (header.kind == SparseHeader::Kind::sesparse ? 8 : 4);
    if (bytes > largest_directory_bytes)
      return corrupt("capacity, by the size of the grain directory,", 0, bytes);
    if (first == 0 || !inside(first, bytes)) return corrupt(field, at, first);
    header.directory = first * sector;
    return {};
  }

  Result<SparseHeader> hosted(std::byte const* data) const;
  Result<SparseHeader> cowd(std::byte const* data) const;
  Result<SparseHeader> se(std::byte const* data) const;
};

Result<SparseHeader> Reader::hosted(std::byte const* data) const {
  using namespace sparse_at;
  auto header = SparseHeader{};
  header.version = load_le<u32>(data + version);
  header.flags = load_le<u32>(data + flags);
  if (header.version < 1 || header.version > 3) {
    return fail(Errc::unsupported, fmt::format("{}: VMDK version {}", storage.path(), header.version));
  }
  auto const newlines = load_le<u32>(data + single_end_line);
  if ((header.flags & sparse_flag::newline_test) != 0 && newlines != 0x0a0d200a) {
    return fail(Errc::corrupt,
                fmt::format("{}: VMDK header: line ends at offset {:#x} were changed; the file was copied in a "
                            "text mode, copy it again in binary",
                            storage.path(), header_at + single_end_line));
  }
  TRY(check_sizes(header, load_le<u64>(data + capacity), capacity, load_le<u64>(data + grain_size),
                  grain_size));
  header.entries_per_table = load_le<u32>(data + entries_per_table);
  if (!std::has_single_bit(header.entries_per_table) || header.entries_per_table > table_entries) {
    return corrupt("numGTEsPerGT", entries_per_table, header.entries_per_table);
  }
  auto const method = load_le<u16>(data + compression);
  header.compressed = (header.flags & sparse_flag::compressed) != 0;
  if (method > compression_deflate || header.compressed != (method == compression_deflate)) {
    return fail(Errc::unsupported,
                fmt::format("{}: VMDK header: compressAlgorithm at offset {:#x} is {}, flags {:#x}",
                            storage.path(), header_at + compression, method, header.flags));
  }
  auto const text = load_le<u64>(data + descriptor_offset);
  auto const text_sectors = load_le<u64>(data + descriptor_size);
  if (text != 0 && text_sectors != 0) {
    if (text_sectors > largest_descriptor_bytes / sector || !inside(text, text_sectors * sector)) {
      return corrupt("descriptorOffset", descriptor_offset, text);
    }
    header.descriptor = text * sector;
    header.descriptor_bytes = text_sectors * sector;
  }
  header.overhead = load_le<u64>(data + overhead);
  if (header.overhead > largest_capacity) return corrupt("overHead", overhead, header.overhead);
  header.overhead *= sector;
  auto const first = load_le<u64>(data + directory);
  header.footer = first == directory_at_end;
  if (header.footer) return header;
  TRY(check_directory(header, first, "gdOffset", directory));
  if ((header.flags & sparse_flag::redundant_table) != 0) {
    auto const second = load_le<u64>(data + redundant_directory);
    if (second == 0 || !inside(second, header.directory_entries * 4)) {
      return corrupt("rgdOffset", redundant_directory, second);
    }
    header.redundant_directory = second * sector;
  }
  return header;
}

Result<SparseHeader> Reader::cowd(std::byte const* data) const {
  using namespace cowd_at;
  auto header = SparseHeader{.kind = SparseHeader::Kind::cowd};
  if (load_le<u32>(data + version) != 1) {
    return fail(Errc::unsupported,
                fmt::format("{}: VMDK COWD version {}", storage.path(), load_le<u32>(data + version)));
  }
  TRY(check_sizes(header, load_le<u32>(data + sectors), sectors, load_le<u32>(data + grain_size), grain_size));
  header.entries_per_table = entries_per_table;
  TRY(check_directory(header, load_le<u32>(data + directory), "gdOffset", directory));
  return header;
}

Result<SparseHeader> Reader::se(std::byte const* data) const {
  using namespace sesparse;
  auto header = SparseHeader{.kind = SparseHeader::Kind::sesparse};
  auto const word = [&](u64 at) { return load_le<u64>(data + at); };
  if (word(at::version) != version) {
    return fail(Errc::unsupported,
                fmt::format("{}: VMDK seSparse version {:#x}", storage.path(), word(at::version)));
  }
  if (word(at::grain_size) != grain_sectors) return corrupt("grain size", at::grain_size, word(at::grain_size));
  if (word(at::table_size) != table_sectors) return corrupt("table size", at::table_size, word(at::table_size));
  TRY(check_sizes(header, word(at::capacity), at::capacity, word(at::grain_size), at::grain_size));
  header.entries_per_table = table_sectors * sector / 8;
  TRY(check_directory(header, word(at::directory), "grain directory", at::directory));
  if (!inside(word(at::tables), 0)) return corrupt("grain tables", at::tables, word(at::tables));
  if (!inside(word(at::grains), 0)) return corrupt("grains", at::grains, word(at::grains));
  header.tables = word(at::tables) * sector;
  header.grains = word(at::grains) * sector;
  auto const second = word(at::volatile_header);
  if (!inside(second, sector)) return corrupt("volatile header", at::volatile_header, second);
  auto bytes = std::vector<std::byte>(sector);
  TRY(storage.read(second * sector, bytes));
  if (load_le<u64>(bytes.data()) != volatile_magic)
    return corrupt("volatile header", at::volatile_header, second);
  if (load_le<u64>(bytes.data() + at::replay_journal) != 0) {
    return fail(Errc::unsupported,
                fmt::format("{}: VMDK seSparse with a journal to be replayed; let its ESXi host do that first",
                            storage.path()));
  }
  return header;
}

}  // namespace

Result<SparseHeader> read_sparse_header(Storage const& storage) {
  auto bytes = std::vector<std::byte>(sparse_at::length);
  TRY(storage.read(0, bytes));
  auto reader = Reader{.storage = storage, .file_bytes = TRY(storage.size())};
  auto const magic = load_le<u32>(bytes.data());
  if (magic == cowd_magic) return reader.cowd(bytes.data());
  if (load_le<u64>(bytes.data()) == sesparse::magic) return reader.se(bytes.data());
  if (magic != sparse_magic) return reader.corrupt("magic number", 0, magic);
  auto header = TRY(reader.hosted(bytes.data()));
  if (!header.footer) return header;
  if (reader.file_bytes < footer_from_end + sector)
    return reader.corrupt("gdOffset", sparse_at::directory, ~u64{0});
  reader.header_at = reader.file_bytes / sector * sector - footer_from_end;
  auto const first = header;
  TRY(storage.read(reader.header_at, bytes));
  if (load_le<u32>(bytes.data()) != sparse_magic) {
    return reader.corrupt("footer's magic number", 0, load_le<u32>(bytes.data()));
  }
  header = TRY(reader.hosted(bytes.data()));
  if (header.footer) return reader.corrupt("footer's gdOffset", sparse_at::directory, ~u64{0});
  if (header.bytes != first.bytes || header.grain != first.grain) {
    return reader.corrupt("footer's capacity", sparse_at::capacity, header.bytes / sector);
  }
  header.footer = true;
  header.descriptor = first.descriptor;
  header.descriptor_bytes = first.descriptor_bytes;
  return header;
}

}  // namespace vireo::image::vmdk
