#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vocab/bytes.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image::appliance {

/// SHA1, SHA256 or SHA512 of what is added.
class FileSum {
 public:
  static Result<FileSum> create(std::string const& kind);
  FileSum(FileSum&&) noexcept;
  FileSum& operator=(FileSum&&) = delete;
  ~FileSum();
  Result<> add(ConstBytes part);
  Result<std::string> finish();  // hexadecimal, lower case

 private:
  struct Context;
  explicit FileSum(std::unique_ptr<Context> context);
  std::unique_ptr<Context> context_;
};

struct ManifestLine {
  std::string kind{};  // "SHA256"
  std::string file{};
  std::string sum{};  // lower case
};
/// "SHA256(disk.vmdk)= 0123..." a line. Nonsense: Errc::corrupt with the line's number.
Result<std::vector<ManifestLine>> parse_manifest(std::string_view text);
std::string manifest_text(std::vector<ManifestLine> const& lines);

}  // namespace vireo::image::appliance
