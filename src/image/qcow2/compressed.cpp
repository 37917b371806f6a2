#include "image/qcow2/compressed.h"

#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace vireo::image::qcow2 {
namespace {

constexpr int deflate_window_bits{-12};  // raw deflate, 4 KiB window

Result<> inflate_raw(ConstBytes from, Bytes into) {
  auto stream = z_stream{};
  if (::inflateInit2(&stream, deflate_window_bits) != Z_OK) return fail(Errc::no_space, "zlib: out of memory");
  // SOUND: zlib reads bytes as unsigned characters and does not write through next_in.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(from.data()));
  stream.avail_in = static_cast<uInt>(from.size());
  // SOUND: as above, written within avail_out.
  stream.next_out = reinterpret_cast<Bytef*>(into.data());
  stream.avail_out = static_cast<uInt>(into.size());
  auto const outcome = ::inflate(&stream, Z_FINISH);
  auto const complete =
      stream.avail_out == 0 && (outcome == Z_STREAM_END || outcome == Z_BUF_ERROR || outcome == Z_OK);
  ::inflateEnd(&stream);
  if (!complete) return fail(Errc::corrupt, "deflate data is damaged");
  return {};
}

Result<> decompress_zstd(ConstBytes from, Bytes into) {
  auto const stream =
      std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)>{ZSTD_createDStream(), ZSTD_freeDStream};
  if (!stream) return fail(Errc::no_space, "zstd: out of memory");
  auto input = ZSTD_inBuffer{from.data(), from.size(), 0};
  auto output = ZSTD_outBuffer{into.data(), into.size(), 0};
  while (output.pos < output.size) {
    auto const before = input.pos + output.pos;
    auto const outcome = ZSTD_decompressStream(stream.get(), &output, &input);
    if (ZSTD_isError(outcome) != 0 || input.pos + output.pos == before) {
      return fail(Errc::corrupt, "zstd data is damaged");
    }
  }
  return {};
}

}  // namespace

CompressedPlace compressed_place(u64 entry, u32 cluster_bits) {
  auto const sector_count_at = 62 - (cluster_bits - 8);
  auto const offset = entry & ((u64{1} << sector_count_at) - 1);
  auto const more_sectors = (entry & (l2_entry::compressed - 1)) >> sector_count_at;
  return {offset, (more_sectors + 1) * 512 - offset % 512};
}

u64 compressed_entry(u64 offset, u64 length, u32 cluster_bits) {
  auto const more_sectors = (offset + length - 1) / 512 - offset / 512;
  return l2_entry::compressed | offset | more_sectors << (62 - (cluster_bits - 8));
}

Result<std::vector<std::byte>> compress(Compression kind, ConstBytes from) {
  auto packed = std::vector<std::byte>(from.size());
  if (kind == Compression::zstd) {
    auto const bytes =
        ZSTD_compress(packed.data(), packed.size() - 1, from.data(), from.size(), ZSTD_CLEVEL_DEFAULT);
    packed.resize(ZSTD_isError(bytes) != 0 ? 0 : bytes);
    return packed;
  }
  auto stream = z_stream{};
  if (::deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, deflate_window_bits, 9, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    return fail(Errc::no_space, "zlib: out of memory");
  }
  // SOUND: zlib reads bytes as unsigned characters and does not write through next_in.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(from.data()));
  stream.avail_in = static_cast<uInt>(from.size());
  // SOUND: as above, written within avail_out.
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size() - 1);
  auto const outcome = ::deflate(&stream, Z_FINISH);
  packed.resize(outcome == Z_STREAM_END ? stream.total_out : 0);
  ::deflateEnd(&stream);
  return packed;
}

Result<> decompress(Compression kind, ConstBytes from, Bytes into) {
  return kind == Compression::zlib ? inflate_raw(from, into) : decompress_zstd(from, into);
}

}  // namespace vireo::image::qcow2
