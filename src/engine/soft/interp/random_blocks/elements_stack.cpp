#include "engine/soft/interp/random_blocks/elements.h"
#include "vocab/numbers.h"

namespace vireo::engine::soft::differential {
namespace {

constexpr u8 pushf{0x9c}, popf{0x9d};

}  // namespace

void Elements::push_one(u8 width) {
  switch (random_.below(width == 2 ? 2 : 5)) {
    case 0: return a_.opcode_register(0x50, any_register(), width == 2 ? 2 : 4);
    case 1: {
      auto const at = place(width, false);
      return a_.modrm({.opcode = 0xff, .width = width == 8 ? u8{4} : width}, slash(6), at);
    }
    case 2: a_.bytes({0x6a}); return a_.number(random_.number(), 1);
    case 3: a_.bytes({0x68}); return a_.number(random_.number(), 4);
    default: return a_.opcode_register(0x50, x86::rsp, 4);
  }
}

void Elements::pop_one(u8 width) {
  switch (random_.below(4)) {
    case 0: {
      auto const at = random_.one_in(3)
                          ? Place{.base = x86::rsp, .displacement = -8 * static_cast<i32>(random_.below(8))}
                          : place(width, true);
      return a_.modrm({.opcode = 0x8f, .width = width == 8 ? u8{4} : width}, slash(0), at);
    }
    case 1:
      return a_.modrm({.opcode = 0x8d, .width = wide()}, {x86::rsp},
                      Place{.base = x86::rsp, .displacement = width});
    default: return a_.opcode_register(0x58, data_register(), width == 2 ? 2 : 4);
  }
}

void Elements::pushes_and_pops() {
  auto widths = std::array<u8, 6>{};
  auto const count = 1 + random_.below(widths.size());
  for (auto i = 0u; i < count; ++i) push_one(widths[i] = random_.one_in(8) ? u8{2} : wide());
  if (random_.one_in(2)) {
    auto const size = width();
    auto const at = Place{.base = x86::rsp, .displacement = static_cast<i32>(random_.below(count * 2))};
    arithmetic_on(at, size == 8 && widths[count - 1] == 2 ? u8{2} : u8{1});
  }
  for (auto i = count; i > 0; --i) pop_one(widths[i - 1]);
}

/// The stack moves to the border of two pages for a while.
void Elements::stack_elsewhere() {
  auto const saved = data_register();
  auto reserve = Reserved{reserved_, saved};
  a_.modrm({.opcode = 0x89, .width = wide()}, {x86::rsp}, Gpr{saved});
  auto const at_end = random_.one_in(3);  // behind it lies the page that is only for reading
  auto const distance = random_.below(14) * 4 + (random_.one_in(6) ? random_.below(8) : 0);
  auto const start = scratch_base + (at_end ? writable_bytes - distance : page_size - 0x18 + distance);
  if (random_.one_in(2))
    a_.mov_immediate(x86::rsp, start);
  else
    a_.modrm({.opcode = 0x8d, .width = wide()}, {x86::rsp}, Place{.displacement = static_cast<i32>(start)});
  auto const pushes = 1 + random_.below(5);
  for (auto i = 0u; i < pushes; ++i) push_one(random_.one_in(6) ? u8{2} : wide());
  if (!at_end)
    arithmetic_on({.base = x86::rsp, .displacement = static_cast<i32>(random_.below(48)) - 24}, wide());
  for (auto pops = random_.below(6); pops > 0; --pops) pop_one(random_.one_in(6) ? u8{2} : wide());
  a_.modrm({.opcode = 0x8b, .width = wide()}, {x86::rsp}, Gpr{saved});
}

void Elements::stack_pointer_as_operand() {
  auto const size = random_.one_in(3) ? u8{4} : wide();
  switch (random_.below(6)) {
    case 0: return a_.modrm({.opcode = 0x03, .width = size}, {data_register()}, Gpr{x86::rsp});
    case 1: {
      auto const at = place(size, true);
      return a_.modrm({.opcode = 0x89, .width = size}, {x86::rsp}, at);
    }
    case 2: {
      auto const index = data_register();
      return a_.modrm({.opcode = 0x8d, .width = size}, {data_register()},
                      Place{.base = x86::rsp, .index = index, .scale = 4, .displacement = 8});
    }
    case 3: {  // aligns it for a call
      auto const saved = data_register();
      auto reserve = Reserved{reserved_, saved};
      a_.modrm({.opcode = 0x89, .width = wide()}, {x86::rsp}, Gpr{saved});
      a_.modrm({.opcode = 0x83, .width = wide()}, slash(4), Gpr{x86::rsp});
      a_.bytes({0xf0});
      push_one(wide());
      a_.modrm({.opcode = 0x83, .width = wide()}, slash(5), Gpr{x86::rsp});
      a_.bytes({0x20});
      arithmetic_on({.base = x86::rsp, .displacement = static_cast<i32>(random_.below(0x18))}, width());
      return a_.modrm({.opcode = 0x89, .width = wide()}, {saved}, Gpr{x86::rsp});
    }
    case 4: {  // there and back
      auto const other = data_register();
      a_.modrm({.opcode = 0x87, .width = wide()}, {other}, Gpr{x86::rsp});
      return a_.modrm({.opcode = 0x87, .width = wide()}, {x86::rsp}, Gpr{other});
    }
    default: {
      a_.modrm({.opcode = 0x83, .width = wide()}, slash(7), Gpr{x86::rsp});  // CMP
      a_.bytes({static_cast<unsigned>(random_.below(256))});
      return use_condition();
    }
  }
}

/// PUSHF after flags were made, POPF before they are used; LAHF and SAHF. AF is defined where it is stored.
void Elements::flags_through_stack() {
  define_flags();
  if (random_.one_in(2)) {
    auto const at = place(4, true);
    a_.modrm({.opcode = 0x89, .width = 4}, {any_register()}, at);
  }
  switch (random_.below(4)) {
    case 0: a_.bytes({pushf}); return a_.opcode_register(0x58, data_register(), 4);
    case 1: {
      if (!is_data(x86::rax)) return;
      a_.bytes({0x9f});  // LAHF
      auto const at = Place{.displacement = static_cast<i32>(scratch_base + free_offset(0, 1))};
      return a_.modrm({.opcode = 0x88, .width = 1}, {x86::rax, true}, at);
    }
    case 2: {
      a_.bytes({pushf});
      a_.modrm({.opcode = 0x83, .width = 4}, slash(6), Place{.base = x86::rsp});  // XOR
      constexpr std::array<unsigned, 6> toggles{0x01, 0x04, 0x40, 0x45, 0x41, 0x05};
      a_.bytes({toggles[random_.below(toggles.size())]});
      a_.bytes({popf});
      return use_condition();
    }
    default:
      if (!is_data(x86::rax)) return;
      a_.bytes({0x9e});  // SAHF
      return use_condition();
  }
}

void Elements::string() {
  if (!is_data(x86::rsi) || !is_data(x86::rdi) || !is_data(x86::rcx) || !is_data(x86::rax)) return move();
  constexpr std::array<u8, 5> opcodes{0xa4, 0xaa, 0xac, 0xa6, 0xae};  // MOVS, STOS, LODS, CMPS, SCAS
  auto const opcode = opcodes[random_.below(opcodes.size())];
  auto const size = width();
  auto const repeats = !random_.one_in(4);
  auto const count = repeats ? random_.below(random_.one_in(6) ? 100 : 20) : 1;
  auto const span = (count + 1) * size;
  auto const backwards = random_.one_in(8);
  auto const offset = free_offset(backwards ? span : 0, span);
  auto const source =
      random_.one_in(3) ? free_offset(backwards ? span : 0, span) : offset - random_.below(24) + 8;
  a_.mov_immediate(x86::rsi, scratch_base + source);
  a_.mov_immediate(x86::rdi, scratch_base + offset);
  if (repeats) a_.mov_immediate(x86::rcx, count);
  if (backwards) a_.bytes({0xfd});
  if (repeats) a_.bytes({random_.one_in(2) ? 0xf2u : 0xf3u});
  if (code64() && random_.one_in(10)) a_.bytes({0x67});
  if (size == 2) a_.bytes({0x66});
  if (size == 8) a_.bytes({0x48});
  a_.bytes({size == 1 ? opcode : opcode + 1u});
  if (backwards) a_.bytes({0xfc});
}

}  // namespace vireo::engine::soft::differential
