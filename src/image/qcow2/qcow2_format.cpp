#include "image/qcow2/qcow2_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "image/backend.h"
#include "image/empty_layer.h"
#include "image/formats.h"
#include "image/key_ring.h"
#include "image/qcow2/qcow2_image.h"
#include "image/qcow2/qcow2_operations.h"
#include "image/qcow2/snapshot_table.h"

namespace vireo::image::qcow2 {
namespace {

bool probe(ConstBytes head) { return head.size() >= 8 && load_be<u32>(head.data()) == magic; }

}  // namespace

Result<std::string> backing_path(Storage const& storage, std::string const& name) {
  if (is_url(name)) return name;
  auto const colon = name.find(':');
  if (colon != std::string::npos && name.find('/') > colon && !name.starts_with("file:")) {
    return fail(Errc::unsupported,
                fmt::format("{}: backing file \"{}\" is not a plain file; copy it to one and rebase the image",
                            storage.path(), name));
  }
  auto const path = std::filesystem::path{name.starts_with("file:") ? name.substr(5) : name};
  return path.is_absolute() ? path.string()
                            : (std::filesystem::path{storage.path()}.parent_path() / path).string();
}

luks::ReadHeader luks_reader(Storage const& storage, Header const& header) {
  return [&storage, start = header.luks_offset](u64 at, Bytes into) { return storage.read(start + at, into); };
}

/// Its disk does not follow it, but lies in clusters.
Result<luks::Volume> read_luks_volume(Storage const& storage, Header const& header) {
  return luks::read_volume(luks_reader(storage, header), header.luks_bytes);
}

Result<std::string> data_file_path(Storage const& storage, Header const& header) {
  return backing_path(storage, header.data_file);
}

namespace {

/// "disk.data" and "disk.qcow2.raw" beside "disk.qcow2" are its own.
bool is_own(Storage const& storage, std::string const& name) {
  auto ignored = std::error_code{};
  auto const stem = std::filesystem::path{storage.path()}.stem().string();
  return name.find('/') == std::string::npos && name.starts_with(stem) &&
         name != std::filesystem::path{storage.path()}.filename() &&
         !std::filesystem::is_symlink(std::filesystem::path{storage.path()}.parent_path() / name, ignored);
}

Result<std::optional<Storage>> open_data_file(Storage const& storage, Header const& header,
                                              OpenContext const& context) {
  if (!header.external_data()) return std::nullopt;
  if (!context.options.follow_references && !is_own(storage, header.data_file)) {
    return fail(Errc::denied, fmt::format("{}: names the data file \"{}\"; {}", storage.path(),
                                          header.data_file, reference_hint));
  }
  auto const path = TRY(data_file_path(storage, header));
  auto file = TRY_IN(fmt::format("{}: data file", storage.path()),
                     Storage::open(path, storage.writable(), storage.cache()));
  TRY(file.lock(context.locks()));
  return file;
}

/// A layer alone is looked at without the passphrase, too.
Result<std::optional<luks::Cipher>> open_cipher(Storage const& storage, Header const& header,
                                                OpenOptions const& options) {
  if (!header.encrypted || (options.layer_only && offered_passphrases().empty())) return std::nullopt;
  auto const volume = TRY_IN(storage.path(), read_luks_volume(storage, header));
  return TRY(luks::unlock(volume, luks_reader(storage, header), storage.path()));
}

Result<std::unique_ptr<BlockImage>> open(Storage storage, OpenContext context) {
  auto header = TRY(read_header(storage));
  if (!context.options.snapshot.empty()) {
    auto const snapshots = TRY(read_snapshots(storage, header)).snapshots;
    auto const& which = context.options.snapshot;
    auto found = std::ranges::find_if(snapshots, [&](Snapshot const& each) { return each.info.name == which; });
    if (found == snapshots.end()) {
      found = std::ranges::find_if(snapshots, [&](Snapshot const& each) { return each.info.id == which; });
    }
    if (found == snapshots.end()) {
      return fail(Errc::not_found,
                  fmt::format("{}: no snapshot '{}'; \"snapshot list\" shows them", storage.path(), which));
    }
    header.size = found->info.disk_bytes;
    header.l1_table_offset = found->l1_table_offset;
    header.l1_size = found->l1_size;
    TRY(check_tables(storage, header));
    context.options.snapshot = {};
  }
  auto cipher = TRY(open_cipher(storage, header, context.options));
  auto data_file = TRY(open_data_file(storage, header, context));
  auto backing = std::unique_ptr<BlockImage>{};
  if (context.options.layer_only) {
    backing = empty_layer(header.size);
  } else if (!header.backing_file.empty()) {
    if (!context.options.follow_references) {
      return fail(Errc::denied, fmt::format("{}: names the backing file \"{}\"; {}", storage.path(),
                                            header.backing_file, reference_hint));
    }
    auto const path = TRY(backing_path(storage, header.backing_file));
    context.options.read_only = true;
    context.options.format = header.backing_format;
    backing = TRY_IN(fmt::format("{}: backing file", storage.path()), open_image_in(path, std::move(context)));
  }
  return Qcow2Image::open(std::move(storage), header, std::move(backing), std::move(data_file),
                          std::move(cipher));
}

}  // namespace

ImageFormat const format{.name = "qcow2",
                         .probe = probe,
                         .open = open,
                         .create = create,
                         .describe = describe,
                         .find_parent = parent_of,
                         .check = check,
                         .resize = resize,
                         .set_parent = set_backing};

}  // namespace vireo::image::qcow2
