#pragma once

#include <memory>
#include <string>

#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::image::http {

/// What a server says about what lies at a URL.
struct Found {
  u64 bytes{};
  std::string version;  // its ETag, else the date of its last change; empty: not told
  bool gives_ranges{};
};

/// One connection at a time, kept between requests. Not for several threads at once.
class Transfer {
 public:
  static Result<std::unique_ptr<Transfer>> create(std::string url);
  ~Transfer();
  Result<Found> look();
  /// The range [at, at + into.size()), which lies in the file. Errc::corrupt when its version is another one
  /// now.
  Result<> read(u64 at, Bytes into, std::string const& version);

 private:
  struct Handle;
  Transfer(std::string url, std::unique_ptr<Handle> handle);
  std::unexpected<Error> failed(int code) const;

  std::string url_;
  std::unique_ptr<Handle> handle_;
};

}  // namespace vireo::image::http
