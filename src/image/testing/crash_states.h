#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "host/file.h"
#include "image/testing/random_disk.h"
#include "image/testing/recorder.h"

// What a file may be after the power failed: all up to the last sync, of the rest any part, sector by sector.
namespace vireo::image::testing {

inline constexpr u64 sector{512};

template <typename Keep>
void apply(Event const& event, Shadow& file, Keep keep) {
  if (event.kind == Event::Kind::size && keep()) file.resize(event.at);
  if (event.kind != Event::Kind::write && event.kind != Event::Kind::zero) return;
  for (auto at = event.at; at < event.at + event.length;) {
    auto const end = std::min(align_down(at, sector) + sector, event.at + event.length);
    if (keep()) {
      if (event.kind == Event::Kind::write && file.size() < end) file.resize(end);
      for (auto each = at; each < std::min<u64>(end, file.size()); ++each) {
        file[each] = event.kind == Event::Kind::zero ? std::byte{0} : event.bytes[each - event.at];
      }
    }
    at = end;
  }
}

inline void write_with_holes(host::File const& file, Shadow const& bytes) {
  ASSERT_TRUE(file.truncate(bytes.size()));
  for (auto at = u64{0}; at < bytes.size(); at += 4096) {
    auto const part = ConstBytes{bytes}.subspan(at, std::min<u64>(4096, bytes.size() - at));
    auto const empty = std::ranges::count(part, std::byte{0}) == std::ssize(part);
    ASSERT_TRUE(empty || file.write(at, part));
  }
}

/// How many states of each moment to look at: a few, or so many that VIREO_CRASH_STATES are reached.
inline int attempts_for(std::size_t events, int otherwise) {
  auto const* const wanted = std::getenv("VIREO_CRASH_STATES");
  return wanted == nullptr ? otherwise : std::atoi(wanted) / static_cast<int>(events + 1) + 1;
}

/// Calls visit(path, events) with what `file` may have become when so many events were on their way. Yields how
/// many states there were.
template <typename Visit>
int for_each_crash_state(Shadow file, std::vector<Event> const& events, std::string const& path, int attempts,
                         std::mt19937_64& random, Visit visit) {
  auto states = 0;
  auto pending = std::vector<Event const*>{};
  for (auto count = std::size_t{0}; count <= events.size() && !::testing::Test::HasFailure(); ++count) {
    for (auto attempt = 0; attempt < attempts && !::testing::Test::HasFailure(); ++attempt, ++states) {
      auto lost = file;
      for (auto const* event : pending) {
        auto const part = random() % 3;  // none of it, all of it, some sectors
        apply(*event, lost, [&] { return part == 1 || (part == 2 && random() % 2 == 0); });
      }
      ::unlink(path.c_str());  // to truncate it would have ext4 write it out
      {
        auto const crashed = *host::File::open(path, {.write = true, .create = true});
        write_with_holes(crashed, lost);
      }
      visit(path, count);
    }
    if (count == events.size()) break;
    pending.push_back(&events[count]);
    if (events[count].kind != Event::Kind::sync) continue;
    for (auto const* event : pending) apply(*event, file, [] { return true; });
    pending.clear();
  }
  return states;
}

}  // namespace vireo::image::testing
