#pragma once

#include <set>

#include "image/bitmaps/dirty_bitmaps.h"
#include "image/operations/describe.h"
#include "image/qcow2/header.h"

namespace vireo::image::qcow2 {

/// An entry of the bitmap directory ("Bitmaps extension").
struct StoredBitmap {
  std::string name;
  u64 table_offset{};
  u32 table_size{};  // entries
  u32 flags{};
  u8 type{};
  u8 granularity_bits{};
  std::vector<std::byte> extra{};
  u64 entry_at{};  // in the directory

  /// Of a kind whose meaning is known.
  bool understood() const;
};
/// Empty when the header does not vouch for the bitmaps.
Result<std::vector<StoredBitmap>> read_bitmap_directory(Storage const& storage, Header const& header);
std::vector<std::byte> encode_bitmap_directory(std::vector<StoredBitmap> const& bitmaps);
Result<DirtyBitmap> load_bitmap(Storage const& storage, Header const& header, StoredBitmap const& stored);
struct LoadedBitmaps {
  std::vector<DirtyBitmap> bitmaps{};
  std::set<std::string> opaque{};  // of unknown kinds, damaged or too large
};
Result<LoadedBitmaps> load_bitmaps(Storage const& storage, Header const& header);
/// Sets in_use, on stable storage, for those that changes of the disk would have to be recorded in.
Result<> mark_in_use(Storage const& storage, Header const& header);
/// As qemu-img describes them.
Result<std::vector<Fact>> describe_bitmaps(Storage const& storage, Header const& header);

/// The bitmaps in a qcow2 file that is open for writing: its own, or those of the image that it is a sidecar
/// of.
class FileBitmaps final : public DirtyBitmaps {
 public:
  /// Those that cannot be read are kept as they are, and marked as out of date before the first change.
  static Result<std::unique_ptr<FileBitmaps>> open(Storage const& storage, Header const& header);
  /// The disk was changed without them.
  void distrust();
  /// Also one that cannot be read.
  Result<> drop(std::string const& name);
  /// In place of those of the same names.
  void restore(std::vector<DirtyBitmap> bitmaps);
  bool has_opaque() const { return !opaque_.empty(); }
  bool unsaved() const { return to_store().has_value(); }
  /// What is stored counts as out of date until save().
  Result<> invalidate() { return invalidate_stored(); }
  /// When the file's tables are written: stores them if they changed.
  Result<> save();

 private:
  FileBitmaps(Storage const& storage, u64 bytes) : DirtyBitmaps{bytes}, storage_{storage} {}
  Result<> invalidate_stored() override;
  Storage const& storage_;
  std::set<std::string> opaque_;
};

}  // namespace vireo::image::qcow2
