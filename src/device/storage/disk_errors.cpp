#include "device/storage/disk_errors.h"

#include <fmt/format.h>

#include "observe/log.h"

namespace vireo::device {

bool DiskErrors::keeps(Error const& error, std::string_view verb) {
  auto text = fmt::format("{}: {}: {}", disk_, verb, error.what());
  VIREO_LOG_GUEST(observe::Level::warning, "disk", "{}", text);
  switch (policy_.load()) {
    case ErrorPolicy::pause: control_.request_pause(std::move(text)); return true;
    case ErrorPolicy::stop: control_.request_failure(std::move(text)); return true;
    case ErrorPolicy::report: return false;
  }
  return false;
}

}  // namespace vireo::device
