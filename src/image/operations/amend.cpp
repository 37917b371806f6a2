#include "image/operations/amend.h"

#include <fmt/format.h>

#include "image/open_image.h"
#include "image/operations/create.h"
#include "image/operations/layers.h"
#include "image/operations/resize.h"
#include "image/qcow2/edit_header.h"

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

Result<> amend_image(AmendRequest const& request) {
  auto const format = request.format.empty() ? TRY(probe_format(request.path)) : request.format;
  if (format != "qcow2") {
    return fail(Errc::unsupported,
                fmt::format("{}: format {} has no options that can be changed", request.path, format));
  }
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
