#include "engine/soft/translate/perf_map.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/trace.h"
#include "observe/log.h"

namespace vireo::engine::soft::translate {

PerfMap::PerfMap() {
  if (!perf_map_wanted()) return;
  auto const path = fmt::format("/tmp/perf-{}.map", getpid());
  // The name is predictable and its folder is everybody's: no link is followed. vCPUs append whole lines.
  auto const file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) {
    observe::log(observe::Level::warning, "engine", "{}: {}", path, std::strerror(errno));
    return;
  }
  file_.reset(::fdopen(file, "a"));
}

void PerfMap::write(u8 const* code, u32 bytes, u64 guest) {
  // SOUND: an address, as a number.
  fmt::print(file_.get(), "{:x} {:x} guest_{:#x}\n", reinterpret_cast<u64>(code), bytes, guest);
  std::fflush(file_.get());
}

}  // namespace vireo::engine::soft::translate
