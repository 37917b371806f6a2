#include "machine/console_escape.h"

namespace vireo::machine {
namespace {

std::optional<ConsoleRequest> request_of(char key) {
  switch (key) {
    case 'q': return ConsoleRequest::quit;
    case 'r': return ConsoleRequest::reset;
    case 'p': return ConsoleRequest::power_down;
    case '?': return ConsoleRequest::help;
    default: return {};
  }
}

}  // namespace

ConsoleEscape::Taken ConsoleEscape::take(std::string_view typed) {
  auto taken = Taken{};
  for (auto const key : typed) {
    if (!escaped_) {
      escaped_ = key == console_escape_key;
      if (!escaped_) taken.for_guest += key;
      continue;
    }
    escaped_ = false;
    if (key == console_escape_key) {
      taken.for_guest += key;
      continue;
    }
    taken.request = request_of(key);
    if (taken.request) return taken;
  }
  return taken;
}

}  // namespace vireo::machine
