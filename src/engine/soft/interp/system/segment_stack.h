#pragma once

#include "engine/soft/interp/system/descriptor.h"

namespace vireo::engine::soft {

/// A stack under construction: writes go to memory, but SS and RSP of the CPU change only with commit(), so
/// that a fault on the way leaves the state as it was. Also walks a stack that is being popped.
class PendingStack {
 public:
  /// The CPU's own stack.
  explicit PendingStack(Cpu& cpu)
      : cpu_{&cpu},
        segment_{cpu.state.ss()},
        pointer_{cpu.state.gpr[x86::rsp]},
        cpl_{cpu.cpl()},
        flat_{cpu.code64()},
        address_size_{cpu.stack_address_size()} {}
  /// Another one, for `cpl`. `long_mode`: no limit, 64-bit pointer. Faults carry `error`.
  PendingStack(Cpu& cpu, Segment const& segment, u64 pointer, u8 cpl, bool long_mode, u32 error)
      : cpu_{&cpu},
        segment_{segment},
        pointer_{pointer},
        cpl_{cpl},
        flat_{long_mode},
        address_size_{long_mode       ? u8{8}
                      : segment.big() ? u8{4}
                                      : u8{2}},
        error_{error} {}

  void push(u64 value, u8 size) {
    auto const top = masked(pointer_ - size);
    auto const at = address(top, size);
    auto const implicit = cpl_ != 3;
    if (size == 8)
      cpu_->write_linear<u64>(at, value, implicit);
    else if (size == 4)
      cpu_->write_linear<u32>(at, static_cast<u32>(value), implicit);
    else
      cpu_->write_linear<u16>(at, static_cast<u16>(value), implicit);
    set_pointer(top);
  }
  u64 pop(u8 size) {
    auto const at = address(masked(pointer_), size);
    auto const value = size == 8   ? cpu_->read_linear<u64>(at, false)
                       : size == 4 ? u64{cpu_->read_linear<u32>(at, false)}
                                   : u64{cpu_->read_linear<u16>(at, false)};
    set_pointer(masked(pointer_ + size));
    return value;
  }
  void skip(u64 bytes) { set_pointer(masked(pointer_ + bytes)); }

  u64 pointer() const { return pointer_; }
  /// Does not call update_mode().
  void commit() const {
    cpu_->state.ss() = segment_;
    cpu_->state.gpr[x86::rsp] = pointer_;
  }

 private:
  u64 masked(u64 pointer) const {
    return address_size_ == 8   ? pointer
           : address_size_ == 4 ? static_cast<u32>(pointer)
                                : static_cast<u16>(pointer);
  }
  void set_pointer(u64 top) { pointer_ = address_size_ == 2 ? (pointer_ & ~u64{0xffff}) | top : top; }
  u64 address(u64 offset, u8 size) const {
    if (flat_) {
      if (!canonical_address(offset) || !canonical_address(offset + size - 1)) raise(x86::Vector::ss, error_);
      return offset;
    }
    auto const last = offset + size - 1;
    auto const expands_down = (segment_.attributes & 0x1c) == 0x14;
    auto const top = segment_.big() ? u64{0xffffffff} : u64{0xffff};
    if (segment_.unusable() && cpu_->protected_mode()) raise(x86::Vector::ss, error_);
    auto const inside = expands_down ? offset > segment_.limit && last <= top : last <= segment_.limit;
    if (!inside) raise(x86::Vector::ss, error_);
    return static_cast<u32>(segment_.base + offset);
  }

  Cpu* cpu_;
  Segment segment_;
  u64 pointer_;
  u8 cpl_;
  bool flat_;
  u8 address_size_;
  u32 error_{};
};

}  // namespace vireo::engine::soft
