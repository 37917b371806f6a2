#include "image/operations/amend.h"

#include <fmt/format.h>

#include "image/luks/key_change.h"
#include "image/luks2/change_keys.h"
#include "image/open_image.h"
#include "image/operations/create.h"
#include "image/operations/layers.h"
#include "image/operations/resize.h"
#include "image/qcow2/edit_header.h"
#include "image/qcow2/qcow2_format.h"

namespace vireo::image {
namespace {

Result<bool> read_flag(std::string const& name, std::string const& word) {
  auto const request = CreateRequest{.path = {}, .format = "qcow2", .options = {{name, word}}};
  return OptionReader{request}.flag(name, false);
}

/// Those that may be given, but not changed.
Result<> keep(AmendRequest const& request, qcow2::Header const& header) {
  auto const now = std::map<std::string, std::string>{
      {"cluster_size", fmt::format("{}", header.cluster_size())},
      {"refcount_bits", fmt::format("{}", 1u << header.refcount_order)},
      {"extended_l2", header.extended_l2() ? "on" : "off"},
      {"compression_type", header.compression == qcow2::Compression::zstd ? "zstd" : "zlib"},
      {"data_file", header.data_file},
      {"data_file_raw", header.raw_data() ? "on" : "off"}};
  for (auto const& [name, value] : request.options) {
    auto const found = now.find(name);
    auto const changes = name == "compat" || name == "lazy_refcounts" || name == "size" ||
                         name == "backing_file" || name == "backing_fmt" || name == "preallocation";
    if (changes || (found != now.end() && found->second == value)) continue;
    return fail(Errc::unsupported,
                fmt::format("{}: {} cannot be changed in an image; convert it", request.path, name));
  }
  return {};
}

CreateRequest as_creation(AmendRequest const& request, std::string const& format) {
  return {.path = request.path, .format = format, .options = request.options};
}

Result<> amend_luks(AmendRequest const& request) {
  auto const asked = as_creation(request, "luks");
  auto options = OptionReader{asked};
  auto const change = TRY(luks::read_key_change(options, "", request.force));
  auto const storage = TRY(Storage::open(request.path, true, CacheMode::writeback));
  TRY(storage.lock());
  auto const room = TRY(storage.size());
  auto const read = [&](u64 at, Bytes into) { return storage.read(at, into); };
  auto const version_2 = luks2::is_header(read, room);
  auto const wish = version_2 ? TRY(luks2::read_wish(options, "", change ? change->milliseconds : 0))
                              : luks2::DerivationWish{};
  TRY(options.finish());
  if (!change) return fail(Errc::invalid, fmt::format("{}: state=active, inactive or changed", request.path));
  if (version_2) return luks2::change_keys(storage, *change, wish);
  return luks::change_keys(storage, 0, room, *change);
}

/// The options that change a key go.
Result<> amend_qcow2_keys(AmendRequest& request) {
  auto keys = AmendRequest{.path = request.path};
  for (auto each = request.options.begin(); each != request.options.end();) {
    auto const next = std::next(each);
    if (each->first.starts_with("encrypt.")) keys.options.insert(request.options.extract(each));
    each = next;
  }
  if (keys.options.empty()) return {};
  auto const asked = as_creation(keys, "qcow2");
  auto options = OptionReader{asked};
  static_cast<void>(options.text("encrypt.format", ""));
  auto const change = TRY(luks::read_key_change(options, "encrypt.", request.force));
  TRY(options.finish());
  auto const storage = TRY(Storage::open(request.path, true, CacheMode::writeback));
  TRY(storage.lock());
  auto const header = TRY(qcow2::read_header(storage));
  if (!header.encrypted) return fail(Errc::invalid, fmt::format("{}: is not encrypted", request.path));
  if (!change)
    return fail(Errc::invalid, fmt::format("{}: encrypt.state=active, inactive or changed", request.path));
  return luks::change_keys(storage, header.luks_offset, header.luks_bytes, *change);
}

Result<> amend_header(AmendRequest const& request, std::map<std::string, std::string> const& options) {
  auto const storage = TRY(Storage::open(request.path, true, CacheMode::writeback));
  TRY(storage.lock());
  auto const header = TRY(qcow2::read_header(storage));
  TRY(keep(request, header));
  auto edit = qcow2::HeaderEdit{};
  if (auto const found = options.find("compat"); found != options.end()) {
    auto const wanted = found->second == "0.10" || found->second == "v2" ? 2u : 3u;
    if (wanted < header.version) {
      return fail(Errc::unsupported,
                  fmt::format("{}: compat is not made older in an image; convert it", request.path));
    }
    edit.version = wanted;
  }
  if (auto const found = options.find("lazy_refcounts"); found != options.end()) {
    auto const on = TRY(read_flag("lazy_refcounts", found->second));
    if (on && edit.version.value_or(header.version) < 3)
      return fail(Errc::invalid, fmt::format("{}: lazy_refcounts goes with compat 1.1", request.path));
    edit.compatible_features = on ? header.compatible_features | 1 : header.compatible_features & ~u64{1};
  }
  return qcow2::edit_header(storage, edit);
}

}  // namespace

Result<> amend_image(AmendRequest const& asked) {
  auto request = asked;
  auto const format = request.format.empty() ? TRY(probe_format(request.path)) : request.format;
  if (format == "luks") return amend_luks(request);
  if (format != "qcow2") {
    return fail(Errc::unsupported,
                fmt::format("{}: format {} has no options that can be changed", request.path, format));
  }
  TRY(amend_qcow2_keys(request));
  TRY(amend_header(request, request.options));
  auto const& options = request.options;
  if (auto const found = options.find("backing_file"); found != options.end()) {
    auto const fmt_found = options.find("backing_fmt");
    TRY(rebase_image(
        {.path = request.path,
         .format = format,
         .backing = {found->second, fmt_found == options.end() ? "" : std::string_view{fmt_found->second}},
         .unsafe = true,
         .follow_references = request.follow_references}));
  }
  auto const size = options.find("size");
  if (size == options.end()) return {};
  auto const wanted =
      CreateRequest{.path = request.path, .format = format, .options = {{"size", size->second}}};
  auto const bytes = TRY(OptionReader{wanted}.size("size", 0));
  return resize_image(
      {.path = request.path, .format = format, .bytes = bytes, .follow_references = request.follow_references});
}

}  // namespace vireo::image
