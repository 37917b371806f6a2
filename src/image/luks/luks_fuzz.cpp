#include "image/luks/volume.h"

// A hostile header: any error is fine; crashes, hangs and reads outside of what there is are not.
extern "C" int LLVMFuzzerTestOneInput(vireo::u8 const* data, std::size_t size) {
  using namespace vireo;  // NOLINT: one program
  // SOUND: characters seen as bytes.
  auto const input = ConstBytes{reinterpret_cast<std::byte const*>(data), size};
  auto const read = [&](u64 at, Bytes into) -> Result<> {
    if (at > input.size() || into.size() > input.size() - at) return fail(Errc::io, "outside");
    std::copy_n(input.data() + at, into.size(), into.data());
    return {};
  };
  auto const volume = image::luks::read_volume(read, size);
  if (!volume) return 0;
  static_cast<void>(image::luks::describe_volume(*volume, true));
  static_cast<void>(
      image::luks::Cipher::create(volume->cipher, volume->mode, image::luks::Key{volume->key_bytes}));
  return 0;
}
