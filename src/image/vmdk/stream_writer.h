#pragma once

#include <vector>

#include "image/storage.h"
#include "image/vmdk/spec.h"
#include "vocab/bytes.h"

namespace vireo::image::vmdk {

/// Writes a stream-optimized image from front to back, tables behind the data, as exchange formats (OVF) want
/// it. Packing may be done by other threads (pack_grain); appending is done by one.
class StreamWriter {
 public:
  static constexpr u64 grain{default_grain * sector};  // bytes

  /// Makes the file, which must not exist (Errc::busy).
  static Result<StreamWriter> create(std::string const& path, u64 bytes, std::string_view adapter = "lsilogic");
  /// Grains in rising order; those left out are zeroes. `packed` is what pack_grain made.
  Result<> append_packed(u64 number, ConstBytes packed);
  Result<> append(u64 number, ConstBytes bytes);
  /// Tables, directory and footer, on stable storage. The image is not valid before.
  Result<> finish();

 private:
  StreamWriter(Storage file, u64 bytes);
  Result<> write(ConstBytes bytes);
  Result<> write_marker(Marker type, u64 sectors);
  Result<> write_table();
  std::vector<std::byte> header(u64 directory) const;

  Storage file_;
  u64 bytes_;
  u64 at_{0};
  u64 next_grain_{0};
  u64 table_number_{0};
  bool table_used_{};
  std::vector<u32> table_;
  std::vector<u32> directory_;
};

}  // namespace vireo::image::vmdk
