#include "image/file_locks.h"

#include <algorithm>

namespace vireo::image {

Result<> FileLocks::hold(std::string const& path, Kind kind) {
  // Open for writing also for a shared lock, so that it can become exclusive later.
  auto opened = host::File::open(path, {.write = true, .no_wait = true});
  auto file = opened || kind == Kind::exclusive ? TRY(std::move(opened))
                                                : TRY(host::File::open(path, {.no_wait = true}));
  auto const held =
      std::ranges::find(held_, file.identity(), [](Held const& each) { return each.file.identity(); });
  if (held == held_.end()) {
    TRY(file.lock(kind));
    held_.push_back({std::move(file), kind});
    return {};
  }
  if (held->kind == kind) return {};
  TRY(held->file.lock(kind));
  held->kind = kind;
  return {};
}

void FileLocks::keep_only(std::vector<std::string> const& paths) {
  auto kept = std::vector<host::File::Identity>{};
  for (auto const& path : paths) {
    if (auto const file = host::File::open(path, {.no_wait = true})) kept.push_back(file->identity());
  }
  std::erase_if(held_,
                [&](Held const& each) { return std::ranges::find(kept, each.file.identity()) == kept.end(); });
}

bool FileLocks::covers(host::File::Identity const& identity, Kind kind) const {
  return std::ranges::any_of(held_, [&](Held const& each) {
    return each.file.identity() == identity && (each.kind == Kind::exclusive || kind == Kind::shared);
  });
}

}  // namespace vireo::image
