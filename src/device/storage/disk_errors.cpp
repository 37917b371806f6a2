#include "device/storage/disk_errors.h"

#include <fmt/format.h>

#include "observe/log.h"

namespace vireo::device {

std::string_view name_of(ErrorPolicy policy) {
  switch (policy) {
    case ErrorPolicy::pause: return "pause";
    case ErrorPolicy::report: return "report";
    case ErrorPolicy::stop: return "stop";
  }
  return "unknown";
}

Result<ErrorPolicy> parse_error_policy(std::string_view name) {
  for (auto const policy : {ErrorPolicy::pause, ErrorPolicy::report, ErrorPolicy::stop}) {
    if (name == name_of(policy)) return policy;
  }
  return fail(Errc::invalid, fmt::format("'{}' is not one of pause, report, stop", name));
}

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
