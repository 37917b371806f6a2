#include "image/qcow2/qcow2_operations.h"

#include <fmt/format.h>

#include <bit>
#include <filesystem>

#include "image/qcow2/bitmap_directory.h"
#include "image/qcow2/edit_header.h"
#include "image/qcow2/editor.h"
#include "image/qcow2/qcow2_format.h"
#include "image/qcow2/spec.h"
#include "vocab/numbers.h"

namespace vireo::image::qcow2 {

Result<> create(CreateRequest const& request) {
  auto options = OptionReader{request};
  auto const cluster = TRY(options.size("cluster_size", 65536));
  auto const compat = options.text("compat", "1.1");
  auto const bits = TRY(options.size("refcount_bits", 16));
  auto const lazy = TRY(options.flag("lazy_refcounts", false));
  auto const compression = options.text("compression_type", "zlib");
  auto const extended = TRY(options.flag("extended_l2", false));
  auto const data_file = options.text("data_file", "");
  auto const raw_data = TRY(options.flag("data_file_raw", false));
  auto const encryption = options.text("encrypt.format", "");
  auto const luks = TRY(luks::read_options(options, "encrypt."));
  TRY(options.finish());
  if (!encryption.empty() && encryption != "luks")
    return fail(Errc::unsupported, fmt::format("encrypt.format '{}': luks", encryption));
  if (compat != "1.1" && compat != "v3" && compat != "0.10" && compat != "v2") {
    return fail(Errc::invalid, fmt::format("compat '{}': 0.10 or 1.1", compat));
  }
  if (!std::has_single_bit(cluster) || !std::has_single_bit(bits) || bits > 64) {
    return fail(Errc::invalid,
                fmt::format("{}: cluster_size {} and refcount_bits {} are powers of two, from 512 to "
                            "2M and from 1 to 64",
                            request.path, cluster, bits));
  }
  if (compression != "zlib" && compression != "zstd") {
    return fail(Errc::invalid, fmt::format("compression_type '{}': zlib or zstd", compression));
  }
  return create_qcow2_with(
      {.backing = request.backing,
       .cluster_bits = static_cast<u32>(std::countr_zero(cluster)),
       .version = compat == "0.10" || compat == "v2" ? 2u : 3u,
       .refcount_order = static_cast<u32>(std::countr_zero(bits)),
       .lazy_refcounts = lazy,
       .zstd = compression == "zstd",
       .extended_l2 = extended,
       .data_file = data_file,
       .raw_data = raw_data,
       .luks_header = encryption.empty() ? std::vector<std::byte>{} : TRY(luks::create_volume(luks)),
       .trust_backing = request.trust_backing},
      request.path, request.bytes);
}

Result<Description> describe(Storage const& storage) {
  auto const header = TRY(read_header(storage));
  auto const corrupt = (header.incompatible_features & incompatible::corrupt) != 0;
  auto description = Description{.bytes = header.size, .cluster = header.cluster_size()};
  description.backing_file = header.backing_file;
  description.backing_format = header.backing_format;
  description.dirty = (header.incompatible_features & incompatible::dirty) != 0;
  description.corrupt = corrupt;
  description.facts = {
      {"compat", std::string{header.version < 3 ? "0.10" : "1.1"}},
      {"compression type", std::string{header.compression == Compression::zstd ? "zstd" : "zlib"}}};
  if (header.version >= 3) {
    description.facts.push_back({"lazy refcounts", (header.compatible_features & 1) != 0});
    if (auto bitmaps = TRY(describe_bitmaps(storage, header)); !bitmaps.empty()) {
      description.facts.push_back({"bitmaps", FactList{std::move(bitmaps), true}});
    }
    description.facts.push_back({"refcount bits", u64{1} << header.refcount_order});
    if (header.encrypted) {
      description.encrypted = true;
      auto const volume = TRY_IN(storage.path(), read_luks_volume(storage, header));
      description.facts.push_back({"encrypt", FactList{luks::describe_volume(volume, true), false}});
    }
    if (header.external_data()) {
      description.facts.push_back({"data file", header.data_file});
      description.facts.push_back({"data file raw", header.raw_data()});
      description.data_file = data_file_path(storage, header).value_or(header.data_file);
    }
    description.facts.push_back({"corrupt", corrupt});
    description.facts.push_back({"extended l2", header.extended_l2()});
  } else {
    description.facts.push_back({"refcount bits", u64{16}});
  }
  for (auto const& each : TRY(read_snapshots(storage, header)).snapshots)
    description.snapshots.push_back(each.info);
  return description;
}

Result<std::string> parent_of(Storage const& storage) {
  return backing_path(storage, TRY(read_header(storage)).backing_file);
}

Result<> resize(Storage const& storage, u64 bytes) { return TRY(Editor::open(storage)).resize(bytes); }

Result<> set_backing(Storage const& storage, Backing const& backing) {
  return edit_header(storage, {.backing = backing});
}

}  // namespace vireo::image::qcow2
