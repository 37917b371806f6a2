#include <fmt/format.h>

#include "image/backend.h"
#include "image/vmdk/disk_files.h"
#include "image/vmdk/spec.h"
#include "image/vmdk/vmdk_operations.h"

namespace vireo::image::vmdk {
namespace {

bool is_field(std::string_view line, std::string_view key) {
  auto const start = line.find_first_not_of(" \t");
  if (start == std::string_view::npos || line.compare(start, key.size(), key) != 0) return false;
  auto const next = line.find_first_not_of(" \t", start + key.size());
  return next != std::string_view::npos && line[next] == '=';
}

std::string with_parent(std::string_view text, u32 cid, std::string const& hint) {
  auto result = std::string{};
  while (!text.empty()) {
    auto const end = std::min(text.find('\n'), text.size());
    auto const line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (is_field(line, "parentFileNameHint")) continue;
    if (!is_field(line, "parentCID")) {
      result += fmt::format("{}\n", line);
      continue;
    }
    result += fmt::format("parentCID={:08x}\n", cid);
    if (!hint.empty()) result += fmt::format("parentFileNameHint=\"{}\"\n", hint);
  }
  return result;
}

}  // namespace

Result<> set_parent(Storage const& storage, Backing const& parent) {
  auto const files = TRY(DiskFiles::read(storage));
  auto cid = no_parent;
  if (parent.path.find_first_of("\"\n\r") != std::string::npos) {
    return fail(Errc::invalid, fmt::format("{}: a name with a quotation mark or a line end", parent.path));
  }
  if (!parent.path.empty()) {
    auto const below =
        TRY(Storage::open(name_beside(storage.path(), parent.path), false, CacheMode::writeback));
    cid = TRY(DiskFiles::read(below)).descriptor.cid;
  }
  auto text = with_parent(files.text, cid, parent.path);
  if (!files.single) return host::write_text(storage.path(), text);
  if (text.size() > files.place.length) {
    return fail(Errc::unsupported, fmt::format("{}: VMDK: no room in its descriptor", storage.path()));
  }
  text.resize(files.place.length);
  TRY(storage.write(files.place.offset, std::as_bytes(std::span{text})));
  return storage.sync();
}

}  // namespace vireo::image::vmdk
