#pragma once

#include <map>
#include <string>
#include <string_view>

#include "image/create_qcow2.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image {

/// How much of a new stretch of disk gets its place at once.
enum class Preallocation : u8 {
  off,
  metadata,  // each block has its place
  falloc,    // and the file system has reserved it
  full,      // and zeroes were written to it
};
Result<Preallocation> parse_preallocation(std::string_view word);

struct CreateRequest {
  std::string path;
  std::string format;
  u64 bytes{};  // 0: as the backing file
  Backing backing{};
  std::map<std::string, std::string> options{};  // by qemu-img's names: cluster_size, subformat, ...
  Preallocation preallocation{};
  bool trust_backing{};  // qcow2: the backing file need not be there
};

/// Makes an empty image. A file of that name must not exist (Errc::busy). An option that the format does not
/// know: Errc::invalid, with those that it does.
Result<> create_image(CreateRequest const& request);

/// Takes options out of a request, one by one; finish() refuses what is left.
class OptionReader {
 public:
  explicit OptionReader(CreateRequest const& request) : request_{request}, left_{request.options} {}
  std::string text(std::string const& name, std::string_view otherwise);
  Result<u64> size(std::string const& name, u64 otherwise);
  Result<bool> flag(std::string const& name, bool otherwise);
  Result<> finish() const;

 private:
  CreateRequest const& request_;
  std::map<std::string, std::string> left_;
  std::string known_;
};

}  // namespace vireo::image
