#include "engine/soft/translate/trampolines.h"

#include "engine/soft/translate/code_cache.h"
#include "engine/soft/translate/tlb_code.h"
#include "x86/registers.h"

namespace vireo::engine::soft::translate {
namespace {

constexpr u32 room{8192};
constexpr std::array saved_by_callee{Reg::rbx, Reg::rbp, Reg::r12, Reg::r13, Reg::r14, Reg::r15};
// What a C++ function may change of the guest's registers.
constexpr std::array clobbered{Reg::rax, Reg::rcx, Reg::rdx, Reg::rsi, Reg::rdi, Reg::r8, guest_stack_pointer};
static_assert(sizeof(SavedRegisters) == clobbered.size() * 8);  // pushed from the last to the first

Mem guest_field(Reg base, u8 reg) { return {.base = base, .disp = reg * 8}; }

class Writer {
 public:
  Writer(Emitter& out, RefillFunction on_miss, bool avx) : out_{out}, refill_{on_miss}, avx_{avx} {}

  void enter() {
    for (auto const reg : saved_by_callee) out_.push(reg);
    out_.store(Width::q, {.base = Reg::rdi, .disp = offsetof(Context, host_stack)}, Reg::rsp);
    out_.mov(Width::q, Reg::rsp, Reg::rdi);
    out_.load(Width::q, scratch, VIREO_CONTEXT(guest));
    for (auto reg = u8{9}; reg <= 11; ++reg) {
      out_.load(Width::q, second_scratch, guest_field(scratch, reg));
      out_.store(Width::q, home_of(reg), second_scratch);
    }
    out_.load(Width::q, Reg::rax, VIREO_CONTEXT(entry_flags));
    out_.alu_imm(Alu::add, Width::b, Reg::rax, 0x7f);
    out_.sahf();
    for (auto reg = u8{0}; reg < 16; ++reg) {
      if (keeps_its_register(reg)) out_.load(Width::q, static_cast<Reg>(reg), guest_field(scratch, reg));
    }
    out_.load(Width::q, guest_stack_pointer, guest_field(scratch, x86::rsp));
    out_.jmp(VIREO_CONTEXT(target));
  }

  /// From translated code: r11 = site, r10 = address; flags in RFLAGS or saved.
  void exit_common() {
    out_.store(Width::q, VIREO_CONTEXT(address), scratch);
    out_.store(Width::d, VIREO_CONTEXT(site), second_scratch);
    out_.load(Width::q, scratch, VIREO_CONTEXT(guest));
    for (auto reg = u8{0}; reg < 16; ++reg) {
      if (keeps_its_register(reg)) out_.store(Width::q, guest_field(scratch, reg), static_cast<Reg>(reg));
    }
    out_.store(Width::q, guest_field(scratch, x86::rsp), guest_stack_pointer);
    for (auto reg = u8{9}; reg <= 11; ++reg) {
      out_.load(Width::q, second_scratch, home_of(reg));
      out_.store(Width::q, guest_field(scratch, reg), second_scratch);
    }
    out_.pushfq();
    out_.pop(Reg::rax);
    out_.store(Width::q, VIREO_CONTEXT(flags), Reg::rax);
    auto kept = Label{};
    out_.alu_imm(Alu::cmp, Width::d, VIREO_CONTEXT(vectors), 0);
    out_.jcc(Cond::e, kept);
    out_.load(Width::q, scratch, VIREO_CONTEXT(extended));
    vector_state(4, 0);
    u8 const ldmxcsr[]{0x0f, 0xae, 0x94, 0x24};  // [rsp + disp32]
    out_.bytes(ldmxcsr, sizeof ldmxcsr);
    out_.dword(offsetof(Context, default_mxcsr));
    u8 const fninit[]{0xdb, 0xe3};
    out_.bytes(fninit, sizeof fninit);
    if (avx_) {
      u8 const vzeroupper[]{0xc5, 0xf8, 0x77};
      out_.bytes(vzeroupper, sizeof vzeroupper);
    }
    out_.store_imm(Width::d, VIREO_CONTEXT(vectors), 0);
    out_.bind(kept);
    out_.load(Width::d, Reg::rax, VIREO_CONTEXT(kind));
    out_.load(Width::q, Reg::rsp, VIREO_CONTEXT(host_stack));
    for (auto i = saved_by_callee.size(); i-- > 0;) out_.pop(saved_by_callee[i]);
    out_.ret();
  }

  void exit(ExitKind kind, Label& common) {
    out_.store_imm(Width::d, VIREO_CONTEXT(kind), static_cast<i32>(kind));
    out_.jmp(common);
  }

  /// r11 becomes the distance, r10 stays; leaves when there is none.
  void refill(u8 const* access_exit) {
    call_function(refill_);
    auto missed = Label{};
    out_.test_imm(Width::b, Reg::rax, no_distance);
    out_.pop(scratch);
    out_.pop(second_scratch);
    out_.jcc(Cond::ne, missed);
    out_.mov(Width::q, second_scratch, Reg::rax);
    pop_registers();
    out_.ret();
    out_.bind(missed);
    pop_registers();
    out_.alu_imm(Alu::or_, Width::q, Reg::rsp, 0xff);
    out_.lea(Width::q, Reg::rsp, {.base = Reg::rsp, .disp = 1});
    out_.jmp(access_exit);
  }

  /// The same, but ZF says whether there is one.
  void refill_group() {
    call_function(refill_);
    out_.test_imm(Width::b, Reg::rax, no_distance);
    out_.pop(scratch);
    out_.pop(second_scratch);
    out_.mov(Width::q, second_scratch, Reg::rax);
    pop_registers();
    out_.ret();
  }

  void stack_page(bool write) {
    auto const tag = TlbCode::tag(write), distance = TlbCode::distance(write);
    auto missed = Label{};
    TlbCode::index(out_, write);
    out_.alu(Alu::xor_, Width::q, scratch, tag);
    out_.alu_imm(Alu::cmp, Width::q, scratch, page_size - 1);
    out_.jcc(Cond::a, missed);
    out_.push(Reg::rax);
    out_.load(Width::q, Reg::rax, tag);
    out_.store(Width::q, TlbCode::stack_tag(write), Reg::rax);
    out_.alu(Alu::xor_, Width::q, scratch, Reg::rax);
    out_.load(Width::q, Reg::rax, distance);
    out_.store(Width::q, TlbCode::stack_distance(write), Reg::rax);
    out_.pop(Reg::rax);
    out_.alu(Alu::cmp, Width::d, second_scratch, second_scratch);
    out_.ret();
    out_.bind(missed);
    out_.alu(Alu::xor_, Width::q, scratch, tag);
    out_.alu_imm(Alu::or_, Width::d, second_scratch, 1);
    out_.ret();
  }

  void slow_path(RefillFunction function) {
    call_function(function);
    return_result();
  }

  void slow_path_with_registers(PrivilegeFunction function) {
    call_function(function, true);
    return_result();
  }

  /// r10 = what the function returned.
  void return_result() {
    out_.alu_imm(Alu::add, Width::q, Reg::rsp, 8);
    out_.mov(Width::q, scratch, Reg::rax);
    out_.pop(second_scratch);
    pop_registers();
    out_.ret();
  }

  /// With r10 as address and r11 as site; leaves r10, r11 and the registers on the stack, the result in RAX.
  template <typename Function>
  void call_function(Function function, bool with_registers = false) {
    push_registers();
    out_.push(second_scratch);
    out_.push(scratch);
    if (with_registers)
      out_.lea(Width::q, Reg::rsi, {.base = Reg::rsp, .disp = 16});
    else
      out_.mov(Width::q, Reg::rsi, scratch);
    out_.mov(Width::d, Reg::rdx, second_scratch);
    out_.mov(Width::q, Reg::rcx, Reg::rsp);
    out_.mov(Width::q, Reg::rdi, Reg::rsp);
    out_.alu_imm(Alu::or_, Width::q, Reg::rdi, 0xff);  // contexts end their stacks at a multiple of 256
    out_.alu_imm(Alu::add, Width::q, Reg::rdi, 1);
    out_.alu_imm(Alu::and_, Width::q, Reg::rsp, -16);
    out_.push(Reg::rcx);
    out_.push(Reg::rcx);
    // SOUND: a function's address, as a number in code.
    out_.mov_imm(Reg::rax, reinterpret_cast<u64>(function));
    out_.call(Reg::rax);
    out_.pop(Reg::rcx);
    out_.mov(Width::q, Reg::rsp, Reg::rcx);
  }

  void change_privilege(PrivilegeFunction function, u8 const* otherwise) {
    static_assert(clobbered.size() % 2 == 1);  // the stack is a multiple of 16 at the call
    push_registers();
    out_.push(second_scratch);
    out_.lea(Width::q, Reg::rsi, {.base = Reg::rsp, .disp = 8});
    out_.mov(Width::d, Reg::rdx, second_scratch);
    out_.lea(Width::q, Reg::rdi, {.base = Reg::rsp, .disp = static_cast<i32>(clobbered.size() + 1) * 8});
    // SOUND: a function's address, as a number in code.
    out_.mov_imm(Reg::rax, reinterpret_cast<u64>(function));
    out_.call(Reg::rax);
    out_.mov(Width::q, scratch, Reg::rax);
    out_.pop(second_scratch);
    pop_registers();
    auto refused = Label{};
    out_.test(Width::q, scratch, scratch);
    out_.jcc(Cond::e, refused);
    out_.store(Width::q, VIREO_CONTEXT(target), scratch);
    out_.load(Width::q, scratch, VIREO_CONTEXT(address));
    out_.load(Width::d, second_scratch, VIREO_CONTEXT(site));
    out_.jmp(VIREO_CONTEXT(target));
    out_.bind(refused);
    out_.jmp(otherwise);
  }

  /// `find` gets the target in r10 or the Exit in r11; the flags stay as they are.
  void find(FindFunction function, Reg what, u8 const* otherwise) {
    static_assert(clobbered.size() % 2 == 1);  // the stack is a multiple of 16 at the call
    out_.pushfq();
    out_.push(what);
    push_registers();
    out_.push(what);
    out_.mov(Width::q, Reg::rsi, what);
    out_.lea(Width::q, Reg::rdi, {.base = Reg::rsp, .disp = 16 + static_cast<i32>(clobbered.size() + 1) * 8});
    // SOUND: a function's address, as a number in code.
    out_.mov_imm(Reg::rax, reinterpret_cast<u64>(function));
    out_.call(Reg::rax);
    out_.pop(what);
    auto const other = what == scratch ? second_scratch : scratch;
    out_.mov(Width::q, other, Reg::rax);
    pop_registers();
    out_.pop(what);
    auto refused = Label{};
    out_.test(Width::q, other, other);
    out_.jcc(Cond::e, refused);
    out_.popfq();
    out_.store(Width::q, VIREO_CONTEXT(target), other);
    if (what == scratch) out_.load(Width::d, second_scratch, VIREO_CONTEXT(site));
    out_.jmp(VIREO_CONTEXT(target));
    out_.bind(refused);
    out_.popfq();
    out_.jmp(otherwise);
  }

  void load_vectors() {
    out_.push(Reg::rax);
    out_.push(Reg::rdx);
    out_.push(scratch);
    out_.mov(Width::q, scratch, Reg::rsp);
    out_.alu_imm(Alu::or_, Width::q, scratch, 0xff);
    out_.store_imm(Width::d, {.base = scratch, .disp = offsetof(Context, vectors) + 1}, 1);
    out_.load(Width::q, scratch, {.base = scratch, .disp = offsetof(Context, extended) + 1});
    vector_state(5, 0);
    out_.pop(scratch);
    out_.pop(Reg::rdx);
    out_.pop(Reg::rax);
    out_.ret();
  }

 private:
  void push_registers() {
    for (auto const reg : clobbered) out_.push(reg);
  }
  void pop_registers() {
    for (auto i = clobbered.size(); i-- > 0;) out_.pop(clobbered[i]);
  }

  // XSAVE (4) or XRSTOR (5) of [r10]; FXSAVE and FXRSTOR without AVX.
  void vector_state(u8 operation, u8) {
    if (!avx_) {
      u8 const legacy[]{0x49, 0x0f, 0xae, static_cast<u8>(0x02 | (operation - 4) << 3)};
      out_.bytes(legacy, sizeof legacy);
      return;
    }
    out_.mov_imm(Reg::rax, 7);
    out_.mov_imm(Reg::rdx, 0);
    // The host saves all of what it is asked for, and restores what the header names.
    if (operation == 5) out_.store_imm(Width::q, {.base = scratch, .disp = 512}, 7);
    u8 const extended[]{0x49, 0x0f, 0xae, static_cast<u8>(0x02 | operation << 3)};
    out_.bytes(extended, sizeof extended);
  }

  Emitter& out_;
  RefillFunction refill_;
  bool avx_;
};

}  // namespace

Trampolines write_trampolines(CodeCache& cache, SlowPaths const& slow_paths, bool avx) {
  auto out = Emitter{cache.writable(0), cache.executable(0), room};
  auto writer = Writer{out, slow_paths.refill, avx};
  auto result = Trampolines{};
  // SOUND: the code written next has this signature.
  result.enter = reinterpret_cast<u32 (*)(Context*)>(reinterpret_cast<u64>(out.here()));
  writer.enter();
  auto common = Label{};
  out.align(32);
  out.bind(common);
  writer.exit_common();
  for (auto kind = 0u; kind < result.exits.size(); ++kind) {
    out.align(16);
    result.exits[kind] = out.here();
    writer.exit(static_cast<ExitKind>(kind), common);
  }
  out.align(32);
  result.refill = out.here();
  writer.refill(result.exit(ExitKind::access));
  out.align(32);
  result.refill_group = out.here();
  writer.refill_group();
  out.align(32);
  result.stack_read = out.here();
  writer.stack_page(false);
  out.align(32);
  result.stack_write = out.here();
  writer.stack_page(true);
  out.align(32);
  result.set_access = out.here();
  writer.slow_path(slow_paths.set_access);
  out.align(32);
  result.find_jump = out.here();
  writer.find(slow_paths.find_jump, scratch, result.exit(ExitKind::indirect));
  out.align(32);
  result.find_slot = out.here();
  writer.find(slow_paths.find_slot, second_scratch, result.exit(ExitKind::slot));
  out.align(32);
  result.repeat_string = out.here();
  writer.slow_path_with_registers(slow_paths.repeat_string);
  out.align(32);
  result.system_call = out.here();
  writer.change_privilege(slow_paths.system_call, result.exit(ExitKind::interpret));
  out.align(32);
  result.system_return = out.here();
  writer.change_privilege(slow_paths.system_return, result.exit(ExitKind::interpret));
  out.align(32);
  result.interrupt_return = out.here();
  writer.change_privilege(slow_paths.interrupt_return, result.exit(ExitKind::interpret));
  out.align(32);
  result.load_vectors = out.here();
  writer.load_vectors();
  out.align(64);
  result.end = out.size();
  cache.take(result.end);
  return result;
}

}  // namespace vireo::engine::soft::translate
