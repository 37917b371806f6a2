#pragma once

#include "image/backend.h"
#include "image/http/block_cache.h"
#include "image/http/transfer.h"

namespace vireo::image::http {

/// A disk on a web server that gives ranges, for reading.
class HttpBackend final : public Backend {
 public:
  static Result<std::unique_ptr<Backend>> open(std::string const& url, bool writable);

  u64 size() const override { return found_.bytes; }
  Result<> read(u64 at, Bytes into) override;
  Result<> write(u64 at, ConstBytes from) override;
  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override;
  Result<> discard(u64 at, u64 length) override;
  Result<> flush() override { return {}; }
  Result<host::File::Extent> extent_at(u64 at) override;

 private:
  HttpBackend(std::string url, Found found) : url_{std::move(url)}, found_{std::move(found)} {}
  Result<std::vector<std::byte>> fetch(u64 number);
  Result<std::unique_ptr<Transfer>> take_transfer();
  std::unexpected<Error> read_only() const;

  std::string url_;
  Found found_;
  BlockCache cache_{64};
  std::mutex mutex_;
  std::vector<std::unique_ptr<Transfer>> idle_;
};

}  // namespace vireo::image::http
