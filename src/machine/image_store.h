#pragma once

#include <string>
#include <vector>

#include "host/file.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::machine {

/// A guest image of the store: a disk that is only read, and what boots it. Paths are absolute.
struct StoredImage {
  std::string name;
  std::string release;      // "debian 12"
  std::string disk;         // runs write to an overlay on it
  std::string disk_format;  // "raw", "qcow2"
  std::string kernel;
  std::string initrd;
  std::string command_line;  // for the console that `vireo run` gives
};

/// $VIREO_HOME/images: a folder per image with image.yaml, which names the files beside it.
class ImageStore {
 public:
  ImageStore();
  explicit ImageStore(std::string folder) : folder_{std::move(folder)} {}

  std::string const& folder() const { return folder_; }
  std::string folder_of(std::string_view name) const { return folder_ + "/" + std::string{name}; }

  /// By name. What is damaged or half-built is left out.
  Result<std::vector<StoredImage>> list() const;
  /// Errc::not_found names the nearest image and how to build one.
  Result<StoredImage> find(std::string_view name) const;
  Result<> remove(std::string_view name) const;

  /// A folder to build an image in, locked against other builders; remains of a build that died are removed
  /// first.
  class Draft {
   public:
    Draft(Draft&&) = default;
    Draft& operator=(Draft&&) = delete;
    ~Draft();  // removes what was not published
    std::string const& folder() const { return folder_; }
    /// Writes image.yaml (paths of `image` relative to the folder) and gives the folder its name.
    Result<StoredImage> publish(StoredImage const& image);

   private:
    friend class ImageStore;
    Draft() = default;
    std::string folder_;
    std::string final_;
    host::File lock_;
  };
  Result<Draft> draft(std::string const& name) const;

 private:
  Result<StoredImage> read(std::string_view name) const;

  std::string folder_;
};

/// Lower-case letters, digits, '.', '_' and '-', at most 63, the first a letter or digit.
Result<> check_image_name(std::string_view name);

}  // namespace vireo::machine
