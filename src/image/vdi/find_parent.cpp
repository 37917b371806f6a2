#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "image/vdi/header.h"

namespace vireo::image::vdi {
namespace {

constexpr auto most_files_looked_at = 4096;

bool has_name_of_vdi(std::filesystem::path const& path) {
  auto extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return extension == ".vdi";
}

bool has_id(std::filesystem::path const& path, UniqueId const& id) {
  auto const storage = Storage::open(path.string(), false, CacheMode::writeback);
  if (!storage) return false;
  auto const header = read_header(*storage);
  return header && header->id == id;
}

std::string find_in(std::filesystem::path const& folder, UniqueId const& id) {
  auto failure = std::error_code{};
  auto looked_at = 0;
  auto entry = std::filesystem::directory_iterator{folder, failure};
  for (; !failure && entry != std::filesystem::directory_iterator{}; entry.increment(failure)) {
    if (++looked_at > most_files_looked_at) break;
    if (has_name_of_vdi(entry->path()) && has_id(entry->path(), id)) return entry->path().string();
  }
  return {};
}

}  // namespace

Result<std::string> find_parent(std::string const& child, UniqueId const& id) {
  auto failure = std::error_code{};
  auto const folder = std::filesystem::absolute(child, failure).parent_path();
  if (auto const beside = find_in(folder, id); !beside.empty()) return beside;
  if (folder.filename() == "Snapshots") {
    if (auto const above = find_in(folder.parent_path(), id); !above.empty()) return above;
  }
  return fail(Errc::not_found,
              fmt::format("{}: vdi: no .vdi file in {} has the parent's UUID; put it, or a link to it, there",
                          child, folder.string()));
}

}  // namespace vireo::image::vdi
