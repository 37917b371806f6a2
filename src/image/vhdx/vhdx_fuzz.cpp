#include <array>

#include "host/test_folder.h"
#include "image/create_vhdx.h"
#include "image/fuzz_disk.h"
#include "image/vhdx/crc32c.h"
#include "image/vhdx/spec.h"

// The input: 24 bytes of choices, then patches for a valid image, each a place, a 16-bit length and bytes.
// Checksums are put right afterwards, else nothing would get behind them.
namespace {

using namespace vireo;  // NOLINT: one program

constexpr auto choices = std::size_t{24};
constexpr auto places = std::array<u64, 8>{64 * KiB, 192 * KiB,          MiB,     MiB + MiB / 2,
                                           2 * MiB,  2 * MiB + 64 * KiB, 3 * MiB, 3 * MiB + 8 * 4096};

struct Piece {
  u64 at{};
  std::vector<std::byte> bytes;
};

std::vector<Piece> valid_image() {
  auto const folder = host::TestFolder{};
  auto const path = folder / "disk.vhdx";
  if (!image::create_vhdx(path, 4 * MiB, {.block = 1 * MiB})) std::abort();
  auto const file = host::File::open(path, {});
  auto pieces = std::vector<Piece>{};
  for (auto const at : {u64{0}, 64 * KiB, 192 * KiB, 2 * MiB, 2 * MiB + 64 * KiB}) {
    pieces.push_back({at, std::vector<std::byte>(4096)});
    if (!file->read(at, pieces.back().bytes)) std::abort();
  }
  return pieces;
}

void fix_checksum(host::File const& file, u64 at, u64 length) {
  auto bytes = std::vector<std::byte>(length);
  if (!file.read_some(at, bytes)) std::abort();
  store_le<u32>(bytes.data() + 4, image::vhdx::crc32c(bytes, 4));
  if (!file.write(at, bytes)) std::abort();
}

void fix_log_entry(host::File const& file, u64 at) {
  auto head = std::vector<std::byte>(64);
  if (!file.read_some(at, head)) std::abort();
  auto const length = load_le<u32>(head.data() + image::vhdx::log_at::entry_length);
  if (length >= 64 && length <= MiB / 2) fix_checksum(file, at, length);
}

void patch(host::File const& file, ConstBytes input) {
  while (input.size() >= 3) {
    auto const at = places[std::to_integer<unsigned>(input[0]) % places.size()];
    auto const length = std::min<std::size_t>(load_le<u16>(input.data() + 1), input.size() - 3);
    if (length != 0 && !file.write(at, input.subspan(3, length))) std::abort();
    input = input.subspan(3 + length);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(u8 const* data, std::size_t size) {
  static auto const base = valid_image();
  if (size < choices) return 0;
  // SOUND: characters seen as bytes.
  auto const input = ConstBytes{reinterpret_cast<std::byte const*>(data), size};
  auto const memory = host::Descriptor{::memfd_create("image", MFD_CLOEXEC)};
  auto const path = "/proc/self/fd/" + std::to_string(memory.get());
  auto const file = host::File::open(path, {.write = true});
  if (!file || !file->truncate(5 * MiB)) std::abort();
  for (auto const& piece : base) {
    if (!file->write(piece.at, piece.bytes)) std::abort();
  }
  patch(*file, input.subspan(choices));
  fix_checksum(*file, 64 * KiB, 4096);
  fix_checksum(*file, 192 * KiB, 64 * KiB);
  fix_log_entry(*file, MiB);
  fix_log_entry(*file, MiB + MiB / 2);
  for (auto const read_only : {true, false}) {
    auto const disk = image::open_image(path, {.format = "vhdx", .read_only = read_only});
    if (disk) image::use_disk(**disk, input.first(choices));
  }
  return 0;
}
