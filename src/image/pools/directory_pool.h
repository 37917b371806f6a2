#pragma once

#include "host/file.h"
#include "image/pools/pool.h"

namespace vireo::image {

/// A folder: each image file in it, NAME.FORMAT, is a volume.
class DirectoryPool final : public Pool {
 public:
  explicit DirectoryPool(PoolSpec spec) : spec_{std::move(spec)} {}

  PoolSpec const& spec() const override { return spec_; }
  Result<std::vector<Volume>> volumes() override;
  Result<PoolFigures> figures() override;
  Result<Volume> create(std::string const& name, u64 bytes, std::string const& format,
                        Preallocation preallocation) override;
  Result<> resize(std::string const& name, u64 bytes, bool shrink) override;
  Result<> remove(std::string const& name) override;

 private:
  /// Held while something is promised or deleted.
  Result<host::File> lock() const;
  PoolSpec spec_;
};

}  // namespace vireo::image
