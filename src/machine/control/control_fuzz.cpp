#include "machine/control/verb_table.h"

using namespace vireo;
using namespace vireo::machine;

/// A client's line against verbs with every kind of argument.
extern "C" int LLVMFuzzerTestOneInput(u8 const* data, std::size_t size) {
  static auto const verbs = [] {
    auto table = VerbTable{};
    table.add<control::Status>("status", "",
                               [](control::Status const& each) -> Result<control::Status> { return each; });
    table.add<control::DiskThrottle>(
        "disk-throttle", "",
        [](control::DiskThrottle const& each) -> Result<control::DiskThrottle> { return each; });
    return table;
  }();
  // SOUND: bytes seen as the characters that a socket would have brought.
  auto const line = std::string_view{reinterpret_cast<char const*>(data), size};
  auto const answer = verbs.answer(line);
  auto failure = boost::json::error_code{};
  boost::json::parse(answer, failure);
  if (failure) __builtin_trap();
  return 0;
}
