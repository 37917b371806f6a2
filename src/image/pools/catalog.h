#pragma once

#include <optional>
#include <string>
#include <vector>

#include "image/storage.h"

namespace vireo::image {

/// A pool's volumes where nothing lists a folder: a file of records of 128 bytes, each name and format, or
/// empty. A record is written in one piece, so that a crash leaves each volume named or not.
class Catalog {
 public:
  struct Entry {
    std::string name;
    std::string format;
  };
  /// For changes: made when missing, and locked where the server keeps locks (Errc::busy).
  static Result<Catalog> open(std::string const& url);
  /// Nothing is kept from changing it. No file: no volumes.
  static Result<std::vector<Entry>> read(std::string const& url);

  std::vector<Entry> entries() const;
  Result<> add(Entry const& entry);
  Result<> remove(std::string const& name);

 private:
  explicit Catalog(Storage storage) : storage_{std::move(storage)} {}
  Result<> load();
  Result<> put(std::size_t slot, std::optional<Entry> entry);
  Storage storage_;
  std::vector<std::optional<Entry>> slots_{};
};

}  // namespace vireo::image
