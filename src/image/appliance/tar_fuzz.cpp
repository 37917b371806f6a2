#include <cstdlib>

#include "image/appliance/tar.h"

// A hostile tar: any error is fine; members lie inside of it and have plain names.
extern "C" int LLVMFuzzerTestOneInput(vireo::u8 const* data, std::size_t size) {
  using namespace vireo;  // NOLINT: one program
  // SOUND: characters seen as bytes.
  auto const input = ConstBytes{reinterpret_cast<std::byte const*>(data), size};
  auto const read = [&](u64 at, Bytes into) -> Result<> {
    if (at > input.size() || into.size() > input.size() - at) std::abort();
    std::copy_n(input.data() + at, into.size(), into.data());
    return {};
  };
  auto const members = image::appliance::read_tar(read, size);
  if (!members) return 0;
  for (auto const& each : *members) {
    if (each.at > size || each.bytes > size - each.at || !image::appliance::is_plain_name(each.name))
      std::abort();
  }
  return 0;
}
