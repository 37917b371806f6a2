#pragma once

#include <atomic>

#include "engine/machine_view.h"
#include "engine/soft/interp/fault.h"
#include "engine/soft/mmu/mmu.h"
#include "engine/vcpu_state.h"
#include "x86/cpuid_model.h"
#include "x86/instruction.h"

namespace vireo::engine::soft {

class Cpu;

/// What executes one decoded instruction. RIP already stands at the next instruction; a branch sets it. May
/// throw Fault before it has changed any state. `extra` is what lowering chose (a thunk, a sub-operation).
using Handler = void (*)(Cpu&, x86::Instruction const&, void const* extra);
struct Lowered {
  Handler handler{};  // null: not of this family
  void const* extra{};
  bool ends_block{};  // may change RIP, mode, translation or interrupt enable: look up the next block afresh
};

/// Why other threads, or an instruction, want the vCPU's thread to leave the run loop at the next boundary.
enum Attention : u32 {
  attention_events = 1,  // interrupt, NMI, INIT, SIPI or timer may be deliverable: look again
  attention_stop = 2,    // the engine stops this vCPU
  attention_flush = 4,   // another vCPU asks for a TLB flush
  attention_code = 8,    // somebody asks to forget pages: leave and enter code again (soft/rendezvous.h)
};

/// How the local APIC is reached from instructions. Implemented by engine/soft's vCPU (local_apic.h).
class ApicPort {
 public:
  virtual ~ApicPort() = default;
  virtual u64 read_register(u32 offset) = 0;  // xAPIC page, offset 0..0xfff
  virtual void write_register(u32 offset, u32 value) = 0;
  virtual bool read_msr(u32 index, u64& value) = 0;  // 0x1b, 0x6e0, 0x800..0x8ff; false: #GP
  virtual bool write_msr(u32 index, u64 value) = 0;
  virtual u64 cr8() const = 0;
  virtual void set_cr8(u64 value) = 0;
  /// An interrupt would be delivered now if RFLAGS.IF were set: the local APIC's best request above PPR, or
  /// ExtINT.
  virtual bool interrupt_pending() const = 0;
  /// The guest-physical page whose accesses go to read_register/write_register on this vCPU, before the
  /// machine's MMIO; all ones when there is none (x2APIC mode or disabled).
  virtual u64 register_page() const { return ~u64{0}; }
  /// KVM hypercalls: an interrupt command as in the x2APIC ICR (SDM vol. 3, 11.12.9), and waking a halted vCPU.
  virtual void send_ipi(u32 command, u32 destination) {
    static_cast<void>(command), static_cast<void>(destination);
  }
  virtual void kick(u32 apic_id) { static_cast<void>(apic_id); }
};

/// One interpreted vCPU: the guest's state, what is derived from it, and the ways to memory. Used by one thread
/// at a time.
class Cpu {
 public:
  Cpu(VcpuId id, MachineView& machine, x86::CpuidModel const& model);

  VcpuState state;
  Mmu mmu;

  // ---- derived from state: call update_mode() after changing CR0, CR4, EFER, CPL, any segment, RFLAGS.VM/AC
  // ---- CPL is SS.DPL, as in VMX; whoever changes CPL sets it. A change of paging in CR0, CR4 or EFER flushes
  // by itself.
  void update_mode();
  /// MOV to CR3, with bit 63 (keep this PCID's translations) when CR4.PCIDE. #GP(0) on bad PAE PDPTEs.
  void set_cr3(u64 value);
  /// SWAPGS, WRFSBASE, MSRs: changes a segment's base alone; no update_mode() needed.
  void set_segment_base(x86::SegmentRegister segment, u64 base);
  /// The same after FS and GS bases in `state` were changed from outside, in 64-bit code.
  void take_bases_over() {
    if (!code64()) return;
    base_[static_cast<u8>(x86::SegmentRegister::fs)] = state.seg(x86::SegmentRegister::fs).base;
    base_[static_cast<u8>(x86::SegmentRegister::gs)] = state.seg(x86::SegmentRegister::gs).base;
  }
  /// SYSCALL and SYSRET between 64-bit code of both privileges: what of the derived state changes. CS, SS and
  /// RFLAGS stand already, and no alignment check is on.
  void change_privilege64(u8 cpl) {
    cpl_ = cpl;
    auto const smap = (state.cr4 & x86::cr4_smap) != 0;
    auto const allowed = (state.rflags & x86::flag_ac) != 0;
    rights_ = cpl == 3 ? Rights::user : smap && allowed ? Rights::supervisor_ac : Rights::supervisor;
    mmu.set_data_rights(rights_);
  }
  /// STAC, CLAC, POPF: RFLAGS.AC changed and nothing else of the list above; cheaper than update_mode().
  void update_rights();
  x86::CodeSize code_size() const { return code_size_; }
  bool protected_mode() const { return protected_mode_; }  // PE set and not virtual-8086
  bool long_mode() const { return state.efer & x86::efer_lma; }
  bool code64() const { return code_size_ == x86::CodeSize::bits64; }
  bool virtual8086() const { return state.rflags & x86::flag_vm; }
  u8 cpl() const { return cpl_; }
  bool checks_alignment() const { return alignment_checks_; }
  Rights rights() const { return rights_; }                      // of data accesses
  u8 stack_address_size() const { return stack_address_size_; }  // 2, 4, 8: SS.B or 64-bit mode

  // ---- general registers; 32-bit writes clear the upper half ----
  template <typename T>
  T gpr(u8 reg) const {
    return static_cast<T>(state.gpr[reg]);
  }
  template <typename T>
  void set_gpr(u8 reg, T value) {
    if constexpr (sizeof(T) >= 4)
      state.gpr[reg] = value;
    else if constexpr (sizeof(T) == 2)
      state.gpr[reg] = (state.gpr[reg] & ~u64{0xffff}) | value;
    else
      state.gpr[reg] = (state.gpr[reg] & ~u64{0xff}) | value;
  }

  /// Offset of the instruction's memory operand within its segment, truncated to the address size.
  u64 effective_address(x86::Instruction const& insn) const;

  // ---- memory through segment and paging, with CPL's rights. All throw Fault. T is u8 to u128 or any
  // trivially copyable type of up to 64 bytes; modify: u8 to u64, and u128 at aligned addresses. ----
  template <typename T>
  T read(x86::SegmentRegister segment, u64 offset);
  template <typename T>
  void write(x86::SegmentRegister segment, u64 offset, T value);
  /// Read, compute, write back: `f(T old) -> T`. The write is checked before the read. Atomic against all vCPUs
  /// when `locked` (f may run several times then). Returns the old value.
  template <typename T, typename F>
  T modify(x86::SegmentRegister segment, u64 offset, bool locked, F&& f);
  /// The host's address of guest memory that may be read right now without a fault, or null when read_bytes
  /// must find out. `length` is 1 to 4096. Good until the next access.
  void const* readable(x86::SegmentRegister segment, u64 offset, std::size_t length) const;
  /// The same for writing; null also in the page of the code that runs, where a store has to be noted.
  void* writable(x86::SegmentRegister segment, u64 offset, std::size_t length) const;
  /// `length` up to 4096. Nothing is written unless all of it can be.
  void read_bytes(x86::SegmentRegister segment, u64 offset, void* into, std::size_t length);
  void write_bytes(x86::SegmentRegister segment, u64 offset, void const* from, std::size_t length);
  /// Throws unless [offset, offset + length) may be written.
  void probe_write(x86::SegmentRegister segment, u64 offset, std::size_t length);
  /// The segment's part alone: checks limit, type and canonical form; returns the linear address.
  u64 linear(x86::SegmentRegister segment, u64 offset, std::size_t length, Access access);
  /// Outside of 64-bit mode: one more than the last offset that may be accessed; 0 when there is more to it.
  u64 end_of(x86::SegmentRegister segment, Access access) const;
  /// A bit per segment register: base 0, and no limit or type to check for reads and writes.
  u8 flat_segments() const { return unchecked_reads_ & unchecked_writes_; }

  // ---- memory by linear address; `supervisor` for descriptor tables, TSS and interrupt stacks ----
  template <typename T>
  T read_linear(u64 address, bool supervisor);
  template <typename T>
  void write_linear(u64 address, T value, bool supervisor);

  /// The host's copy of guest code at CS:RIP = linear address, and how many bytes of it lie in this page.
  /// Throws #PF. Null when the page is not RAM or ROM: then fetch byte by byte with fetch_mmio().
  struct CodeBytes {
    u8 const* host;
    u32 length;
  };
  CodeBytes code_at(u64 linear_rip);
  u8 fetch_mmio(u64 linear_rip);
  u64 code_address() const {
    return truncate_linear(base_[static_cast<u8>(x86::SegmentRegister::cs)] + state.rip);
  }

  // ---- stack: SS:(E/R)SP by stack_address_size(); size 2, 4, 8 ----
  void push(u64 value, u8 size);
  u64 pop(u8 size);              // moves RSP after a successful read
  u64 peek(u64 depth, u8 size);  // bytes above the top, without moving RSP

  MachineView& machine() { return machine_; }
  x86::CpuidModel const& model() const { return model_; }
  bool has(x86::Feature feature) const { return model_.has(feature); }
  VcpuId id() const { return id_; }
  ApicPort* apic{};

  /// Host TSC + machine_tsc_offset is the machine's TSC, which stands still while the machine is paused; the
  /// guest sees that plus state.tsc_offset. At machine TSC clock_tsc the machine's clock stood at clock_ns:
  /// kvmclock's common base. Set by the engine at each start.
  u64 machine_tsc_offset{}, clock_tsc{}, clock_ns{};

  /// Set by any thread, polled at block boundaries.
  std::atomic<u32> attention{};
  void request_attention(u32 bits) {
    attention.fetch_or(bits, std::memory_order_release);
    poll_words.demand();
  }

  /// Where translated code looks whether attention is wanted; none while there is none. Set before threads run.
  struct PollWords {
    u32* poll{};       // not 0: leave at the next backward jump
    u32* jump_mask{};  // 0: leave at the next indirect jump
    void demand() const {
      if (poll == nullptr) return;
      // SOUND: plain words that the vCPU's thread reads in translated code; it takes them back with a full
      // barrier.
      __atomic_store_n(poll, 1, __ATOMIC_RELEASE);
      __atomic_store_n(jump_mask, 0, __ATOMIC_RELEASE);
    }
  };
  PollWords poll_words;

  /// Call when RFLAGS.IF has gone from 0 to 1: leaves the run loop at the next boundary if something waits.
  void interrupts_enabled() {
    if (apic != nullptr && apic->interrupt_pending()) request_attention(attention_events);
  }

  /// From here on stores into what has been translated are told. Before the vCPU runs; null ends it.
  void follow_code(CodePages* pages, Rendezvous::Member* member);
  /// A store into guest memory that no write tag has allowed is done.
  void note_slow_store(std::byte const* host, u64 length) {
    if (code_pages_ != nullptr) code_pages_->stored(host, length, member_);
  }
  /// Stores into these chunks of a page are noticed from here on (CodePages::watch).
  void watch_code(std::byte* page, u64 chunks) {
    if (code_pages_ != nullptr) code_pages_->watch(page, chunks, member_);
  }
  /// Around what may block, a device or a lock: nobody waits for this vCPU meanwhile.
  class OutOfCode {
   public:
    explicit OutOfCode(Cpu& cpu) : member_{cpu.member_} {
      if (member_ != nullptr && !member_->in_code()) member_ = nullptr;
      if (member_ != nullptr) member_->leave_code();
    }
    ~OutOfCode() {
      if (member_ != nullptr) member_->enter_code();
    }
    OutOfCode(OutOfCode const&) = delete;
    OutOfCode& operator=(OutOfCode const&) = delete;

   private:
    Rendezvous::Member* member_;
  };

  /// Host address of the code page being executed: a store into it ends the block (self-modifying code).
  std::byte* code_page_host{};
  bool code_written{};

  u64 instructions{};  // executed so far

 private:
  using SegmentRegister = x86::SegmentRegister;
  /// Where a slow access comes from: what a non-canonical address raises, and whose rights it has.
  struct Origin {
    Rights rights{};
    bool stack{};
  };
  struct Place {  // one page's part of an access
    u64 physical{};
    std::byte* host{};
    u32 length{};
    bool watched{};  // a store there has to be told
  };
  struct Places {
    Place first, second;  // second.length is 0 unless the access crosses a page
  };

  static constexpr u64 page_mask{~u64{0xfff}};
  Origin origin(SegmentRegister segment) const { return {rights_, segment == SegmentRegister::ss}; }
  u64 truncate_linear(u64 linear) const { return code64() ? linear : static_cast<u32>(linear); }
  bool unchecked(SegmentRegister segment, u8 mask) const { return mask >> static_cast<u8>(segment) & 1; }
  void note_store(std::byte* host) {
    // SOUND: compares addresses only.
    auto const distance = reinterpret_cast<u64>(host) - reinterpret_cast<u64>(code_page_host);
    if (distance < page_size) [[unlikely]]
      code_written = true;
  }

  void check_alignment(u64 linear, std::size_t size);
  u64 checked_linear(SegmentRegister segment, u64 offset, std::size_t length, Access access);
  Places locate(u64 linear, u32 length, Access access, Origin origin);
  void read_slow(u64 linear, void* into, u32 length, Origin origin);
  void write_slow(u64 linear, void const* from, u32 length, Origin origin);
  void read_place(Place const& place, std::byte* into);
  void write_place(Place const& place, std::byte const* from);
  u64 read_device(u64 physical, u8 width);
  void write_device(u64 physical, u8 width, u64 value);
  // What is not a hit of an unchecked access; out of line, so that the hits stay small.
  template <typename T>
  T read_missed(SegmentRegister segment, u64 offset);
  template <typename T>
  void write_missed(SegmentRegister segment, u64 offset, T value);
  template <typename T, typename F>
  T modify_missed(SegmentRegister segment, u64 offset, bool locked, F& f);
  template <typename T>
  T read_at(u64 linear, Origin origin);
  template <typename T>
  void write_at(u64 linear, T value, Origin origin);
  template <typename T, typename F>
  static T modify_host(std::byte* host, bool locked, F& f);

  VcpuId id_;
  MachineView& machine_;
  x86::CpuidModel const& model_;
  std::array<u64, 6> base_{};                  // what is added to an offset in this mode
  u8 unchecked_reads_{}, unchecked_writes_{};  // a bit per segment register: flat, no limit or type to check
  Rights rights_{};                            // of CPL and RFLAGS.AC, for data
  CodePages* code_pages_{};
  Rendezvous::Member* member_{};
  bool alignment_checks_{};
  x86::CodeSize code_size_{};
  bool protected_mode_{};
  u8 cpl_{};
  u8 stack_address_size_{2};
};

}  // namespace vireo::engine::soft

#include "engine/soft/interp/cpu_memory.h"
