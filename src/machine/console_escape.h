#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "vocab/integers.h"

namespace vireo::machine {

/// What people may ask for on a console with Ctrl-] and a letter.
enum class ConsoleRequest : u8 { quit, reset, power_down, help };

inline constexpr char console_escape_key{0x1d};  // Ctrl-]
inline constexpr std::string_view console_help{
    "\r\nCtrl-] then: q quit (the machine is switched off)   r reset   p power button   ? this help   "
    "Ctrl-] send Ctrl-]\r\n"};

/// Takes the escapes out of what is typed. Keeps its place between calls.
class ConsoleEscape {
 public:
  struct Taken {
    std::string for_guest;
    std::optional<ConsoleRequest> request;  // the first one; what follows it is dropped
  };
  Taken take(std::string_view typed);

 private:
  bool escaped_{};
};

}  // namespace vireo::machine
