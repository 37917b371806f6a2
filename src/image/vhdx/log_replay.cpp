#include "image/vhdx/log_replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "image/vhdx/crc32c.h"

namespace vireo::image::vhdx {
namespace {

constexpr u64 checksum_budget{4};  // times the log: entries that overlap are no entries
constexpr std::size_t most_heads_tried{64};
constexpr std::size_t most_patches{16384};

/// The log's ring and the entries in it (2.3.1).
class LogReader {
 public:
  struct Entry {
    u64 at{};
    u64 length{};
    u64 tail{};
    u64 sequence{};
    u32 descriptors{};
    u64 flushed_file{};
    u64 last_file{};
  };
  struct Change {
    u64 at{};
    u64 length{};
    bool zero{};
    u64 sector{};  // in the ring, unless zero
    u32 trailing{};
    u64 leading{};
  };

  LogReader(Storage const& storage, FileHeader const& header) : storage_{storage}, header_{header} {}

  Result<> load() {
    ring_.resize(header_.log_length);
    TRY(storage_.read(header_.log_offset, ring_));
    auto budget = checksum_budget * header_.log_length;
    for (auto at = u64{0}; at < ring_.size(); at += log_at::sector) {
      if (auto const found = entry_at(at, budget)) entries_[at] = *found;
    }
    return {};
  }

  /// From tail to head; the one with the greatest sequence number that is complete.
  Result<std::vector<Entry>> active_sequence() const {
    auto heads = std::vector<Entry>{};
    for (auto const& [at, entry] : entries_) heads.push_back(entry);
    std::ranges::sort(heads, std::ranges::greater{}, &Entry::sequence);
    if (heads.size() > most_heads_tried) heads.resize(most_heads_tried);
    for (auto const& head : heads) {
      auto sequence = chain_to(head);
      if (!sequence.empty()) return sequence;
    }
    return fail(Errc::corrupt,
                fmt::format("{}: VHDX: the log at offset {:#x} is in use and holds no valid entries",
                            storage_.path(), header_.log_offset));
  }

  Result<std::vector<Change>> changes_of(Entry const& entry) const {
    auto changes = std::vector<Change>{};
    auto sector = first_data_sector(entry.descriptors);
    for (auto index = u64{0}; index < entry.descriptors; ++index) {
      auto const at = entry.at + log_at::header_bytes + index * log_at::descriptor_bytes;
      auto const signature = get<u32>(at);
      auto change = Change{.at = get<u64>(at + log_at::file_offset), .length = log_at::sector};
      change.zero = signature == log_at::zero_signature;
      if (change.zero) {
        change.length = get<u64>(at + log_at::zero_length);
      } else {
        change.trailing = get<u32>(at + log_at::trailing);
        change.leading = get<u64>(at + log_at::leading);
        change.sector = entry.at + sector++ * log_at::sector;
      }
      TRY(check(change, entry));
      changes.push_back(change);
    }
    return changes;
  }

  std::vector<std::byte> content(Change const& change) const {
    auto bytes = std::vector<std::byte>(log_at::sector);
    store_le<u64>(bytes.data(), change.leading);
    for (auto at = log_at::sector_data; at < log_at::sector_sequence_low; at += 4) {
      store_le<u32>(bytes.data() + at, get<u32>(change.sector + at));
    }
    store_le<u32>(bytes.data() + log_at::sector_sequence_low, change.trailing);
    return bytes;
  }

 private:
  static u64 first_data_sector(u64 descriptors) {
    return (log_at::header_bytes + descriptors * log_at::descriptor_bytes + log_at::sector - 1) /
           log_at::sector;
  }
  /// Numbers do not cross the ring's end: all lie at multiples of four or eight.
  template <typename T>
  T get(u64 at) const {
    return load_le<T>(ring_.data() + at % ring_.size());
  }

  std::optional<Entry> entry_at(u64 at, u64& budget) const {
    auto const entry = Entry{.at = at,
                             .length = get<u32>(at + log_at::entry_length),
                             .tail = get<u32>(at + log_at::tail),
                             .sequence = get<u64>(at + log_at::sequence),
                             .descriptors = get<u32>(at + log_at::descriptors),
                             .flushed_file = get<u64>(at + log_at::flushed_file),
                             .last_file = get<u64>(at + log_at::last_file)};
    if (get<u32>(at) != log_at::entry_signature || entry.sequence == 0) return {};
    if (load_unique_id(ring_.data() + at + log_at::log) != header_.log) return {};
    if (entry.length == 0 || entry.length % log_at::sector != 0 || entry.length > ring_.size()) return {};
    if (entry.tail % log_at::sector != 0 || entry.tail >= ring_.size() || entry.length > budget) return {};
    if (entry.descriptors > entry.length / log_at::descriptor_bytes) return {};
    budget -= entry.length;
    auto bytes = std::vector<std::byte>(entry.length);
    auto const until_end = std::min<u64>(entry.length, ring_.size() - at);
    std::memcpy(bytes.data(), ring_.data() + at, until_end);
    std::memcpy(bytes.data() + until_end, ring_.data(), entry.length - until_end);
    if (load_le<u32>(bytes.data() + log_at::checksum) != crc32c(bytes, log_at::checksum)) return {};
    return sectors_agree(entry, bytes) ? std::optional{entry} : std::nullopt;
  }

  static bool sectors_agree(Entry const& entry, ConstBytes bytes) {
    auto sector = first_data_sector(entry.descriptors);
    for (auto index = u64{0}; index < entry.descriptors; ++index) {
      auto const* const descriptor = bytes.data() + log_at::header_bytes + index * log_at::descriptor_bytes;
      auto const signature = load_le<u32>(descriptor);
      if (load_le<u64>(descriptor + log_at::descriptor_sequence) != entry.sequence) return false;
      if (signature == log_at::zero_signature) continue;
      if (signature != log_at::data_signature || (sector + 1) * log_at::sector > bytes.size()) return false;
      auto const* const data = bytes.data() + sector++ * log_at::sector;
      if (load_le<u32>(data) != log_at::sector_signature ||
          load_le<u32>(data + log_at::sector_sequence_high) != static_cast<u32>(entry.sequence >> 32) ||
          load_le<u32>(data + log_at::sector_sequence_low) != static_cast<u32>(entry.sequence)) {
        return false;
      }
    }
    return sector * log_at::sector == bytes.size();
  }

  std::vector<Entry> chain_to(Entry const& head) const {
    auto chain = std::vector<Entry>{};
    for (auto at = head.tail; chain.size() <= entries_.size();) {
      auto const found = entries_.find(at);
      if (found == entries_.end()) return {};
      if (!chain.empty() && found->second.sequence != chain.back().sequence + 1) return {};
      chain.push_back(found->second);
      if (at == head.at) return chain;
      at = (at + found->second.length) % ring_.size();
    }
    return {};
  }

  Result<> check(Change const& change, Entry const& entry) const {
    auto const end = std::min(entry.last_file, largest_file);
    auto const log_end = header_.log_offset + header_.log_length;
    auto const sane = change.at % log_at::sector == 0 && change.length % log_at::sector == 0 &&
                      change.at <= end && change.length <= end - change.at && change.at >= first_region_table &&
                      (change.at >= log_end || change.at + change.length <= header_.log_offset);
    if (sane) return {};
    return fail(Errc::corrupt, fmt::format("{}: VHDX: the log at offset {:#x} changes {} bytes at offset {:#x}",
                                           storage_.path(), header_.log_offset, change.length, change.at));
  }

  Storage const& storage_;
  FileHeader const& header_;
  std::vector<std::byte> ring_;
  std::unordered_map<u64, Entry> entries_;
};

Result<> apply_to_file(Storage const& storage, LogReader const& reader, LogReader::Entry const& entry) {
  auto const changes = TRY(reader.changes_of(entry));
  auto const size = TRY(storage.size());
  for (auto const& change : changes) {
    if (!change.zero) {
      TRY(storage.write(change.at, reader.content(change)));
    } else if (change.at < size) {  // behind the end there are zeroes
      TRY(storage.write_zeroes(change.at, std::min(change.length, size - change.at), true));
    }
  }
  auto const grows = storage.can_grow() && entry.last_file <= largest_file;
  if (grows && TRY(storage.size()) < entry.last_file) TRY(storage.truncate(entry.last_file));
  return {};
}

Result<> apply_to_patches(PatchedFile& patched, LogReader const& reader, LogReader::Entry const& entry) {
  auto const changes = TRY(reader.changes_of(entry));
  for (auto const& change : changes) {
    if (change.length / log_at::sector > most_patches - std::min(most_patches, patched.sectors())) {
      return fail(Errc::unsupported,
                  fmt::format("{}: VHDX: its log is too large to be replayed in memory; open it "
                              "for writing once",
                              patched.storage().path()));
    }
    if (!change.zero) patched.put(change.at, reader.content(change));
    for (auto at = change.at; change.zero && at < change.at + change.length; at += log_at::sector) {
      patched.put(at, std::vector<std::byte>(log_at::sector));
    }
  }
  return {};
}

}  // namespace

Result<> replay_log(Storage const& storage, FileHeader& header, PatchedFile& patched) {
  if (!header.log_in_use()) return {};
  if (header.log_length > largest_log) {
    return fail(Errc::unsupported, fmt::format("{}: VHDX: a log of {} bytes, more than {}", storage.path(),
                                               header.log_length, largest_log));
  }
  auto const size = TRY(storage.size());
  if (header.log_offset > size || header.log_length > size - header.log_offset) {
    return fail(Errc::corrupt, fmt::format("{}: VHDX: the log at offset {:#x} lies outside the file",
                                           storage.path(), header.log_offset));
  }
  auto reader = LogReader{storage, header};
  TRY(reader.load());
  auto const sequence = TRY(reader.active_sequence());
  if (sequence.back().flushed_file > size) {
    return fail(Errc::corrupt, fmt::format("{}: VHDX: the file of {} bytes was {} bytes long; it was cut off",
                                           storage.path(), size, sequence.back().flushed_file));
  }
  for (auto const& entry : sequence) {
    if (storage.writable()) {
      TRY(apply_to_file(storage, reader, entry));
    } else {
      TRY(apply_to_patches(patched, reader, entry));
    }
  }
  if (!storage.writable()) return {};
  TRY(storage.sync());
  header.log = UniqueId{};
  return write_file_header(storage, header);
}

}  // namespace vireo::image::vhdx
