#pragma once

#include <filesystem>

#include "image/vmdk/descriptor.h"
#include "image/vmdk/sparse_header.h"

namespace vireo::image::vmdk {

/// A disk's descriptor and the files of its extents, for operations on a disk that nobody has opened.
struct DiskFiles {
  Storage const& storage;  // where the descriptor lies
  bool single{};           // inside the one extent
  DescriptorPlace place{};
  std::string text{};
  Descriptor descriptor{};

  static Result<DiskFiles> read(Storage const& storage);
  std::string path_of(ExtentLine const& line) const {
    return single ? storage.path() : (std::filesystem::path{storage.path()}.parent_path() / line.file).string();
  }
  u64 sectors() const;
  /// Puts other extents into the text, and the disk's new geometry. In one step where it is a file of its own.
  Result<> write(std::vector<ExtentLine> const& extents) const;
  /// Names another parent, or none (`hint` empty). As above.
  Result<> write_parent(std::string const& hint, u32 parent_cid) const;

 private:
  Result<> put(std::string changed) const;
};

/// Does the descriptor name a sparse extent there?
inline bool is_sparse(ExtentLine const& line) { return line.type.ends_with("SPARSE"); }
inline bool is_flat(ExtentLine const& line) { return line.type == "FLAT" || line.type == "VMFS"; }

/// Changes the capacity of a hosted sparse extent; what lies behind a shorter end is dropped.
Result<> resize_sparse(Storage const& storage, u64 sectors);
/// An empty extent of a disk in several files, or flat.
Result<> make_extent(std::string const& path, u64 sectors, bool flat, bool zeroed_grain = false);

}  // namespace vireo::image::vmdk
