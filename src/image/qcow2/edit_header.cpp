#include "image/qcow2/edit_header.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/qcow2/spec.h"
#include "vocab/numbers.h"

namespace vireo::image::qcow2 {
namespace {

/// Calls act(type, content) for each extension up to the end marker.
template <typename Act>
void for_each_extension(ConstBytes cluster, u64 start, u64 end, Act act) {
  for (auto at = start; at + 8 <= end;) {
    auto const type = load_be<u32>(cluster.data() + at);
    auto const bytes = u64{load_be<u32>(cluster.data() + at + 4)};
    if (type == extension::end || bytes > end - at - 8) break;
    act(type, cluster.subspan(at + 8, bytes));
    at += 8 + align_up(bytes, 8);
  }
}

struct Bounds {
  u64 start{};
  u64 end{};
};
Bounds extension_bounds(ConstBytes cluster) {
  auto const version = load_be<u32>(cluster.data() + header_at::version);
  auto const name = load_be<u64>(cluster.data() + header_at::backing_file_offset);
  return {version < 3 ? header_at::v2_length : u64{load_be<u32>(cluster.data() + header_at::header_length)},
          name != 0 ? name : cluster.size()};
}

void put(std::vector<std::byte>& into, u32 type, ConstBytes content) {
  auto const at = into.size();
  into.resize(at + 8 + align_up(content.size(), 8));
  store_be<u32>(into.data() + at, type);
  store_be<u32>(into.data() + at + 4, static_cast<u32>(content.size()));
  std::ranges::copy(content, into.begin() + static_cast<std::ptrdiff_t>(at + 8));
}

}  // namespace

Result<> edit_header(Storage const& storage, HeaderEdit const& edit) {
  auto const header = TRY(read_header(storage));
  auto old = std::vector<std::byte>(header.cluster_size());
  TRY(storage.read(0, old));
  auto const [start, end] = extension_bounds(old);
  auto extensions = edit.extensions;
  auto const& backing = edit.backing ? *edit.backing : Backing{header.backing_file, header.backing_format};
  if (edit.backing) {
    auto const format = std::as_bytes(std::span{backing.format});
    auto& content = extensions[extension::backing_format];
    if (!backing.path.empty() && !format.empty()) content.emplace(format.begin(), format.end());
  }
  auto fresh = std::vector<std::byte>{old.begin(), old.begin() + static_cast<std::ptrdiff_t>(start)};
  auto const version = edit.version.value_or(header.version);
  if (version > header.version) {
    fresh.resize(header_at::compression_type + 8);
    store_be<u32>(fresh.data() + header_at::version, version);
    store_be<u32>(fresh.data() + header_at::refcount_order, header.refcount_order);
    store_be<u32>(fresh.data() + header_at::header_length, static_cast<u32>(fresh.size()));
  }
  for (auto const& [type, content] : extensions) {
    if (content) put(fresh, type, *content);
  }
  for_each_extension(old, start, end, [&](u32 type, ConstBytes content) {
    if (!extensions.contains(type)) put(fresh, type, content);
  });
  put(fresh, extension::end, {});
  store_be<u64>(fresh.data() + header_at::backing_file_offset, backing.path.empty() ? 0 : fresh.size());
  store_be<u32>(fresh.data() + header_at::backing_file_size, static_cast<u32>(backing.path.size()));
  auto const set = [&](u64 at, std::optional<u64> value) {
    if (value && version >= 3) store_be<u64>(fresh.data() + at, *value);
  };
  set(header_at::autoclear_features, edit.autoclear_features);
  set(header_at::compatible_features, edit.compatible_features);
  set(header_at::incompatible_features, edit.incompatible_features);
  auto const name = std::as_bytes(std::span{backing.path});
  fresh.insert(fresh.end(), name.begin(), name.end());
  if (backing.path.size() > longest_backing_name || fresh.size() > header.cluster_size()) {
    return fail(Errc::invalid, fmt::format("{}: the header has no room for it, or for the backing file's path",
                                           storage.path()));
  }
  fresh.resize(align_up(fresh.size(), 512));
  TRY(storage.write(0, fresh));
  return storage.sync();
}

Result<std::optional<std::vector<std::byte>>> read_extension(Storage const& storage, Header const& header,
                                                             u32 type) {
  auto cluster = std::vector<std::byte>(header.cluster_size());
  TRY(storage.read(0, cluster));
  auto found = std::optional<std::vector<std::byte>>{};
  auto const [start, end] = extension_bounds(cluster);
  for_each_extension(cluster, start, end, [&](u32 each, ConstBytes content) {
    if (each == type) found.emplace(content.begin(), content.end());
  });
  return found;
}

}  // namespace vireo::image::qcow2
