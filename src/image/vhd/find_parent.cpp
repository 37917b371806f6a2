#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "image/vhd/dynamic_header.h"
#include "image/vhd/utf16.h"

namespace vireo::image::vhd {
namespace {

std::string with_slashes(std::string path) {
  std::ranges::replace(path, '\\', '/');
  return path;
}

bool is_drive_path(std::string_view path) { return path.size() >= 2 && path[1] == ':'; }

/// "file://localhost/a%20b" and "file://./b"; empty when it is something else.
std::string path_of_url(std::string_view url) {
  constexpr auto scheme = std::string_view{"file://"};
  constexpr auto local = std::string_view{"localhost"};
  if (!url.starts_with(scheme)) return {};
  url.remove_prefix(scheme.size());
  if (url.starts_with(local)) url.remove_prefix(local.size());
  auto path = std::string{};
  while (!url.empty()) {
    auto code = 0u;
    auto const digits = url.size() >= 3 && url[0] == '%' ? url.substr(1, 2) : std::string_view{};
    auto const parsed = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    auto const escaped = digits.size() == 2 && parsed.ptr == digits.data() + 2 && code != 0;
    path += escaped ? static_cast<char>(code) : url[0];
    url.remove_prefix(escaped ? 3 : 1);
  }
  return path.substr(0, path.find('\0'));
}

std::string path_of(u32 platform, ConstBytes bytes) {
  switch (platform) {
    case platform::relative_utf16:
    case platform::absolute_utf16: return with_slashes(utf8_from_utf16(bytes, std::endian::little));
    case platform::mac_url:
      // SOUND: bytes seen as characters.
      return path_of_url({reinterpret_cast<char const*>(bytes.data()), bytes.size()});
    default: return {};
  }
}

/// Relative ones first: they still hold when the images were moved together.
Result<std::vector<std::string>> candidates(Storage const& child, DynamicHeader const& header) {
  auto const folder = std::filesystem::path{child.path()}.parent_path();
  auto names = std::vector<std::string>{};
  for (auto const platform : {platform::relative_utf16, platform::mac_url, platform::absolute_utf16}) {
    for (auto const& locator : header.locators) {
      if (locator.platform != platform) continue;
      auto bytes = std::vector<std::byte>(locator.length);
      TRY(child.read(locator.at, bytes));
      names.push_back(path_of(platform, bytes));
    }
  }
  names.push_back(std::filesystem::path{with_slashes(header.parent_name)}.filename().string());
  auto paths = std::vector<std::string>{};
  for (auto const& name : names) {
    if (name.empty() || is_drive_path(name)) continue;
    auto path = (folder / name).string();  // an absolute one replaces the folder
    if (std::ranges::find(paths, path) == paths.end()) paths.push_back(std::move(path));
  }
  return paths;
}

}  // namespace

Result<std::string> find_parent(Storage const& child, DynamicHeader const& header) {
  auto const paths = TRY(candidates(child, header));
  auto another = std::string{};
  for (auto const& path : paths) {
    auto const storage = Storage::open(path, false, CacheMode::writeback);
    if (!storage) continue;
    auto const footer = read_footer(*storage);
    if (footer && footer->id == header.parent_id) return path;
    another = path;
  }
  if (!another.empty()) {
    return fail(Errc::corrupt,
                fmt::format("{}: vhd: {} is not its parent: another UUID, or no VHD", child.path(), another));
  }
  return fail(Errc::not_found, fmt::format("{}: vhd: its parent is none of: {}; put it, or a link to it, there",
                                           child.path(), fmt::join(paths, ", ")));
}

}  // namespace vireo::image::vhd
