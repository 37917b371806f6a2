#include "image/vmdk/stream_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "image/vmdk/deflate.h"
#include "image/vmdk/descriptor.h"

namespace vireo::image::vmdk {
namespace {

constexpr u64 descriptor_sectors{20};
constexpr u64 overhead_sectors{128};

}  // namespace

StreamWriter::StreamWriter(Storage file, u64 bytes)
    : file_{std::move(file)}, bytes_{bytes}, table_(table_entries) {
  auto const grains = (bytes + grain - 1) / grain;
  directory_.resize((grains + table_entries - 1) / table_entries);
}

std::vector<std::byte> StreamWriter::header(u64 directory) const {
  using namespace sparse_at;
  auto result = std::vector<std::byte>(sector);
  auto* const data = result.data();
  store_le<u32>(data + magic, sparse_magic);
  store_le<u32>(data + version, 3);
  store_le<u32>(data + flags, sparse_flag::newline_test | sparse_flag::compressed | sparse_flag::markers);
  store_le<u64>(data + capacity, bytes_ / sector);
  store_le<u64>(data + grain_size, default_grain);
  store_le<u64>(data + descriptor_offset, 1);
  store_le<u64>(data + descriptor_size, descriptor_sectors);
  store_le<u32>(data + entries_per_table, table_entries);
  store_le<u64>(data + sparse_at::directory, directory);
  store_le<u64>(data + overhead, overhead_sectors);
  store_le<u32>(data + single_end_line, 0x0a0d200a);
  store_le<u16>(data + compression, compression_deflate);
  return result;
}

Result<StreamWriter> StreamWriter::create(std::string const& path, u64 bytes, std::string_view adapter) {
  bytes = align_up(bytes, sector);
  auto file = TRY(Storage::create(path));
  auto writer = StreamWriter{std::move(file), bytes};
  auto const name = std::filesystem::path{path}.filename().string();
  auto const text = descriptor_text({.cid = random_cid(),
                                     .parent_cid = no_parent,
                                     .create_type = "streamOptimized",
                                     .extents = {{.sectors = bytes / sector, .type = "SPARSE", .file = name}},
                                     .adapter = adapter,
                                     .sectors = bytes / sector});
  if (text.size() > descriptor_sectors * sector) return fail(Errc::invalid, path + ": the name is too long");
  auto start = writer.header(directory_at_end);
  start.resize(overhead_sectors * sector);
  std::ranges::copy(std::as_bytes(std::span{text}), start.begin() + sector);
  TRY(writer.write(start));
  return writer;
}

Result<> StreamWriter::write(ConstBytes bytes) {
  TRY(file_.write(at_, bytes));
  at_ += bytes.size();
  return {};
}

Result<> StreamWriter::write_marker(Marker type, u64 sectors) {
  auto bytes = std::vector<std::byte>(sector);
  store_le<u64>(bytes.data() + marker_at::sectors, sectors);
  store_le<u32>(bytes.data() + marker_at::type, static_cast<u32>(type));
  return write(bytes);
}

Result<> StreamWriter::append(u64 number, ConstBytes bytes) {
  auto whole = std::vector<std::byte>(grain);
  std::ranges::copy(bytes.first(std::min<std::size_t>(bytes.size(), grain)), whole.begin());
  return append_packed(number, TRY(pack_grain(number * default_grain, whole)));
}

Result<> StreamWriter::append_packed(u64 number, ConstBytes packed) {
  if (number < next_grain_ || number / table_entries >= directory_.size()) {
    return fail(Errc::invalid, fmt::format("{}: grain {} comes out of order", file_.path(), number));
  }
  if (number / table_entries != table_number_) TRY(write_table());
  table_number_ = number / table_entries;
  next_grain_ = number + 1;
  if (at_ / sector > 0xffffffff) {
    return fail(Errc::no_space, fmt::format("{}: VMDK extents cannot grow over 2 TiB", file_.path()));
  }
  table_[number % table_entries] = static_cast<u32>(at_ / sector);
  table_used_ = true;
  return write(packed);
}

Result<> StreamWriter::write_table() {
  if (!table_used_) return {};
  TRY(write_marker(Marker::grain_table, table_entries * 4 / sector));
  directory_[table_number_] = static_cast<u32>(at_ / sector);
  TRY(write(std::as_bytes(std::span{table_})));
  std::ranges::fill(table_, 0);
  table_used_ = false;
  return {};
}

Result<> StreamWriter::finish() {
  TRY(write_table());
  auto const directory_bytes = align_up(directory_.size() * 4, sector);
  TRY(write_marker(Marker::grain_directory, directory_bytes / sector));
  auto const directory = at_ / sector;
  directory_.resize(directory_bytes / 4);
  TRY(write(std::as_bytes(std::span{directory_})));
  TRY(write_marker(Marker::footer, 1));
  TRY(write(header(directory)));
  TRY(write_marker(Marker::end_of_stream, 0));
  return file_.sync();
}

}  // namespace vireo::image::vmdk
