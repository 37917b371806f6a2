#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vocab/bytes.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image::luks {

/// Bytes that are wiped when they go.
class Key {
 public:
  explicit Key(std::size_t bytes) : bytes_(bytes) {}
  Key(Key const&) = default;
  Key(Key&&) = default;
  Key& operator=(Key const&) = delete;
  Key& operator=(Key&&) = default;
  ~Key();
  ConstBytes bytes() const { return bytes_; }
  Bytes writable() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

/// LUKS2: how many bytes are encrypted at a time, and the number that the first sector has.
struct SectorNumbering {
  u64 bytes{512};
  u64 first{};
};

/// Encrypts sectors, each by its number, which counts 512 bytes whatever the sector's size. Any thread.
class Cipher {
 public:
  /// By the header's names: "aes", "xts-plain64", "cbc-essiv:sha256", ... Others: Errc::unsupported.
  static Result<Cipher> create(std::string const& name, std::string const& mode, Key key,
                               SectorNumbering sectors = {});
  u64 sector_bytes() const { return sectors_.bytes; }
  /// Whole sectors; `first_sector` counts 512 bytes.
  Result<> encrypt(u64 first_sector, Bytes bytes) const { return run(first_sector, bytes, true); }
  Result<> decrypt(u64 first_sector, Bytes bytes) const { return run(first_sector, bytes, false); }

 private:
  Cipher(Key key, SectorNumbering sectors) : sectors_{sectors}, key_{std::move(key)}, iv_key_{0} {}
  Result<> run(u64 first_sector, Bytes bytes, bool encrypt) const;

  std::string algorithm_;  // OpenSSL's name
  bool wide_numbers_{};    // of sectors: 64 bits; else 32
  SectorNumbering sectors_;
  Key key_;
  Key iv_key_;  // ESSIV: numbers are encrypted with it
};

/// Errc::unsupported for a hash that is not known.
Result<std::size_t> digest_size(std::string const& hash);
Result<std::vector<std::byte>> digest(std::string const& hash, ConstBytes first, ConstBytes second = {});
Result<Key> derive_key(std::string const& hash, ConstBytes passphrase, ConstBytes salt, u32 iterations,
                       std::size_t bytes);
Result<> fill_random(Bytes into);

}  // namespace vireo::image::luks
