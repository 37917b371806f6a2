#pragma once

#include <array>
#include <functional>
#include <vector>

#include "bus/access.h"
#include "bus/lines.h"
#include "state/saved.h"
#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::bus {

struct PciAddress {  // bus 0 only so far
  u8 device{};       // 0..31
  u8 function{};     // 0..7
  constexpr bool operator==(PciAddress const&) const = default;
};

struct PciIdentity {
  u16 vendor{}, device{}, subsystem_vendor{}, subsystem{};
  u8 revision{};
  u32 class_code{};  // base << 16 | sub << 8 | programming interface
};

enum class BarKind : u8 { none, io, memory32, memory64, memory64_prefetchable };
struct BarSpec {
  BarKind kind{BarKind::none};
  u64 size{};  // bytes, a power of two
};

/// One PCI function's configuration space: header type 0, capabilities, BARs, MSI-X. The function owns it, the
/// host bridge drives it, and the function is told of what changed. PCI Local Bus 3.0 chapter 6; PCIe 5.0
/// chapter 7.
class PciConfigSpace {
 public:
  explicit PciConfigSpace(PciIdentity const& identity, u8 interrupt_pin = 0 /* 0 none, 1 INTA */);

  void add_bar(u8 index, BarSpec spec);  // a 64-bit BAR also takes index + 1
  /// Adds a capability with its body (the bytes after id and next pointer); returns its offset.
  u8 add_capability(u8 id, std::vector<u8> const& body, std::vector<u8> const& write_mask);
  /// Adds MSI-X with its table and pending bits in `bar` at `table_offset` and `pba_offset`.
  void add_msix(u16 vectors, u8 bar, u32 table_offset, u32 pba_offset);

  /// Lets the guest change the bits of `mask`, which begin as 0.
  void make_writable(u16 offset, u32 mask, u8 width);

  u32 read(u16 offset, u8 width) const;
  /// Returns true when BARs or the command register's decoding changed, so that the bus maps anew.
  bool write(u16 offset, u8 width, u32 value);

  bool io_enabled() const, memory_enabled() const, bus_master() const, intx_disabled() const;
  u64 bar_address(u8 index) const;
  BarSpec bar(u8 index) const { return bars_.at(index); }
  u16 command() const;

  // MSI-X: a function's mmio handler passes accesses to table and PBA here.
  bool msix_enabled() const;
  bool msix_covers(u8 bar, u64 offset) const;
  u64 msix_read(u64 bar_offset, u8 width) const;
  void msix_write(u64 bar_offset, u8 width, u64 value);
  /// Sends vector `index` (or pends it while masked). An index past the table is ignored.
  void msix_signal(u16 index);
  void set_msi_sink(MsiSink* sink) { sink_ = sink; }

  void reset();
  state::Saved save() const;
  Result<> restore(state::Saved const& saved);

 private:
  void flush_pending();

  struct MsixEntry {
    u64 address{};
    u32 data{};
    u32 control{1};  // bit 0: masked
  };
  std::array<u8, 256> bytes_{};       // guest-visible
  std::array<u8, 256> write_mask_{};  // bits that the guest may change
  std::array<u8, 256> initial_{};     // for reset
  std::array<BarSpec, 6> bars_{};
  u8 next_capability_{0x40};
  u8 last_capability_{0};
  u8 msix_capability_{0};
  u8 msix_bar_{0};
  u32 msix_table_{0}, msix_pba_{0};
  std::vector<MsixEntry> msix_entries_;
  std::vector<bool> msix_pending_;
  MsiSink* sink_{nullptr};
};

/// A PCI function as the host bridge sees it.
class PciFunction {
 public:
  virtual ~PciFunction() = default;
  virtual PciConfigSpace& config() = 0;
  virtual void config_written(u16 offset, u8 width) = 0;  // after each guest write to configuration space
  /// Before each guest read of configuration space, for registers that are computed (virtio 1.2, 4.1.4.9).
  virtual void config_reading(u16 /*offset*/, u8 /*width*/) {}
  virtual u64 read_bar(u8 bar, u64 offset, u8 width) = 0;
  virtual void write_bar(u8 bar, u64 offset, u8 width, u64 value) = 0;
  /// The memory that a BAR shows as it is, so that processors reach it without the function; as long as the
  /// BAR, or empty: every access comes to read_bar() and write_bar().
  virtual Bytes bar_memory(u8 /*bar*/) { return {}; }
  /// The wire behind the interrupt pin; set once when the function is plugged in.
  virtual void connect_intx(IrqLine* line) = 0;
};

}  // namespace vireo::bus
