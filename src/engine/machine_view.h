#pragma once

#include "memory/guest_memory.h"
#include "vocab/numbers.h"

namespace vireo::engine {

/// The machine as an engine sees it. Called on vCPU threads, several at once; the implementation takes the
/// executor. Widths are 1, 2, 4 or 8 bytes (ports: 1, 2, 4).
class MachineView {
 public:
  virtual ~MachineView() = default;
  virtual memory::GuestMemory& memory() = 0;
  virtual u64 read_mmio(Gpa at, u8 width) = 0;
  virtual void write_mmio(Gpa at, u8 width, u64 value) = 0;
  virtual u32 read_port(u16 port, u8 width) = 0;
  virtual void write_port(u16 port, u8 width, u32 value) = 0;
  /// The 8259's vector for an ExtINT (INTA cycle), or -1 when the line fell meanwhile.
  virtual int acknowledge_pic() = 0;
  /// A local APIC has ended a level-triggered interrupt: the IOAPIC clears Remote IRR for `vector`.
  virtual void broadcast_eoi(u8 vector) = 0;
  /// Nanoseconds of machine time (bus::Executor::now_ns) and of wall-clock time since 1970.
  virtual u64 now_ns() = 0;
  virtual u64 wall_clock_ns() = 0;
  /// A vCPU asks the machine to reset (triple fault) and stops running until it does.
  virtual void request_reset(char const* reason) = 0;
  /// The engine cannot go on: the machine ends with an error. The vCPU that asks stops running.
  virtual void report_failure(char const* reason) = 0;
};

}  // namespace vireo::engine
