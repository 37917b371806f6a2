#pragma once

#include "image/operations/describe.h"
#include "image/qcow2/header.h"

namespace vireo::image::qcow2 {

struct Snapshot {
  SnapshotInfo info;
  u64 l1_table_offset{};
  u32 l1_size{};
  std::vector<std::byte> extra{};  // what newer versions know besides, kept as it is
};

struct SnapshotTable {
  std::vector<Snapshot> snapshots{};
  u64 bytes{};  // in the file
};
/// Every number checked but for places of L1 tables.
Result<SnapshotTable> read_snapshots(Storage const& storage, Header const& header);
std::vector<std::byte> encode_snapshots(std::vector<Snapshot> const& snapshots);

}  // namespace vireo::image::qcow2
