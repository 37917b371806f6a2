#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "host/descriptor.h"
#include "host/file.h"
#include "image/open_image.h"

namespace vireo::image {

/// For fuzz targets: reads and writes all over a disk, outside of it too, as the bytes of `choices` say.
inline void use_disk(BlockImage& disk, ConstBytes choices) {
  auto const bytes = disk.geometry().bytes;
  auto buffer = std::vector<std::byte>(70000, std::byte{0x5a});
  auto state = u64{88172645463325252};
  for (auto const choice : choices) {
    state = state * 6364136223846793005 + std::to_integer<u64>(choice);
    auto const at = (state >> 20) % (bytes + 4096);
    auto const part = Bytes{buffer}.first((state >> 8) % buffer.size());
    switch (std::to_integer<unsigned>(choice) % 8) {
      case 0: static_cast<void>(disk.read(at, part)); break;
      case 1: static_cast<void>(disk.write(at, part)); break;
      case 2: static_cast<void>(disk.write_zeroes(at, part.size() * 8, state % 2 != 0)); break;
      case 3: static_cast<void>(disk.discard(at, part.size() * 8)); break;
      case 4: static_cast<void>(disk.extent_at(at)); break;
      case 5: static_cast<void>(disk.read((state >> 8) % 65536, part)); break;
      case 6: static_cast<void>(disk.flush()); break;
      case 7: static_cast<void>(disk.write((state >> 8) % 65536, part)); break;
    }
  }
}

/// The input's first 24 bytes are choices, the rest is the file: opened for reading, then for writing. Any
/// error is fine; crashes, hangs and leaks are not.
inline int fuzz_disk(u8 const* data, std::size_t size, std::string_view format) {
  constexpr auto choices = std::size_t{24};
  if (size < choices) return 0;
  // SOUND: characters seen as bytes.
  auto const input = ConstBytes{reinterpret_cast<std::byte const*>(data), size};
  auto const memory = host::Descriptor{::memfd_create("image", MFD_CLOEXEC)};
  auto const path = "/proc/self/fd/" + std::to_string(memory.get());
  auto const file = host::File::open(path, {.write = true});
  if (!file || !file->write(0, input.subspan(choices))) std::abort();
  for (auto const read_only : {true, false}) {
    auto const disk = open_image(path, {.format = format, .read_only = read_only});
    if (disk) use_disk(**disk, input.first(choices));
  }
  return 0;
}

}  // namespace vireo::image
