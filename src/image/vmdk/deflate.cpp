#include "image/vmdk/deflate.h"

#include <zlib.h>

#include <algorithm>

#include "image/vmdk/spec.h"

namespace vireo::image::vmdk {

u64 largest_packed(u64 grain) { return grain * 2 + 4096; }

Result<std::vector<std::byte>> pack_grain(u64 first_sector, ConstBytes grain) {
  auto packed = std::vector<std::byte>(grain_at::data + ::compressBound(grain.size()));
  auto length = uLongf{packed.size() - grain_at::data};
  // SOUND: bytes seen as zlib's bytes.
  auto const outcome =
      ::compress2(reinterpret_cast<Bytef*>(packed.data() + grain_at::data), &length,
                  reinterpret_cast<Bytef const*>(grain.data()), grain.size(), Z_DEFAULT_COMPRESSION);
  if (outcome != Z_OK) return fail(Errc::no_space, "zlib: out of memory");
  store_le<u64>(packed.data() + grain_at::lba, first_sector);
  store_le<u32>(packed.data() + grain_at::size, static_cast<u32>(length));
  packed.resize(align_up(grain_at::data + length, sector));
  std::ranges::fill(Bytes{packed}.subspan(grain_at::data + length), std::byte{0});
  return packed;
}

Result<> inflate_grain(ConstBytes from, Bytes into, u64 at_least) {
  auto stream = z_stream{};
  if (::inflateInit(&stream) != Z_OK) return fail(Errc::no_space, "zlib: out of memory");
  // SOUND: zlib does not write to next_in; it lacks the const. Bytes seen as zlib's bytes.
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<Bytef const*>(from.data()));
  stream.avail_in = static_cast<uInt>(from.size());
  stream.next_out = reinterpret_cast<Bytef*>(into.data());
  stream.avail_out = static_cast<uInt>(into.size());
  auto const outcome = ::inflate(&stream, Z_FINISH);
  auto const produced = into.size() - stream.avail_out;
  ::inflateEnd(&stream);
  if (outcome != Z_STREAM_END || produced < at_least) return fail(Errc::corrupt, "compressed data is damaged");
  std::ranges::fill(into.subspan(produced), std::byte{0});
  return {};
}

}  // namespace vireo::image::vmdk
