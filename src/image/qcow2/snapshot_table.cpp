#include "image/qcow2/snapshot_table.h"

#include <fmt/format.h>

#include "image/qcow2/spec.h"
#include "vocab/bytes.h"

namespace vireo::image::qcow2 {
namespace {

constexpr u64 known_extra{16};  // size of the machine's state, size of the disk

std::unexpected<Error> corrupt(Storage const& storage, u64 at, std::string_view what) {
  return fail(Errc::corrupt,
              fmt::format("{}: qcow2 snapshot table at offset {:#x}: {}", storage.path(), at, what));
}

std::string text(std::byte const* from, u64 length) {
  // SOUND: bytes seen as characters.
  return {reinterpret_cast<char const*>(from), length};
}

}  // namespace

Result<SnapshotTable> read_snapshots(Storage const& storage, Header const& header) {
  auto table = SnapshotTable{};
  if (header.snapshots == 0) return table;
  auto const file_bytes = TRY(storage.size());
  if (header.snapshots > most_snapshots || header.snapshots_offset % header.cluster_size() != 0 ||
      header.snapshots_offset >= file_bytes) {
    return corrupt(storage, header.snapshots_offset, fmt::format("{} entries", header.snapshots));
  }
  auto at = header.snapshots_offset;
  for (auto number = u32{0}; number < header.snapshots; ++number) {
    auto head = std::vector<std::byte>(snapshot_at::extra);
    TRY(storage.read(at, head));
    auto const* const data = head.data();
    auto const id_bytes = load_be<u16>(data + snapshot_at::id_size);
    auto const name_bytes = load_be<u16>(data + snapshot_at::name_size);
    auto const extra_bytes = load_be<u32>(data + snapshot_at::extra_size);
    auto snapshot = Snapshot{.info = {},
                             .l1_table_offset = load_be<u64>(data + snapshot_at::l1_table_offset),
                             .l1_size = load_be<u32>(data + snapshot_at::l1_size)};
    if (extra_bytes > largest_snapshot_extra || u64{snapshot.l1_size} * 8 > largest_l1_bytes) {
      return corrupt(storage, at,
                     fmt::format("entry {} has an L1 table of {} entries and {} extra bytes", number,
                                 snapshot.l1_size, extra_bytes));
    }
    auto rest = std::vector<std::byte>(u64{extra_bytes} + id_bytes + name_bytes);
    TRY(storage.read(at + snapshot_at::extra, rest));
    snapshot.info = {.id = text(rest.data() + extra_bytes, id_bytes),
                     .name = text(rest.data() + extra_bytes + id_bytes, name_bytes),
                     .seconds = load_be<u32>(data + snapshot_at::seconds),
                     .nanoseconds = load_be<u32>(data + snapshot_at::nanoseconds),
                     .clock_ns = load_be<u64>(data + snapshot_at::clock),
                     .machine_state_bytes = load_be<u32>(data + snapshot_at::machine_state),
                     .disk_bytes = header.size};
    if (extra_bytes >= 8) snapshot.info.machine_state_bytes = load_be<u64>(rest.data());
    if (extra_bytes >= 16) snapshot.info.disk_bytes = load_be<u64>(rest.data() + 8);
    if (extra_bytes > known_extra) {
      snapshot.extra.assign(rest.begin() + known_extra,
                            rest.begin() + static_cast<std::ptrdiff_t>(extra_bytes));
    }
    if (snapshot.info.disk_bytes > u64{1} << 62) return corrupt(storage, at, "a disk of nonsense");
    at += align_up(snapshot_at::extra + rest.size(), 8);
    if (at - header.snapshots_offset > largest_snapshot_table) return corrupt(storage, at, "too long");
    table.snapshots.push_back(std::move(snapshot));
  }
  table.bytes = at - header.snapshots_offset;
  return table;
}

std::vector<std::byte> encode_snapshots(std::vector<Snapshot> const& snapshots) {
  auto bytes = std::vector<std::byte>{};
  for (auto const& snapshot : snapshots) {
    auto const& info = snapshot.info;
    auto const start = bytes.size();
    bytes.resize(start + snapshot_at::extra + known_extra);
    auto* const data = bytes.data() + start;
    store_be<u64>(data + snapshot_at::l1_table_offset, snapshot.l1_table_offset);
    store_be<u32>(data + snapshot_at::l1_size, snapshot.l1_size);
    store_be<u16>(data + snapshot_at::id_size, static_cast<u16>(info.id.size()));
    store_be<u16>(data + snapshot_at::name_size, static_cast<u16>(info.name.size()));
    store_be<u32>(data + snapshot_at::seconds, static_cast<u32>(info.seconds));
    store_be<u32>(data + snapshot_at::nanoseconds, info.nanoseconds);
    store_be<u64>(data + snapshot_at::clock, info.clock_ns);
    store_be<u32>(data + snapshot_at::machine_state,
                  static_cast<u32>(std::min<u64>(info.machine_state_bytes, ~u32{0})));
    store_be<u32>(data + snapshot_at::extra_size, static_cast<u32>(known_extra + snapshot.extra.size()));
    store_be<u64>(data + snapshot_at::extra, info.machine_state_bytes);
    store_be<u64>(data + snapshot_at::extra + 8, info.disk_bytes);
    bytes.insert(bytes.end(), snapshot.extra.begin(), snapshot.extra.end());
    for (auto const* word : {&info.id, &info.name}) {
      auto const raw = std::as_bytes(std::span{*word});
      bytes.insert(bytes.end(), raw.begin(), raw.end());
    }
    bytes.resize(align_up(bytes.size(), 8));
  }
  return bytes;
}

}  // namespace vireo::image::qcow2
