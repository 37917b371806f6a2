#include "image/luks2/keyslot.h"
#include "image/luks2/volume.h"

// A hostile header: any error is fine; crashes, hangs and reads outside of what there is are not. The input is
// the JSON; what is around it is right, since no fuzzer finds a SHA-256.
extern "C" int LLVMFuzzerTestOneInput(vireo::u8 const* data, std::size_t size) {
  using namespace vireo;  // NOLINT: one program
  // SOUND: characters seen as bytes and as text.
  auto const raw = ConstBytes{reinterpret_cast<std::byte const*>(data), size};
  auto const text = std::string{reinterpret_cast<char const*>(data), size};
  auto file = std::vector<std::byte>(32 * 1024);
  auto header = image::luks2::Header{.area_bytes = 16 * 1024, .sequence = 1, .json = text};
  if (auto const first = image::luks2::encode_header(header, image::luks2::Copy::first))
    std::ranges::copy(*first, file.begin());
  auto const room = u64{1} << 42;
  auto const read_from = [&](ConstBytes bytes) {
    return [bytes](u64 at, Bytes into) -> Result<> {
      std::ranges::fill(into, std::byte{});
      if (at < bytes.size())
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                    std::min<u64>(into.size(), bytes.size() - at), into.begin());
      return {};
    };
  };
  static_cast<void>(image::luks2::read_header(read_from(raw), room));
  auto const found = image::luks2::read_header(read_from(file), room);
  if (!found) return 0;
  static_cast<void>(image::luks2::describe_header(*found));
  if (auto const json = image::luks2::without_keyslot(found->json, 0))
    static_cast<void>(image::luks2::parse_metadata(*json, found->area_bytes));
  auto const slot = image::luks2::Keyslot{
      .key_bytes = 64, .area = 32768, .area_bytes = 258048, .derivation = {.kind = "pbkdf2"}};
  static_cast<void>(image::luks2::with_keyslot(found->json, 3, slot));
  return 0;
}
