#include "x86/operation.h"

#include <array>

namespace vireo::x86 {
namespace {

constexpr std::array<std::string_view, operation_count> names{
    "invalid",
#define X(name) #name,
#include "x86/operation.inc"
#undef X
};

}  // namespace

std::string_view name(Operation operation) {
  auto text = operation < Operation::count ? names[static_cast<u16>(operation)] : names[0];
  if (text.ends_with('_')) text.remove_suffix(1);
  return text;
}

}  // namespace vireo::x86
