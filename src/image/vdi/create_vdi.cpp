#include "image/create_vdi.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <filesystem>

#include "image/vdi/header.h"

namespace vireo::image {
namespace {

using namespace vdi;  // NOLINT: the format's own vocabulary

constexpr u64 table_place{4096};
constexpr u64 data_alignment{1 * MiB};
constexpr u64 entries_at_once{16384};

Result<> set_parent(Header& header, std::string const& path, std::string const& parent) {
  auto const storage = TRY(Storage::open(parent, false, CacheMode::writeback));
  auto const above = TRY(read_header(storage));
  auto const found = TRY(find_parent(path, above.id));
  auto failure = std::error_code{};
  if (!std::filesystem::equivalent(found, parent, failure)) {
    return fail(Errc::invalid,
                fmt::format("{}: vdi: would find {} as its parent, not {}; both have the same UUID", path,
                            found, parent));
  }
  header.type = ImageType::differencing;
  header.parent_id = above.id;
  header.parent_modification = above.modification;
  if (header.bytes == 0) header.bytes = above.bytes;
  return {};
}

Result<> write_image(Storage const& file, Header const& header) {
  TRY(file.truncate(header.data_at + header.allocated * header.stride()));
  for (auto done = u64{0}; done < header.blocks;) {
    auto const count = std::min<u64>(entries_at_once, header.blocks - done);
    auto entries = std::vector<std::byte>(count * 4, std::byte{0xff});
    if (header.type == ImageType::fixed) {
      for (auto each = u64{0}; each < count; ++each) {
        store_le<u32>(entries.data() + each * 4, static_cast<u32>(done + each));
      }
    }
    TRY(file.write(header.table_at + done * 4, entries));
    done += count;
  }
  TRY(file.sync());
  TRY(file.write(0, encode_header(header)));
  return file.sync();
}

}  // namespace

Result<> create_vdi(std::string const& path, u64 size, VdiOptions const& options) {
  if (options.block_bytes < 4096 || options.block_bytes > largest_block ||
      !std::has_single_bit(options.block_bytes)) {
    return fail(Errc::invalid, fmt::format("{}: a block of {} bytes is no power of two from 4 KiB to 64 MiB",
                                           path, options.block_bytes));
  }
  auto header = Header{.type = options.fixed ? ImageType::fixed : ImageType::dynamic,
                       .table_at = table_place,
                       .bytes = size,
                       .block = options.block_bytes,
                       .id = TRY(new_unique_id()),
                       .modification = TRY(new_unique_id())};
  if (!options.parent.empty()) {
    if (options.fixed) return fail(Errc::invalid, fmt::format("{}: a fixed image has no parent", path));
    TRY(set_parent(header, path, options.parent));
  }
  auto const largest = u64{most_blocks} * header.block;
  if (header.bytes == 0 || header.bytes > largest) {
    return fail(Errc::invalid,
                fmt::format("{}: a disk of {} bytes does not go with blocks of {}; the largest is {}", path,
                            header.bytes, header.block, largest));
  }
  header.bytes = align_up(header.bytes, 512);
  header.blocks = static_cast<u32>(align_up(header.bytes, header.block) / header.block);
  header.data_at = align_up(header.table_at + u64{header.blocks} * 4, data_alignment);
  header.allocated = header.type == ImageType::fixed ? header.blocks : 0;
  auto const file = TRY(Storage::create(path));
  auto const written = write_image(file, header);
  if (!written) Storage::remove(path);
  return written;
}

}  // namespace vireo::image
