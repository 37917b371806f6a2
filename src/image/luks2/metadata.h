#pragma once

#include <map>
#include <string>
#include <vector>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image::luks2 {

/// How a passphrase becomes a key.
struct Derivation {
  std::string kind{};  // "argon2id", "argon2i" or "pbkdf2"
  std::string hash{};  // pbkdf2
  u32 rounds{};        // iterations, or passes over the memory
  u32 memory_kib{};
  u32 lanes{};
  std::vector<std::byte> salt{};
};

struct Keyslot {
  u32 key_bytes{};
  std::string split_hash{};
  std::string cipher{};  // of the area: "aes"
  std::string mode{};    // "xts-plain64"
  u32 area_key_bytes{};
  u64 area{};  // from the header's start
  u64 area_bytes{};
  u32 priority{1};  // 2: try first; 0: only when it is asked for
  Derivation derivation{};
};

/// Which part of the file the disk is, and how it is encrypted.
struct Segment {
  u64 start{};
  u64 bytes{};  // 0: up to the file's end
  u64 first_number{};
  std::string cipher{};
  std::string mode{};
  u64 sector{512};
};

/// Tells whether a key is the disk's.
struct Digest {
  std::string hash{};
  u32 iterations{};
  std::vector<std::byte> salt{};
  std::vector<std::byte> value{};
  std::vector<u32> keyslots{};
};

struct Metadata {
  std::map<u32, Keyslot> keyslots{};
  Segment segment{};
  Digest digest{};
  u64 keyslots_bytes{};
};

/// Every number checked. `area_bytes`: of one copy of the header. Errc::corrupt names the member;
/// Errc::unsupported what we cannot do.
Result<Metadata> parse_metadata(std::string_view json, u64 area_bytes);
/// Of a new header.
std::string write_metadata(Metadata const& metadata, u64 area_bytes);
/// The JSON with a key slot more or less; all else in it stays. `json` was parsed before.
Result<std::string> with_keyslot(std::string const& json, u32 number, Keyslot const& keyslot);
Result<std::string> without_keyslot(std::string const& json, u32 number);

}  // namespace vireo::image::luks2
