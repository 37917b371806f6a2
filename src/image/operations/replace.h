#pragma once

#include "image/operations/create.h"
#include "image/operations/describe.h"

namespace vireo::image {

/// Makes an image anew under its name, of the same kind. The old one lies beside it until finish(); when that
/// is not reached, it comes back.
class Replacement {
 public:
  /// Moves the old image aside. Disks of several files: Errc::unsupported.
  static Result<Replacement> begin(std::string const& path, Description const& description);
  Replacement(Replacement&& other) noexcept
      : path_{std::move(other.path_)},
        aside_{std::move(other.aside_)},
        description_{std::move(other.description_)} {
    other.aside_.clear();
  }
  Replacement& operator=(Replacement&&) = delete;
  ~Replacement();

  std::string const& old_path() const { return aside_; }
  Backing same_backing() const;
  Result<> create(u64 bytes, Backing const& backing) const;
  /// The old image goes.
  Result<> finish();

 private:
  Replacement(std::string path, std::string aside, Description description)
      : path_{std::move(path)}, aside_{std::move(aside)}, description_{std::move(description)} {}
  std::string path_;
  std::string aside_;
  Description description_;
};

}  // namespace vireo::image
