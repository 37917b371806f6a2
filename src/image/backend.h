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
  /// A file there: writes may end behind size(), which grows then, and truncate() changes it.
  virtual bool can_grow() const { return false; }
  virtual Result<> truncate(u64 bytes);
  /// Alone, or shared with readers, where the server keeps locks: Errc::busy. Elsewhere nothing happens.
  virtual Result<> lock(bool alone);
};

/// "SCHEME://..." or "rbd:...", not a file's name.
bool is_url(std::string_view path);
/// What `name` in an image stands for: a URL, an absolute path, or a file from the image's folder on.
std::string name_beside(std::string const& image, std::string const& name);
/// By the URL's scheme; the schemes that this build knows are listed in the error for others.
Result<std::unique_ptr<Backend>> open_backend(std::string const& url, bool writable);
/// Whether images can be made there; elsewhere there are disks of a size.
bool holds_files(std::string_view url);
/// An empty file, which must not be there (Errc::busy); open for writing.
Result<std::unique_ptr<Backend>> create_backend(std::string const& url);
Result<> remove_backend(std::string const& url);

}  // namespace vireo::image
