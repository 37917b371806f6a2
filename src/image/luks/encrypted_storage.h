#pragma once

#include <memory>
#include <shared_mutex>

#include "image/luks/cipher.h"
#include "image/storage.h"

namespace vireo::image::luks {

/// Encrypted sectors of a file, at any alignment. Any thread.
class EncryptedStorage {
 public:
  /// Sector 0 of the cipher lies at `start` of the file.
  EncryptedStorage(Cipher cipher, u64 start) : cipher_{std::move(cipher)}, start_{start} {}
  /// `at` counts from `start`.
  Result<> read(Storage const& storage, u64 at, Bytes into) const;
  Result<> write(Storage const& storage, u64 at, ConstBytes from) const;

 private:
  Result<> read_sectors(Storage const& storage, u64 at, Bytes into) const;
  Cipher cipher_;
  u64 start_;
  // A write that starts or ends inside a sector reads it, changes it and writes it, alone.
  std::unique_ptr<std::shared_mutex> edges_{std::make_unique<std::shared_mutex>()};
};

}  // namespace vireo::image::luks
