#include "engine/soft/interp/vector/x87_environment.h"

#include <cstring>

#include "engine/soft/interp/vector/enables.h"
#include "engine/soft/interp/vector/save.h"

namespace vireo::engine::soft::vector {
namespace {

using x86::Instruction;
using x86::Operation;

constexpr std::size_t register_bytes{8 * 10};
constexpr unsigned tag_valid{0}, tag_zero{1}, tag_special{2}, tag_empty{3};

unsigned top_of(ExtendedState const& state) { return (state.fsw >> 11) & 7u; }

/// The tag of a register in use, from its contents (SDM vol. 1, 8.1.7).
unsigned tag_of(u8 const* bytes) {
  auto const mantissa = load_le<u64>(bytes);
  auto const exponent = load_le<u16>(bytes + 8) & 0x7fffu;
  if (exponent == 0 && mantissa == 0) return tag_zero;
  if (exponent == 0 || exponent == 0x7fff || (mantissa >> 63) == 0) return tag_special;
  return tag_valid;
}

u16 full_tag_word(ExtendedState const& state) {
  auto word = 0u;
  for (auto physical = 0u; physical < 8; physical++) {
    auto const used = (state.ftw >> physical & 1) != 0;
    auto const* const contents = state.st[(physical - top_of(state)) & 7].bytes;
    word |= (used ? tag_of(contents) : tag_empty) << (2 * physical);
  }
  return static_cast<u16>(word);
}

u8 abridged_tags(u16 word) {
  auto tags = 0u;
  for (auto physical = 0u; physical < 8; physical++) {
    if ((word >> (2 * physical) & 3u) != tag_empty) tags |= 1u << physical;
  }
  return static_cast<u8>(tags);
}

/// The four layouts of figures 8-9 to 8-12 (SDM vol. 1, 8.1.10).
struct Layout {
  bool wide;            // 32-bit fields
  bool protected_mode;  // selectors beside offsets; else linear addresses
  std::size_t size() const { return wide ? 28 : 14; }
};
Layout layout_of(Cpu const& cpu, Instruction const& insn) {
  return {insn.operand_size != 2, cpu.protected_mode()};
}

using Buffer = std::array<u8, 28 + register_bytes>;

/// A field by number: 16 bits each in the short layout, 32 in the long one with the upper half of `filler`.
void put(Buffer& buffer, Layout layout, std::size_t number, u32 value, u32 filler = 0) {
  if (layout.wide)
    store_le<u32>(&buffer[number * 4], value | filler);
  else
    store_le<u16>(&buffer[number * 2], static_cast<u16>(value));
}
u32 get(Buffer const& buffer, Layout layout, std::size_t number) {
  return layout.wide ? load_le<u32>(&buffer[number * 4]) : load_le<u16>(&buffer[number * 2]);
}

void write_environment(ExtendedState const& state, Layout layout, Buffer& buffer) {
  constexpr u32 ones{0xffff0000};
  put(buffer, layout, 0, state.fcw, ones);
  put(buffer, layout, 1, state.fsw, ones);
  put(buffer, layout, 2, full_tag_word(state), ones);
  auto const ip = static_cast<u32>(state.fip), dp = static_cast<u32>(state.fdp);
  if (layout.protected_mode) {  // FCS and FDS are deprecated: zero
    put(buffer, layout, 3, ip);
    put(buffer, layout, 4, layout.wide ? u32{state.fop} << 16 : 0);
    put(buffer, layout, 5, dp);
    put(buffer, layout, 6, 0, ones);
    return;
  }
  constexpr auto high_shift = 12;
  put(buffer, layout, 3, ip & 0xffff);
  put(buffer, layout, 4, ((layout.wide ? ip >> 16 : ip >> 16 & 0xf) << high_shift) | state.fop);
  put(buffer, layout, 5, dp & 0xffff);
  put(buffer, layout, 6, (layout.wide ? dp >> 16 : dp >> 16 & 0xf) << high_shift);
}

void read_environment(ExtendedState& state, Layout layout, Buffer const& buffer) {
  state.fcw = normalised_fcw(static_cast<u16>(get(buffer, layout, 0)));
  state.fsw = normalised_fsw(static_cast<u16>(get(buffer, layout, 1)), state.fcw);
  state.ftw = abridged_tags(static_cast<u16>(get(buffer, layout, 2)));
  auto const ip = get(buffer, layout, 3), fourth = get(buffer, layout, 4);
  auto const dp = get(buffer, layout, 5), sixth = get(buffer, layout, 6);
  if (layout.protected_mode) {
    state.fip = ip;
    state.fop = layout.wide ? static_cast<u16>(fourth >> 16 & 0x7ff) : u16{0};
    state.fdp = dp;
    return;
  }
  auto const high_mask = layout.wide ? 0xffffu : 0xfu;
  state.fip = (ip & 0xffff) | (fourth >> 12 & high_mask) << 16;
  state.fop = static_cast<u16>(fourth & 0x7ff);
  state.fdp = (dp & 0xffff) | (sixth >> 12 & high_mask) << 16;
}

void fnstenv(Cpu& cpu, Instruction const& insn, void const*) {
  require_x87(cpu);
  auto const layout = layout_of(cpu, insn);
  auto buffer = Buffer{};
  write_environment(cpu.state.extended, layout, buffer);
  cpu.write_bytes(insn.memory.segment, cpu.effective_address(insn), buffer.data(), layout.size());
  cpu.state.extended.fcw |= 0x3f;  // masks all exceptions
  cpu.state.extended.fsw = normalised_fsw(cpu.state.extended.fsw, cpu.state.extended.fcw);
}

void fldenv(Cpu& cpu, Instruction const& insn, void const*) {
  require_x87(cpu);
  require_no_x87_exception(cpu);
  auto const layout = layout_of(cpu, insn);
  auto buffer = Buffer{};
  cpu.read_bytes(insn.memory.segment, cpu.effective_address(insn), buffer.data(), layout.size());
  auto& state = cpu.state.extended;
  auto const before = top_of(state);
  read_environment(state, layout, buffer);
  rotate_stack(state, before);
}

void fnsave(Cpu& cpu, Instruction const& insn, void const*) {
  require_x87(cpu);
  auto const layout = layout_of(cpu, insn);
  auto buffer = Buffer{};
  auto& state = cpu.state.extended;
  write_environment(state, layout, buffer);
  for (std::size_t i = 0; i < 8; i++) std::memcpy(&buffer[layout.size() + 10 * i], state.st[i].bytes, 10);
  cpu.write_bytes(insn.memory.segment, cpu.effective_address(insn), buffer.data(),
                  layout.size() + register_bytes);
  reset_control(state);
}

void frstor(Cpu& cpu, Instruction const& insn, void const*) {
  require_x87(cpu);
  require_no_x87_exception(cpu);
  auto const layout = layout_of(cpu, insn);
  auto buffer = Buffer{};
  cpu.read_bytes(insn.memory.segment, cpu.effective_address(insn), buffer.data(),
                 layout.size() + register_bytes);
  auto& state = cpu.state.extended;
  read_environment(state, layout, buffer);
  for (std::size_t i = 0; i < 8; i++) {
    state.st[i] = {};
    std::memcpy(state.st[i].bytes, &buffer[layout.size() + 10 * i], 10);
  }
}

}  // namespace

void set_top(ExtendedState& state, unsigned top) {
  auto const before = top_of(state);
  state.fsw = static_cast<u16>((state.fsw & ~0x3800u) | top << 11);
  rotate_stack(state, before);
}

void rotate_stack(ExtendedState& state, unsigned previous_top) {
  auto const distance = (top_of(state) - previous_top) & 7;
  if (distance == 0) return;
  ExtendedState const copy{state};
  for (auto i = 0u; i < 8; i++) state.st[i] = copy.st[(i + distance) & 7];
}

void reset_control(ExtendedState& state) {
  set_top(state, 0);
  state.fcw = 0x37f;
  state.fsw = 0;
  state.ftw = 0;
  state.fop = 0;
  state.fip = state.fdp = 0;
}

Lowered lower_x87_environment(Instruction const& insn) {
  switch (insn.operation) {
    case Operation::fldenv: return {.handler = fldenv};
    case Operation::fnstenv: return {.handler = fnstenv};
    case Operation::fnsave: return {.handler = fnsave};
    default: return {.handler = frstor};
  }
}

}  // namespace vireo::engine::soft::vector
