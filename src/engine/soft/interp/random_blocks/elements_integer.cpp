#include "engine/soft/interp/random_blocks/elements.h"

namespace vireo::engine::soft::differential {
namespace {

constexpr u32 cmp{7};

u8 immediate_bytes(u8 width) { return width < 4 ? width : 4; }
u32 sized(u32 byte_opcode, u8 width) { return width == 1 ? byte_opcode : byte_opcode + 1; }

}  // namespace

/// ADD to CMP in all their forms.
void Elements::arithmetic() {
  auto const size = width();
  if (!random_.one_in(3)) {
    return arithmetic_on(place(size, random_.one_in(2)), size);
  }
  auto const operation = static_cast<u32>(random_.below(8));
  auto const high = random_.one_in(2) && size == 1;
  auto const to = register_of(size, true, high);
  if (random_.one_in(2)) {
    auto const from = register_of(size, false, high);
    return a_.modrm({.opcode = sized(operation * 8 + (random_.one_in(2) ? 0 : 2), size), .width = size}, from,
                    to);
  }
  auto const brief = size == 1 || random_.one_in(2);
  a_.modrm({.opcode = size == 1 ? 0x80u : brief ? 0x83u : 0x81u, .width = size}, slash(operation), to);
  a_.number(immediate(size), brief ? 1 : immediate_bytes(size));
}

void Elements::arithmetic_on(Place const& at, u8 size) {
  auto const operation = static_cast<u32>(random_.below(8));
  auto const high = !needs_rex(at);
  auto const lock = operation != cmp && random_.one_in(6);
  switch (random_.below(4)) {
    case 0:
      return a_.modrm({.opcode = sized(operation * 8, size), .width = size, .lock = lock},
                      register_of(size, false, high), at);
    case 1: {
      auto const brief = size == 1 || random_.one_in(2);
      auto const bytes = brief ? u8{1} : immediate_bytes(size);
      a_.modrm({.opcode = size == 1 ? 0x80u
                          : brief   ? 0x83u
                                    : 0x81u,
                .width = size,
                .lock = lock,
                .immediate_bytes = bytes},
               slash(operation), at);
      return a_.number(immediate(size), bytes);
    }
    default:
      return a_.modrm({.opcode = sized(operation * 8 + 2, size), .width = size}, register_of(size, true, high),
                      at);
  }
}

void Elements::move() {
  auto const size = width();
  switch (random_.below(10)) {
    case 0:
      return a_.modrm({.opcode = sized(0x8a, size), .width = size}, register_of(size, true),
                      register_of(size, false));
    case 1: return a_.mov_immediate(data_register(), code64() ? value() : static_cast<u32>(value()));
    case 2: {  // MOVZX, MOVSX
      auto const from_byte = random_.one_in(2);
      auto const at = place(from_byte ? 1 : 2, false);
      auto const opcode = 0x0fb6u + (from_byte ? 0 : 1) + (random_.one_in(2) ? 8 : 0);
      auto const to = size == 1 ? u8{4} : size;
      return a_.modrm({.opcode = opcode, .width = to, .byte_operand = from_byte}, {data_register()}, at);
    }
    case 3: {
      auto const to = size == 1 ? u8{4} : size;
      auto const from = byte_register(false, to == 4 && random_.one_in(2));
      auto const reg = from.high ? Gpr{byte_register(true, true).number} : Gpr{data_register()};
      return a_.modrm({.opcode = random_.one_in(2) ? 0x0fb6u : 0x0fbeu, .width = to, .byte_operand = true}, reg,
                      from);
    }
    case 4: {
      auto const at = place(4, false);
      return a_.modrm({.opcode = code64() ? 0x63u : 0x8bu, .width = wide()}, {data_register()}, at);
    }
    case 5: {
      auto at = place(1, false);
      at.segment = 0;
      return a_.modrm({.opcode = 0x8d, .width = random_.one_in(2) ? wide() : u8{4}}, {data_register()}, at);
    }
    case 6: {
      auto const at = place(size, true);
      auto const bytes = immediate_bytes(size);
      a_.modrm({.opcode = sized(0xc6, size), .width = size, .immediate_bytes = bytes}, slash(0), at);
      return a_.number(immediate(size), bytes);
    }
    case 7: {
      auto const at = place(size, true);
      return a_.modrm({.opcode = sized(0x88, size), .width = size}, register_of(size, false, !needs_rex(at)),
                      at);
    }
    default: {
      auto const at = place(size, false);
      return a_.modrm({.opcode = sized(0x8a, size), .width = size}, register_of(size, true, !needs_rex(at)),
                      at);
    }
  }
}

/// INC, DEC, NOT, NEG.
void Elements::one_operand() {
  auto const size = width();
  auto const group = random_.one_in(2) ? 0xfeu : 0xf6u;
  auto const operation = static_cast<u8>(random_.below(2) + (group == 0xf6 ? 2 : 0));
  auto const form = Form{.opcode = sized(group, size), .width = size};
  if (random_.one_in(2)) return a_.modrm(form, slash(operation), register_of(size, true, size == 1));
  auto const at = place(size, true);
  auto locked = form;
  locked.lock = random_.one_in(4);
  a_.modrm(locked, slash(operation), at);
}

void Elements::shift() {
  auto const size = width();
  auto const operation = static_cast<u8>(random_.below(8));
  auto const in_memory = random_.one_in(2);
  auto const at = in_memory ? place(size, true) : Place{};
  auto const reg = register_of(size, true, size == 1);
  auto const emit = [&](Form const& form) {
    if (in_memory)
      a_.modrm(form, slash(operation), at);
    else
      a_.modrm(form, slash(operation), reg);
  };
  switch (random_.below(3)) {
    case 0: emit({.opcode = sized(0xd0, size), .width = size}); return use_condition();
    case 1:
      emit({.opcode = sized(0xc0, size), .width = size, .immediate_bytes = 1});
      a_.number(random_.below(40), 1);
      break;
    default: emit({.opcode = sized(0xd2, size), .width = size}); break;
  }
  if (random_.one_in(3)) a_.modrm({.opcode = 0x11, .width = 4}, {any_register()}, Gpr{data_register()});  // ADC
  define_flags();
}

void Elements::multiply_or_divide() {
  auto const size = width();
  auto const operation = static_cast<u8>(4 + random_.below(4));
  auto const divides = operation >= 6;
  if (random_.one_in(3) && size > 1) {
    auto const at = place(size, false);
    a_.modrm({.opcode = 0x0faf, .width = size}, {data_register()}, at);
    return define_flags();
  }
  if (!is_data(x86::rax) || !is_data(x86::rdx)) return move();
  if (divides && !random_.one_in(20)) {
    a_.mov_immediate(x86::rdx, random_.below(3));
    if (size == 1) a_.mov_immediate(x86::rax, random_.below(0x80));
  }
  auto const form = Form{.opcode = sized(0xf6, size), .width = size};
  if (divides) {
    auto const by = any_register();
    auto const divisor = size == 1 ? Gpr{x86::rcx} : Gpr{by == x86::rax || by == x86::rdx ? u8{x86::rcx} : by};
    if (is_data(divisor.number)) {  // large enough for the quotient to fit
      a_.modrm({.opcode = 0x81, .width = wide()}, slash(1), divisor);
      a_.number(size == 1 ? 0x40 : 0x1040, 4);
      if (size == 8 && random_.one_in(2)) a_.modrm({.opcode = 0xd1, .width = 8}, slash(4), divisor);
    }
    if (operation == 7 && !random_.one_in(20)) a_.mov_immediate(x86::rdx, 0);
    a_.modrm(form, slash(operation), divisor);
    return define_flags();
  }
  auto const at = place(size, false);
  a_.modrm(form, slash(operation), at);
  define_flags();
}

/// Flags that live across loads and stores.
void Elements::carry_chain() {
  auto const size = random_.one_in(4) ? width() : wide();
  auto const subtract = random_.one_in(2);
  auto const from = pointers_[random_.below(2)];
  auto const to = pointers_[random_.below(2)];
  auto const words = 2 + random_.below(3);
  auto const sum = register_of(size, true);
  auto const offset = static_cast<i32>(random_.below(0x60)) - 0x30;
  auto reserve = Reserved{reserved_, sum.number};
  for (auto word = 0u; word < words; ++word) {
    auto const at = offset + static_cast<i32>(word * size);
    auto const with_carry = word > 0 || random_.one_in(4);
    auto const opcode = subtract ? (with_carry ? 0x1au : 0x2au) : (with_carry ? 0x12u : 0x02u);
    a_.modrm({.opcode = sized(0x8a, size), .width = size}, sum, Place{.base = from.reg, .displacement = at});
    a_.modrm({.opcode = sized(opcode, size), .width = size}, sum, Place{.base = to.reg, .displacement = at});
    a_.modrm({.opcode = sized(0x88, size), .width = size}, sum, Place{.base = to.reg, .displacement = at});
  }
  use_condition();
}

/// CMP or TEST, moves between, then what reads the flags.
void Elements::compare_then_use() {
  auto const size = width();
  if (random_.one_in(2)) {
    auto const at = place(size, false);
    auto const compare = random_.one_in(2);
    a_.modrm({.opcode = sized(compare ? 0x38 : 0x84, size), .width = size}, register_of(size, false), at);
  } else {
    a_.modrm({.opcode = sized(0x38, size), .width = size}, register_of(size, false), register_of(size, false));
  }
  for (auto moves = random_.below(3); moves > 0; --moves) {
    auto const moved = width();
    auto const store = random_.one_in(2);
    auto const at = place(moved, store);
    a_.modrm({.opcode = sized(store ? 0x88 : 0x8a, moved), .width = moved},
             register_of(moved, !store, !needs_rex(at)), at);
  }
  use_condition();
}

void Elements::use_condition() {
  auto const which = u32{condition()};
  auto const size = width();
  switch (random_.below(6)) {
    case 0: {
      auto const at = place(1, true);
      return a_.modrm({.opcode = 0x0f90 + which, .width = 1}, slash(0), at);
    }
    case 1:
      return a_.modrm({.opcode = 0x0f90 + which, .width = 1}, slash(0), byte_register(true, random_.one_in(2)));
    case 2: {
      auto const read = size == 1 ? u8{4} : size;
      auto const at = place(read, false);
      return a_.modrm({.opcode = 0x0f40 + which, .width = read}, {data_register()}, at);
    }
    case 3:
      return a_.modrm({.opcode = 0x0f40 + which, .width = size == 1 ? u8{4} : size}, {data_register()},
                      Gpr{any_register()});
    case 4: {
      auto const over = a_.label();
      a_.jump_if(static_cast<u8>(which), over, true);
      move();
      return a_.bind(over);
    }
    default: return;
  }
}

void Elements::bits() {
  auto const size = random_.one_in(3) ? u8{2} : random_.one_in(2) ? wide() : u8{4};
  auto const operation = static_cast<u32>(random_.below(4));
  if (random_.one_in(2)) {
    auto const at = place(size, operation != 0);
    a_.modrm(
        {.opcode = 0x0fba, .width = size, .lock = operation != 0 && random_.one_in(4), .immediate_bytes = 1},
        slash(4 + operation), at);
    a_.number(random_.below(256), 1);
  } else {  // a bit offset, which reaches beyond the operand
    auto const at = place_at_pointer(size, 1);
    auto const offset = data_register();
    a_.mov_immediate(offset, random_.one_in(2) || !code64() ? random_.below(300) : u64{0} - random_.below(300));
    a_.modrm({.opcode = 0x0fa3 + operation * 8, .width = size, .lock = operation != 0 && random_.one_in(4)},
             {offset}, at);
  }
  if (random_.one_in(2))
    a_.modrm({.opcode = 0x0f92, .width = 1}, slash(0), byte_register(true, false));  // SETC
  define_flags();
}

/// XCHG, XADD, CMPXCHG and their wide forms.
void Elements::exchange() {
  auto const size = width();
  auto const lock = random_.one_in(2);
  switch (random_.below(5)) {
    case 0: {
      auto const at = place(size, true);
      return a_.modrm({.opcode = sized(0x86, size), .width = size}, register_of(size, true, !needs_rex(at)),
                      at);
    }
    case 1:
      return a_.modrm({.opcode = sized(0x86, size), .width = size}, register_of(size, true),
                      register_of(size, true));
    case 2: {
      auto const at = place(size, true);
      return a_.modrm({.opcode = sized(0x0fc0, size), .width = size, .lock = lock},
                      register_of(size, true, !needs_rex(at)), at);
    }
    case 3: {
      if (!is_data(x86::rax)) return move();
      auto const at = place(size, true);
      if (random_.one_in(2) && at.index != x86::rax && at.base != x86::rax)
        a_.modrm({.opcode = sized(0x8a, size), .width = size}, {x86::rax}, at);  // so that it may succeed
      return a_.modrm({.opcode = sized(0x0fb0, size), .width = size, .lock = lock}, register_of(size, false),
                      at);
    }
    default: {
      if (!is_data(x86::rax) || !is_data(x86::rdx)) return move();
      auto const sixteen = code64() && random_.one_in(2);
      auto const at = place_at_pointer(sixteen ? 16 : 8, sixteen ? 16 : 1);
      return a_.modrm({.opcode = 0x0fc7, .width = sixteen ? u8{8} : u8{4}, .lock = lock}, slash(1), at);
    }
  }
}

/// Fields of one structure, through any register.
void Elements::one_base_many_offsets() {
  auto const base = data_register();
  auto const offset = free_offset(0x40, 0x40);
  a_.mov_immediate(base, scratch_base + offset);
  auto reserve = Reserved{reserved_, base};
  for (auto fields = 2 + random_.below(4); fields > 0; --fields) {
    auto const size = width();
    auto const at = Place{.base = base, .displacement = static_cast<i32>(random_.below(0x70)) - 0x38};
    if (random_.one_in(2)) {
      arithmetic_on(at, size);
    } else {
      auto const store = random_.one_in(2);
      a_.modrm({.opcode = sized(store ? 0x88 : 0x8a, size), .width = size},
               register_of(size, !store, !needs_rex(at)), at);
    }
  }
}

/// All six arithmetic flags.
void Elements::define_flags() {
  auto const size = width();
  constexpr std::array<u32, 3> opcodes{0x38, 0x00, 0x28};
  auto const which = random_.below(opcodes.size());
  a_.modrm({.opcode = sized(opcodes[which], size), .width = size}, register_of(size, false),
           register_of(size, which != 0));
}

}  // namespace vireo::engine::soft::differential
