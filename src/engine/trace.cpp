#include "engine/trace.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <utility>
#include <vector>

#include "observe/log.h"
#include "vocab/units.h"

namespace vireo::engine {

namespace {

constexpr std::array<std::pair<std::string_view, u32>, 6> words{{{"blocks", trace_blocks},
                                                                 {"tlb", trace_tlb},
                                                                 {"exits", trace_exits},
                                                                 {"exceptions", trace_exceptions},
                                                                 {"registers", trace_registers},
                                                                 {"counters", trace_counters}}};

u32 from_environment() {
  auto const* const text = std::getenv("VIREO_TRACE");
  if (text == nullptr) return 0;
  auto const parsed = parse_trace(text);
  if (!parsed) observe::log(observe::Level::warning, "engine", "VIREO_TRACE: {}", parsed.error().what());
  return parsed.value_or(0);
}

}  // namespace

Result<u32> parse_trace(std::string_view text) {
  auto what = u32{0};
  while (!text.empty()) {
    auto const end = std::min(text.find(','), text.size());
    auto const wanted = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    auto known = std::vector<std::string_view>{};
    auto found = u32{0};
    for (auto const& [word, bit] : words) {
      known.push_back(word);
      if (word == wanted) found = bit;
    }
    if (found == 0) {
      return fail(Errc::invalid, fmt::format("'{}' is not one of {}", wanted, fmt::join(known, ", ")));
    }
    what |= found;
  }
  return what;
}

std::atomic<u32> detail::what_is_traced{from_environment()};
void set_trace(u32 what) { detail::what_is_traced.store(what, std::memory_order_relaxed); }

bool perf_map_wanted() {
  auto const* const text = std::getenv("VIREO_PERF_MAP");
  return text != nullptr && *text != 0 && std::string_view{text} != "0";
}

}  // namespace vireo::engine
