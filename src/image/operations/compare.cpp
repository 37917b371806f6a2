#include "image/operations/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "image/operations/stretches.h"
#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr u64 piece{2 * MiB};
using Presence = BlockImage::Presence;

Result<u64> zeroes_at(BlockImage& image, u64 at) {
  if (at >= image.geometry().bytes) return ~u64{0};
  auto const extent = TRY(image.extent_at(at));
  return extent.presence == Presence::zero ? extent.length : 0;
}

u64 ceiling(u64 value, u64 unit) { return value / unit + (value % unit != 0 ? 1 : 0); }

u64 qcow2_overhead(u64 bytes, u64 cluster, u64 refcount_bits) {
  auto const data = align_up(bytes, cluster);
  auto const l2_entries = align_up(data / cluster, cluster / 8);
  auto const l1_entries = align_up(l2_entries * 8 / cluster, cluster / 8);
  auto const tables = cluster + l2_entries * 8 + l1_entries * 8;
  auto const counted = (tables + data) / cluster;
  auto blocks = u64{0};
  auto table = u64{0};
  for (auto last = ~u64{0}; last != blocks + table;) {
    last = blocks + table;
    blocks = ceiling(counted + last, cluster * 8 / refcount_bits);
    table = ceiling(blocks, cluster / 8);
  }
  return tables + (blocks + table) * cluster;
}

/// Blocks of the target that will hold something.
Result<u64> bytes_in_use(BlockImage& source, u64 cluster) {
  auto const bytes = source.geometry().bytes;
  auto used = u64{0};
  auto counted_to = u64{0};
  for (auto at = u64{0}; at < bytes;) {
    auto const extent = TRY(source.extent_at(at));
    auto const end = std::min(bytes, at + extent.length);
    if (extent.presence != Presence::zero) {
      auto const from = std::max(align_down(at, cluster), counted_to);
      counted_to = std::max(counted_to, align_up(end, cluster));
      used += counted_to - std::min(from, counted_to);
    }
    at = end;
  }
  return used;
}

/// How long a file with so many blocks in use is, as create and convert lay it out.
struct BlockRule {
  std::string_view format;
  u64 block;
  u64 (*file_bytes)(u64 blocks, u64 used);
};
u64 vdi_bytes(u64 blocks, u64 used) { return align_up(4096 + blocks * 4, MiB) + used * MiB; }
/// Data begins at multiples of 4096, its bitmap right in front of it.
u64 vhd_bytes(u64 blocks, u64 used) {
  auto const table_end = align_up(4096 + blocks * 4, 512);
  if (used == 0) return table_end + 512;
  return align_up(table_end + 512, 4096) + (used - 1) * align_up(2 * MiB + 512, 4096) + 2 * MiB + 512;
}
u64 vhdx_bytes(u64 blocks, u64 used) {
  constexpr auto blocks_per_bitmap = u64{2048};
  return 3 * MiB + align_up((blocks + (blocks - 1) / blocks_per_bitmap) * 8, MiB) + used * 2 * MiB;
}
u64 vmdk_bytes(u64 grains, u64 used) {
  auto const tables = ceiling(grains, 512);
  auto const directory = ceiling(tables * 4, 512);
  return align_up((21 + 2 * (directory + tables * 4)) * 512, 64 * KiB) + used * 64 * KiB;
}
constexpr auto block_rules = std::to_array<BlockRule>({{"vdi", 1 * MiB, vdi_bytes},
                                                       {"vhd", 2 * MiB, vhd_bytes},
                                                       {"vhdx", 2 * MiB, vhdx_bytes},
                                                       {"vmdk", 64 * KiB, vmdk_bytes}});

}  // namespace

Result<Comparison> compare_disks(BlockImage& one, BlockImage& other, Report const& report) {
  auto const sizes_differ = one.geometry().bytes != other.geometry().bytes;
  auto const bytes = std::max(one.geometry().bytes, other.geometry().bytes);
  auto a = std::vector<std::byte>(piece);
  auto b = std::vector<std::byte>(piece);
  for (auto at = u64{0}; at < bytes;) {
    if (report) report({at, bytes});
    auto const quick = std::min(TRY(zeroes_at(one, at)), TRY(zeroes_at(other, at)));
    if (quick != 0) {
      at += std::min(quick, bytes - at);
      continue;
    }
    auto const length = std::min(piece, bytes - at);
    auto const here = Bytes{a}.first(length);
    auto const there = Bytes{b}.first(length);
    TRY(read_padded(one, at, here));
    TRY(read_padded(other, at, there));
    if (std::memcmp(here.data(), there.data(), length) != 0) {
      auto const differ = std::ranges::mismatch(here, there).in1;
      return Comparison{
          .equal = false, .sizes_differ = sizes_differ, .offset = at + static_cast<u64>(differ - here.begin())};
    }
    at += length;
  }
  return Comparison{.equal = true, .sizes_differ = sizes_differ};
}

Result<Measurement> measure_image(MeasureRequest const& request) {
  auto const bytes = align_up(request.bytes, 512);
  if (request.format == "raw") return Measurement{bytes, bytes};
  if (request.format == "qcow2") {
    if (!std::has_single_bit(request.cluster) || request.cluster < 512 || request.cluster > 2 * MiB) {
      return fail(Errc::invalid,
                  fmt::format("cluster_size {}: a power of two from 512 to 2M", request.cluster));
    }
    if (bytes > u64{1} << 56 || !std::has_single_bit(request.refcount_bits) || request.refcount_bits > 64) {
      return fail(Errc::invalid,
                  fmt::format("a disk of {} bytes with counts of {} bits", bytes, request.refcount_bits));
    }
    auto const overhead = qcow2_overhead(bytes, request.cluster, request.refcount_bits);
    auto const data = request.source == nullptr ? 0 : TRY(bytes_in_use(*request.source, request.cluster));
    return Measurement{overhead + data, overhead + align_up(bytes, request.cluster)};
  }
  auto const rule = std::ranges::find(block_rules, request.format, &BlockRule::format);
  if (rule == block_rules.end()) {
    return fail(Errc::invalid,
                fmt::format("image format '{}': raw, qcow2, vmdk, vhd, vhdx or vdi", request.format));
  }
  auto const blocks = ceiling(bytes, rule->block);
  auto const used =
      request.source == nullptr ? 0 : TRY(bytes_in_use(*request.source, rule->block)) / rule->block;
  return Measurement{rule->file_bytes(blocks, used), rule->file_bytes(blocks, blocks)};
}

}  // namespace vireo::image
