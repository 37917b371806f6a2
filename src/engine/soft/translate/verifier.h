#pragma once

#include <array>
#include <span>
#include <string>

#include "engine/soft/interp/run_loop.h"
#include "engine/soft/mmu/store_log.h"
#include "engine/soft/translate/block.h"
#include "engine/soft/translate/context.h"
#include "engine/soft/translate/region.h"

namespace vireo::engine::soft::translate {

/// One run of translated code, from its entry to its exit: always of a single block.
struct Stretch {
  Block const* block{};
  u32 number{};
  CodeMode mode{};
  Features const* features{};
  ExitKind kind{};
  bool saved_flags_entry{};
  std::span<u8 const> host_code;
};

/// Tier `verify`: each stretch of translated code runs once more in the interpreter, from the same registers
/// and the same memory; the guest goes on from there. What is compared: general registers, RIP, the flags that
/// are defined and alive, x87, MMX, SSE and AVX state without FIP, FDP and FOP, and every page stored into.
/// Not compared: jumps from block to block, which are left out. With one vCPU only.
class Verifier {
 public:
  explicit Verifier(Cpu& cpu);
  ~Verifier();
  Verifier(Verifier const&) = delete;
  Verifier& operator=(Verifier const&) = delete;

  void begin();
  /// The state is what translated code has left at an instruction boundary. False: the interpreter disagrees,
  /// report() says how.
  bool check(Stretch const& stretch);
  std::string const& report() const { return report_; }
  u64 stretches() const { return stretches_; }

 private:
  bool agrees(Stretch const& stretch);
  bool flags_agree(Stretch const& stretch);
  u32 flags_alive(Stretch const& stretch);
  GuestCode code_at(Stretch const& stretch, u64 rip);
  u32 undefined_flags(Stretch const& stretch);
  bool disagree(Stretch const& stretch, char const* what);

  Cpu& cpu_;
  Interpreter interpreter_;
  StoreLog log_;
  VcpuState before_, translated_;
  Region region_;
  std::string report_;
  std::array<u8, 15> crossing_{};
  std::array<u64, 2 * Region::max_items> path_{};  // of the interpreter: RIP before each of the last steps
  u64 stretches_{}, steps_{};
};

}  // namespace vireo::engine::soft::translate
