#pragma once

#include <atomic>
#include <string_view>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::engine {

/// What the software engine prints to stderr of its work. Slow; for who works on the engine or a guest. Set by
/// VIREO_TRACE=WORD,... in the environment, which `vireo run --trace` sets for the machine's process.
enum TraceWhat : u32 {
  trace_blocks = 1 << 0,      // the translator: new blocks; the interpreter: each block that it runs
  trace_registers = 1 << 1,   // with each block of the interpreter, and each exit of the translator
  trace_exceptions = 1 << 2,  // delivered to the guest
  trace_tlb = 1 << 3,         // the TLB: misses of translated code, flushes
  trace_exits = 1 << 4,       // returns from translated code
  trace_counters = 1 << 5,    // at the end
};

/// "blocks,tlb,exits,exceptions,registers,counters": some of these. The error names the word and what is known.
Result<u32> parse_trace(std::string_view words);

namespace detail {
extern std::atomic<u32> what_is_traced;
}
inline u32 trace() { return detail::what_is_traced.load(std::memory_order_relaxed); }
void set_trace(u32 what);

/// VIREO_PERF_MAP=1: translated blocks are listed in /tmp/perf-PID.map for `perf report`.
bool perf_map_wanted();

}  // namespace vireo::engine
