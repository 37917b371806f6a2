#pragma once

#include "host/file.h"
#include "image/pools/pool.h"

namespace vireo::image {

/// A folder of a server that holds files (nfs://HOST/EXPORT/FOLDER?...): each volume is NAME.FORMAT there, and
/// the catalogue `vireo-pool` names them, since the protocol's library lists no folders here. Its capacity is
/// stated.
class RemotePool final : public Pool {
 public:
  explicit RemotePool(PoolSpec spec) : spec_{std::move(spec)} {}

  PoolSpec const& spec() const override { return spec_; }
  Result<std::vector<Volume>> volumes() override;
  Result<PoolFigures> figures() override;
  Result<Volume> create(std::string const& name, u64 bytes, std::string const& format,
                        Preallocation preallocation) override;
  Result<> resize(std::string const& name, u64 bytes, bool shrink) override;
  Result<> remove(std::string const& name) override;

 private:
  std::string url_of(std::string const& file) const;
  /// Of this host's processes; other hosts are kept away by the catalogue's lock, by NFS version 4.
  Result<host::File> lock() const;
  PoolSpec spec_;
};

}  // namespace vireo::image
