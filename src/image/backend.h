#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "host/file.h"
#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::image {

/// Bytes that lie on another machine: what Storage uses in place of a file. Any thread, several at once; ranges
/// lie within size(). No call waits for ever.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual u64 size() const = 0;
  virtual Result<> read(u64 at, Bytes into) = 0;
  virtual Result<> write(u64 at, ConstBytes from) = 0;
  virtual Result<> write_zeroes(u64 at, u64 length, bool may_unmap) = 0;
  virtual Result<> discard(u64 at, u64 length) = 0;
  virtual Result<> flush() = 0;
  /// The run of data or zeroes that holds `at`.
  virtual Result<host::File::Extent> extent_at(u64 at) = 0;
};

/// "SCHEME://...", not a file's name.
bool is_url(std::string_view path);
/// What `name` in an image stands for: a URL, an absolute path, or a file from the image's folder on.
std::string name_beside(std::string const& image, std::string const& name);
/// By the URL's scheme; the schemes that this build knows are listed in the error for others.
Result<std::unique_ptr<Backend>> open_backend(std::string const& url, bool writable);

}  // namespace vireo::image
