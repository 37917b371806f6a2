#pragma once

#include <string>
#include <vector>

#include "image/pools/pool.h"
#include "machine/config.h"

namespace vireo::machine {

/// $VIREO_HOME/pools: the definitions of storage pools, a file NAME.yaml each (`kind: Pool`).
class PoolStore {
 public:
  PoolStore();
  explicit PoolStore(std::string folder) : folder_{std::move(folder)} {}

  /// A definition that cannot be read is an error, with its file and line.
  Result<std::vector<image::PoolSpec>> list() const;
  /// Errc::not_found names the nearest.
  Result<image::PoolSpec> find(std::string_view name) const;
  /// Errc::busy when the name is taken. Makes the pool's folder.
  Result<> add(image::PoolSpec const& spec) const;
  /// Forgets it; its volumes stay where they are. Errc::busy when it has some, unless `force`.
  Result<> remove(std::string_view name, bool force) const;

 private:
  std::string path_of(std::string_view name) const { return folder_ + "/" + std::string{name} + ".yaml"; }
  std::string folder_;
};

/// A disk "POOL:VOLUME" becomes that volume's file and format; what is a URL, or a file of that name, stays.
Result<> resolve_volume(DiskConfig& disk, PoolStore const& store = PoolStore{});

}  // namespace vireo::machine
