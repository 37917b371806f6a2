#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "image/qcow2/compressed.h"
#include "image/qcow2/qcow2_operations.h"
#include "image/qcow2/refcounts.h"
#include "image/qcow2/snapshot_table.h"
#include "vocab/numbers.h"

namespace vireo::image::qcow2 {
namespace {

constexpr u64 most_clusters{u64{1} << 28};
using Entries = std::vector<u64>;

/// Counts who uses each cluster, compares with what is stored, and mends.
class Checker {
 public:
  Checker(Storage const& storage, Header header, Repair repair)
      : storage_{storage}, header_{std::move(header)}, repair_{repair}, cluster_{header_.cluster_size()} {}

  Result<CheckReport> run() {
    auto const clusters = align_up(TRY(storage_.size()), cluster_) >> header_.cluster_bits;
    if (clusters > most_clusters) {
      return fail(Errc::unsupported,
                  fmt::format("{}: {} clusters are too many to check", storage_.path(), clusters));
    }
    counts_.resize(clusters);
    report_.total = header_.clusters();
    TRY(count_all());
    auto const structure_is_sound = TRY(read_stored());
    TRY(compare(structure_is_sound));
    TRY(check_owned(header_.l1_table_offset, header_.l1_size));
    if (repair_ == Repair::all) TRY(clear_marks());
    report_.end = end_ << header_.cluster_bits;
    if (repair_ != Repair::none) TRY(storage_.sync());
    return std::move(report_);
  }

 private:
  Result<Entries> read_entries(u64 at, u64 count) const {
    auto raw = std::vector<std::byte>(count * 8);
    TRY(storage_.read(at, raw));
    auto entries = Entries(count);
    for (auto index = u64{0}; index < count; ++index) entries[index] = load_be<u64>(raw.data() + index * 8);
    return entries;
  }
  Result<> write_entry(u64 at, u64 value) const {
    auto raw = std::vector<std::byte>(8);
    store_be<u64>(raw.data(), value);
    return storage_.write(at, raw);
  }

  bool inside(u64 at, u64 length) const {
    auto const end = u64{counts_.size()} << header_.cluster_bits;
    return at <= end && length <= end - at;
  }
  void use(u64 at, u64 length) {
    if (length == 0) return;
    for (auto cluster = at >> header_.cluster_bits; cluster <= (at + length - 1) >> header_.cluster_bits;
         ++cluster) {
      if (counts_[cluster] != ~u32{0}) ++counts_[cluster];
    }
  }
  /// False, and an error, for a place outside the file or off a cluster's boundary.
  bool use_checked(u64 at, u64 length, std::string_view what, u64 index) {
    if (at % cluster_ == 0 && inside(at, length)) {
      use(at, length);
      return true;
    }
    report_.corruption(fmt::format("{} {} lies at offset {:#x}, outside the file", what, index, at));
    return false;
  }

  Result<> count_all() {
    use(0, cluster_);
    if (header_.encrypted) use_checked(header_.luks_offset, header_.luks_bytes, "the LUKS header", 0);
    if (use_checked(header_.l1_table_offset, u64{header_.l1_size} * 8, "L1 table", 0)) {
      TRY(count_disk(header_.l1_table_offset, header_.l1_size, true));
    }
    auto const table = TRY(read_snapshots(storage_, header_));
    use(header_.snapshots_offset, table.bytes);
    for (auto index = std::size_t{0}; index < table.snapshots.size(); ++index) {
      auto const& each = table.snapshots[index];
      if (!use_checked(each.l1_table_offset, u64{each.l1_size} * 8, "the L1 table of snapshot", index))
        continue;
      TRY(count_disk(each.l1_table_offset, each.l1_size, false));
    }
    return count_bitmaps();
  }

  Result<> count_disk(u64 l1_at, u64 l1_size, bool active) {
    auto const l1 = TRY(read_entries(l1_at, l1_size));
    auto tables = u64{0};
    for (auto index = u64{0}; index < l1.size(); ++index) {
      auto const at = l1[index] & l1_entry::offset_mask;
      if (at == 0) continue;
      if (++tables > counts_.size()) {
        return fail(Errc::corrupt,
                    fmt::format("{}: qcow2: its L1 table at {:#x} names more tables than the file holds",
                                storage_.path(), l1_at));
      }
      if (use_checked(at, cluster_, "the L2 table of L1 entry", index)) {
        TRY(count_table(at, active));
      } else if (repair_ == Repair::all) {
        TRY(write_entry(l1_at + index * 8, 0));
        ++report_.corruptions_fixed;
      }
    }
    return {};
  }

  Result<> count_table(u64 table, bool active) {
    auto const entries = TRY(read_entries(table, cluster_ / 8));
    auto previous = u64{0};
    for (auto index = u64{0}; index < entries.size(); index += header_.l2_words()) {
      auto const entry = entries[index];
      auto const parts = header_.extended_l2() ? entries[index + 1] : 0;
      if (TRY(has_wrong_parts(table, index, entry, parts))) continue;
      if ((entry & l2_entry::compressed) != 0) {
        auto const place = compressed_place(entry, header_.cluster_bits);
        auto const there = inside(place.offset, place.offset % 512 == 0 ? place.length : 1);
        if (there) {
          auto const end = std::min(place.offset + place.length, u64{counts_.size()} << header_.cluster_bits);
          use(place.offset, end - place.offset);
          if (active) ++report_.allocated, ++report_.compressed, ++report_.fragmented;
        } else {
          TRY(refuse(table, index, place.offset));
        }
        continue;
      }
      auto const at = entry & l2_entry::offset_mask;
      if (header_.external_data() ? (entry & l2_entry::copied) == 0 : at == 0) continue;
      if (!header_.external_data()) {
        if (at % cluster_ != 0 || !inside(at, cluster_)) {
          TRY(refuse(table, index, at));
          continue;
        }
        use(at, cluster_);
      }
      if (!active) continue;
      ++report_.allocated;
      if (previous != 0 && at != previous + cluster_) ++report_.fragmented;
      previous = at;
    }
    return {};
  }
  Result<> refuse(u64 table, u64 index, u64 at) {
    report_.corruption(fmt::format("entry {} of the L2 table at {:#x} points to offset {:#x}, outside the file",
                                   index, table, at));
    if (repair_ != Repair::all) return {};
    TRY(write_entry(table + index * 8, 0));
    if (header_.extended_l2()) TRY(write_entry(table + index * 8 + 8, 0));
    ++report_.corruptions_fixed;
    return {};
  }

  /// Parts that are there and zero, or there without a place, or of a compressed cluster.
  Result<bool> has_wrong_parts(u64 table, u64 index, u64 entry, u64 parts) {
    auto const present = parts & subclusters::all_present;
    auto const compressed = (entry & l2_entry::compressed) != 0;
    auto const placed =
        (entry & l2_entry::offset_mask) != 0 || (header_.external_data() && (entry & l2_entry::copied) != 0);
    auto const wrong = (present & parts >> 32) != 0 || (present != 0 && !placed) || (compressed && parts != 0);
    if (!wrong) return false;
    report_.corruption(fmt::format("entry {} of the L2 table at {:#x} has the subclusters {:#x}",
                                   index / header_.l2_words(), table, parts));
    if (repair_ != Repair::all) return true;
    TRY(write_entry(table + index * 8, 0));
    TRY(write_entry(table + index * 8 + 8, 0));
    ++report_.corruptions_fixed;
    return true;
  }

  Result<> count_bitmaps() {
    auto const bytes = header_.bitmap_directory_bytes;
    if (header_.bitmaps == 0 || bytes == 0) return {};
    if (bytes > largest_snapshot_table ||
        !use_checked(header_.bitmap_directory_offset, bytes, "the bitmap directory", 0)) {
      return {};
    }
    auto directory = std::vector<std::byte>(bytes);
    TRY(storage_.read(header_.bitmap_directory_offset, directory));
    for (auto at = u64{0}; at + bitmap_at::extra <= bytes;) {
      auto const* const data = directory.data() + at;
      auto const table = load_be<u64>(data + bitmap_at::table_offset);
      auto const size = u64{load_be<u32>(data + bitmap_at::table_size)};
      at += align_up(bitmap_at::extra + load_be<u32>(data + bitmap_at::extra_size) +
                         load_be<u16>(data + bitmap_at::name_size),
                     8);
      if (!use_checked(table, size * 8, "the table of bitmap", 0)) continue;
      for (auto const entry : TRY(read_entries(table, size))) {
        if ((entry & l1_entry::offset_mask) != 0) {
          use_checked(entry & l1_entry::offset_mask, cluster_, "data of bitmap", 0);
        }
      }
    }
    return {};
  }

  u64 per_block() const { return cluster_ * 8 >> header_.refcount_order; }

  /// What the file says. False: its own tables lie in wrong places.
  Result<bool> read_stored() {
    counts_without_structure_ = counts_;
    auto sound = true;
    auto const table_bytes = u64{header_.refcount_table_clusters} << header_.cluster_bits;
    sound &= use_checked(header_.refcount_table_offset, table_bytes, "the refcount table", 0);
    if (!sound) return false;
    table_ = TRY(read_entries(header_.refcount_table_offset, table_bytes / 8));
    for (auto index = u64{0}; index < table_.size(); ++index) {
      table_[index] &= refcount_table_offset_mask;
      if (table_[index] == 0) continue;
      if (!use_checked(table_[index], cluster_, "refcount block", index)) {
        table_[index] = 0;
        sound = false;
      } else if (counts_[table_[index] >> header_.cluster_bits] > 1) {
        report_.corruption(
            fmt::format("refcount block {} shares its place {:#x} with something else", index, table_[index]));
        sound = false;
      }
    }
    return sound;
  }

  Result<> compare(bool sound) {
    auto wrong = u64{0};
    auto lost = std::vector<u64>{};
    for (auto first = u64{0}; first < counts_.size(); first += per_block()) {
      auto const index = first / per_block();
      auto block = std::vector<std::byte>(cluster_);
      if (index < table_.size() && table_[index] != 0) TRY(storage_.read(table_[index], block));
      auto changed = false;
      for (auto cluster = first; cluster < std::min<u64>(first + per_block(), counts_.size()); ++cluster) {
        auto const stored = load_refcount(block, header_.refcount_order, cluster - first);
        auto const used = u64{counts_[cluster]};
        if (used != 0 || stored != 0) end_ = cluster + 1;
        if (stored == used) continue;
        auto const text = fmt::format("cluster {} refcount={} reference={}", cluster, stored, used);
        if (stored < used) {
          report_.corruption(text);
          ++wrong;
          continue;
        }
        report_.leak(text);
        if (repair_ == Repair::none) continue;
        if (used == 0) lost.push_back(cluster);
        store_refcount(block, header_.refcount_order, cluster - first, used);
        changed = true;
        ++report_.leaks_fixed;
      }
      if (changed && sound && wrong == 0) TRY(storage_.write(table_[index], block));
    }
    if (repair_ == Repair::all && (wrong != 0 || !sound)) {
      auto const structure = report_.corruptions - report_.corruptions_fixed - wrong;
      TRY(rebuild());
      report_.corruptions_fixed += wrong + (sound ? 0 : structure);
    }
    if (!lost.empty() && (sound || repair_ == Repair::all)) {
      TRY(storage_.sync());
      for (auto const cluster : lost) TRY(storage_.discard(cluster << header_.cluster_bits, cluster_));
    }
    return {};
  }

  /// New tables behind the end of the file; the header names them at once.
  Result<> rebuild() {
    auto& counts = counts_without_structure_;
    auto const start = counts.size();
    auto blocks = u64{0};
    auto table_clusters = u64{1};
    for (auto settled = false; !settled;) {
      auto const total = start + blocks + table_clusters;
      auto const needed = (total + per_block() - 1) / per_block();
      auto const table = (needed * 8 + cluster_ - 1) / cluster_;
      settled = needed == blocks && table == table_clusters;
      blocks = needed;
      table_clusters = std::max<u64>(table, 1);
    }
    counts.resize(start + blocks + table_clusters, 1);
    auto const place_of = [&](u64 index) { return (start + index) << header_.cluster_bits; };
    auto table = std::vector<std::byte>(table_clusters << header_.cluster_bits);
    for (auto index = u64{0}; index < blocks; ++index) {
      auto block = std::vector<std::byte>(cluster_);
      for (auto each = u64{0}; each < per_block() && index * per_block() + each < counts.size(); ++each) {
        store_refcount(block, header_.refcount_order, each, counts[index * per_block() + each]);
      }
      TRY(storage_.write(place_of(index), block));
      store_be<u64>(table.data() + index * 8, place_of(index));
    }
    TRY(storage_.write(place_of(blocks), table));
    TRY(storage_.sync());
    auto fields = std::vector<std::byte>(12);
    store_be<u64>(fields.data(), place_of(blocks));
    store_be<u32>(fields.data() + 8, static_cast<u32>(table_clusters));
    TRY(storage_.write(header_at::refcount_table_offset, fields));
    counts_ = counts;
    end_ = counts_.size();
    return storage_.sync();
  }

  u64 count_at(u64 at) const {
    auto const cluster = at >> header_.cluster_bits;
    return cluster < counts_.size() ? counts_[cluster] : 0;
  }
  /// The mark "nobody else uses it" in the active tables.
  Result<> check_owned(u64 l1_at, u64 l1_size) {
    auto const check = [&](u64 entry, u64 flag, u64 place, std::string_view what) -> Result<u64> {
      auto const at = entry & l1_entry::offset_mask;
      auto const right = count_at(at) == 1 ? entry | flag : entry & ~flag;
      if (right == entry) return entry;
      auto const text = fmt::format("OFLAG_COPIED {}: entry={:#x} refcount={}", what, entry, count_at(at));
      // Without the mark a write takes a new place; with a wrong one it would change a snapshot.
      auto const harmless = (right & flag) != 0;
      harmless ? report_.stale(text) : report_.corruption(text);
      if (repair_ == Repair::none || (!harmless && repair_ != Repair::all)) return entry;
      ++(harmless ? report_.leaks_fixed : report_.corruptions_fixed);
      TRY(write_entry(place, right));
      return right;
    };
    auto const l1 = TRY(read_entries(l1_at, l1_size));
    for (auto index = u64{0}; index < l1.size(); ++index) {
      auto const table = l1[index] & l1_entry::offset_mask;
      if (table == 0 || table % cluster_ != 0 || !inside(table, cluster_)) continue;
      static_cast<void>(TRY(check(l1[index], l1_entry::copied, l1_at + index * 8, "L2 cluster")));
      if (header_.external_data()) continue;
      auto const entries = TRY(read_entries(table, cluster_ / 8));
      for (auto each = u64{0}; each < entries.size(); each += header_.l2_words()) {
        auto const entry = entries[each];
        auto const at = entry & l2_entry::offset_mask;
        if ((entry & l2_entry::compressed) != 0 || at == 0 || at % cluster_ != 0 || !inside(at, cluster_))
          continue;
        static_cast<void>(TRY(check(entry, l2_entry::copied, table + each * 8, "data cluster")));
      }
    }
    return {};
  }

  Result<> clear_marks() {
    auto const marks = incompatible::dirty | incompatible::corrupt;
    if ((header_.incompatible_features & marks) == 0) return {};
    TRY(storage_.sync());
    return write_entry(header_at::incompatible_features, header_.incompatible_features & ~marks);
  }

  Storage const& storage_;
  Header header_;
  Repair repair_;
  u64 cluster_;
  CheckReport report_{};
  std::vector<u32> counts_{};
  std::vector<u32> counts_without_structure_{};
  Entries table_{};
  u64 end_{};
};

}  // namespace

Result<CheckReport> check(Storage const& storage, Repair repair) {
  return Checker{storage, TRY(read_header(storage)), repair}.run();
}

}  // namespace vireo::image::qcow2
