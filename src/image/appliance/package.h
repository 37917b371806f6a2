#pragma once

#include <optional>

#include "image/appliance/manifest.h"
#include "image/appliance/ovf.h"
#include "image/appliance/tar.h"

namespace vireo::image::appliance {

/// An appliance's files: an OVA tar, or the folder in which a descriptor lies.
class Package {
 public:
  /// Checks the descriptor's own sum. A wrong one, here and below: Errc::corrupt with the file's name.
  static Result<Package> open(std::string const& path);

  Appliance const& appliance() const { return appliance_; }
  /// What is not checked: files without a sum, signatures.
  std::vector<std::string> warnings() const;
  /// The file's path when it is one by itself, after a look at its sum; nothing inside of a tar.
  Result<std::optional<std::string>> find_checked(std::string const& name) const;
  /// A copy under a name that must not exist; removed again when the sum is wrong.
  Result<> copy_checked(std::string const& name, std::string const& path) const;

 private:
  struct Source {
    host::File file;
    u64 at{};
    u64 bytes{};
  };
  bool has(std::string const& name) const;
  Result<Source> source(std::string const& name) const;
  Result<std::string> text_of(std::string const& name, u64 longest) const;
  Result<> check_text(std::string const& name, std::string const& text) const;
  ManifestLine const* line_of(std::string const& name) const;
  Result<> read_all(std::string const& name, host::File const* copy) const;

  std::string path_;
  std::string folder_;
  std::string descriptor_;
  bool is_tar_{};
  std::vector<TarMember> members_{};  // of a tar
  std::vector<ManifestLine> manifest_{};
  bool has_manifest_{};
  bool is_signed_{};
  Appliance appliance_{};
};

}  // namespace vireo::image::appliance
