#pragma once

#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "image/luks/cipher.h"
#include "image/luks/spec.h"
#include "image/operations/create.h"
#include "image/operations/describe.h"

namespace vireo::image::luks {

struct KeySlot {
  bool active{};
  u32 iterations{};
  std::vector<std::byte> salt{};
  u64 material{};  // bytes from the header's start
  u32 stripes{stripe_count};
};

/// The header in front of an encrypted disk, every number checked.
struct Volume {
  std::string cipher{"aes"};
  std::string mode{"xts-plain64"};
  std::string hash{"sha256"};
  u64 payload{};  // bytes from the header's start
  u32 key_bytes{};
  std::vector<std::byte> digest{};
  std::vector<std::byte> digest_salt{};
  u32 digest_iterations{};
  std::string uuid{};
  std::array<KeySlot, slot_count> slots{};
};

/// Reads from the header's start.
using ReadHeader = std::function<Result<>(u64 at, Bytes into)>;
/// `room`: how many bytes there are. Errors name the field.
Result<Volume> read_volume(ReadHeader const& read, u64 room);
/// Errc::corrupt when an active slot lies outside of the header or asks for too much.
Result<> check_slot(Volume const& volume, KeySlot const& slot, std::size_t number);
/// The disk's key, and the passphrase that opened a slot: Errc::denied when none of those offered does.
struct FoundKey {
  Key key;
  std::string passphrase;
};
Result<FoundKey> find_key(Volume const& volume, ReadHeader const& read, std::string const& path);
/// The disk's cipher, by the passphrases that were offered: Errc::denied when none of them opens a slot.
Result<Cipher> unlock(Volume const& volume, ReadHeader const& read, std::string const& path);

/// Takes the options of a new volume: iter-time, cipher-alg, cipher-mode, hash-alg, ivgen-alg, as qemu-img
/// names them, behind `prefix`.
struct NewVolume {
  std::string cipher{"aes"};
  std::string mode{"xts-plain64"};
  std::string hash{"sha256"};
  u32 key_bytes{64};
  std::string secret{};    // id of the passphrase; empty: the only one
  u64 milliseconds{2000};  // that a try to open it shall take
};
Result<NewVolume> read_options(OptionReader& options, std::string const& prefix);
/// The header with one key slot, for the passphrase offered: the one, or Errc::invalid.
Result<std::vector<std::byte>> create_volume(NewVolume const& wanted);

/// Into the header's place for a slot, of slot_at::size bytes.
void encode_slot(KeySlot const& slot, Bytes into);
/// How many rounds take so long here.
Result<u32> iterations_for(std::string const& hash, u32 key_bytes, u64 milliseconds);
Result<std::string> new_uuid_text();

/// As qemu-img describes it.
std::vector<Fact> describe_volume(Volume const& volume, bool inside_another);

}  // namespace vireo::image::luks
