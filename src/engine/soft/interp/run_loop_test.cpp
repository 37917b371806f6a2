#include "engine/soft/interp/run_loop.h"

#include <gtest/gtest.h>

#include <thread>

#include "engine/soft/test_machine.h"

namespace vireo::engine::soft {
namespace {

constexpr u64 code_at{0x200000};
constexpr u64 data_at{0x300000};
constexpr u8 hlt{0xf4};

x86::CpuidModel const& model() {
  static auto const instance = x86::CpuidModel::create("x86-64-v3", 1).value();
  return instance;
}

struct Guest64 {
  TestMachine machine{};
  Cpu cpu{VcpuId{0}, machine, model()};
  Interpreter interpreter{};

  explicit Guest64(std::vector<u8> const& code) {
    enter_flat64(cpu, machine);
    machine.store_code(code_at, code);
    cpu.state.rip = code_at;
    cpu.state.gpr[x86::rsp] = 0x400000;
  }
  RunExit run_to_halt() { return interpreter.run(cpu, 1'000'000); }
  u64& reg(u8 which) { return cpu.state.gpr[which]; }
};

TEST(RunLoop, SumsInALoop) {
  auto guest = Guest64{{0x31, 0xc0,                    // xor eax, eax
                        0xb9, 0x64, 0x00, 0x00, 0x00,  // mov ecx, 100
                        0x01, 0xc8,                    // add eax, ecx
                        0xff, 0xc9,                    // dec ecx
                        0x75, 0xfa,                    // jnz -6
                        hlt}};

  EXPECT_EQ(guest.run_to_halt(), RunExit::idle);

  EXPECT_EQ(guest.reg(x86::rax), 5050u);
  EXPECT_EQ(guest.cpu.instructions, 2u + 3 * 100 + 1);
}

TEST(RunLoop, CallsAndReturns) {
  auto guest = Guest64{{0xe8, 0x01, 0x00, 0x00, 0x00,     // call +1
                        hlt,                              //
                        0x48, 0xc7, 0xc3, 0x2a, 0, 0, 0,  // mov rbx, 42
                        0x53, 0x5a,                       // push rbx; pop rdx
                        0xc3}};                           // ret

  EXPECT_EQ(guest.run_to_halt(), RunExit::idle);

  EXPECT_EQ(guest.reg(x86::rdx), 42u);
  EXPECT_EQ(guest.reg(x86::rsp), 0x400000u);
}

TEST(RunLoop, ExecutesAnInstructionThatItsOwnBlockHasJustWritten) {
  // mov byte [rip+1], 0x2a rewrites the immediate of the next instruction.
  auto guest = Guest64{{0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x2a,  // mov byte [rip+1], 42
                        0xb8, 0x01, 0x00, 0x00, 0x00,              // mov eax, 1
                        hlt}};

  EXPECT_EQ(guest.run_to_halt(), RunExit::idle);

  EXPECT_EQ(guest.reg(x86::rax), 42u);
  EXPECT_EQ(guest.cpu.instructions, 3u);
}

TEST(RunLoop, SeesCodeThatADeviceHasReplaced) {
  auto guest = Guest64{{0xb8, 0x01, 0x00, 0x00, 0x00, hlt}};
  guest.run_to_halt();
  guest.machine.store<u8>(code_at + 1, 7);
  guest.cpu.state.rip = code_at;
  guest.cpu.state.activity = Activity::running;

  guest.run_to_halt();

  EXPECT_EQ(guest.reg(x86::rax), 7u);
}

TEST(RunLoop, ExecutesAnInstructionAcrossAPageBoundary) {
  auto guest = Guest64{{}};
  guest.machine.store_code(code_at + 0xffd, {0xb8, 0x78, 0x56, 0x34, 0x12, hlt});
  guest.cpu.state.rip = code_at + 0xffd;

  guest.run_to_halt();

  EXPECT_EQ(guest.reg(x86::rax), 0x12345678u);
}

TEST(RunLoop, SeesThatTheSecondHalfOfACrossingInstructionHasChanged) {
  auto guest = Guest64{{}};
  guest.machine.store_code(code_at + 0xffd, {0xb8, 0x78, 0x56, 0x34, 0x12, hlt});
  guest.cpu.state.rip = code_at + 0xffd;
  guest.run_to_halt();
  guest.machine.store<u8>(code_at + 0x1001, 0x99);
  guest.cpu.state.rip = code_at + 0xffd;
  guest.cpu.state.activity = Activity::running;

  guest.run_to_halt();

  EXPECT_EQ(guest.reg(x86::rax), 0x99345678u);
}

TEST(RunLoop, LeavesAtABlockBoundaryWhenAttentionIsRequested) {
  auto guest = Guest64{{0xeb, 0xfe}};  // jmp self
  guest.cpu.request_attention(attention_stop);

  EXPECT_EQ(guest.interpreter.run(guest.cpu, 1000), RunExit::attention);

  EXPECT_EQ(guest.cpu.state.rip, code_at);
}

TEST(RunLoop, RunsOneInstructionUnderAnInterruptShadow) {
  auto guest = Guest64{{0xff, 0xc0, 0xff, 0xc0, hlt}};  // inc eax; inc eax
  guest.cpu.state.interrupt_shadow = true;
  guest.cpu.request_attention(attention_events);

  EXPECT_EQ(guest.interpreter.run(guest.cpu, 1000), RunExit::attention);

  EXPECT_EQ(guest.reg(x86::rax), 1u);
  EXPECT_FALSE(guest.cpu.state.interrupt_shadow);
}

TEST(RunLoop, StepsOneInstructionAtATime) {
  auto guest = Guest64{{0xff, 0xc0, 0xff, 0xc0, hlt}};

  guest.interpreter.step(guest.cpu);

  EXPECT_EQ(guest.reg(x86::rax), 1u);
  EXPECT_EQ(guest.cpu.state.rip, code_at + 2);
}

TEST(RunLoop, ShutsDownWhenNoExceptionCanBeDelivered) {
  auto guest = Guest64{{0x0f, 0x0b}};  // ud2 without an IDT

  EXPECT_EQ(guest.interpreter.run(guest.cpu, 1000), RunExit::shutdown);
}

/// A 64-bit IDT whose gate for `vector` leads to HLT at `handler`.
void install_handler(Guest64& guest, u8 vector, u64 handler) {
  constexpr auto idt = u64{0x280000}, gdt = u64{0x281000};
  guest.machine.store<u64>(gdt + 8, 0x00af9b000000ffff);
  guest.machine.store<u64>(idt + vector * 16u,
                           (handler & 0xffff) | 0x8u << 16 | 0x8e00ull << 32 | (handler >> 16) << 48);
  guest.machine.store<u64>(idt + vector * 16u + 8, handler >> 32);
  guest.machine.store<u8>(handler, hlt);
  guest.cpu.state.idtr = {.base = idt, .limit = 0xfff};
  guest.cpu.state.gdtr = {.base = gdt, .limit = 0xf};
}

TEST(RunLoop, DeliversAFaultWithTheInstructionsOwnAddress) {
  auto guest = Guest64{{0xff, 0xc0, 0xf7, 0xf1}};  // inc eax; div ecx
  install_handler(guest, 0, 0x290000);

  EXPECT_EQ(guest.run_to_halt(), RunExit::idle);

  EXPECT_EQ(guest.cpu.state.rip, 0x290001u);
  EXPECT_EQ(guest.machine.load<u64>(guest.reg(x86::rsp)), code_at + 2);
  EXPECT_EQ(guest.reg(x86::rax), 1u);
}

TEST(RunLoop, TrapsAfterEachInstructionWhenSingleStepping) {
  auto guest = Guest64{{0xff, 0xc0, 0xff, 0xc0}};
  install_handler(guest, 1, 0x290000);
  guest.cpu.state.rflags |= x86::flag_tf;

  EXPECT_EQ(guest.run_to_halt(), RunExit::idle);

  EXPECT_EQ(guest.machine.load<u64>(guest.reg(x86::rsp)), code_at + 2);
  EXPECT_EQ(guest.reg(x86::rax), 1u);
  EXPECT_TRUE(guest.cpu.state.dr6 & 0x4000);
}

TEST(Breakpoints, OnExecutionFaultsBeforeTheInstructionAndSetsRfInTheSavedFlags) {
  auto guest = Guest64{{0xff, 0xc0, 0xff, 0xc0, hlt}};
  install_handler(guest, 1, 0x290000);
  guest.cpu.state.dr[2] = code_at + 2;
  guest.cpu.state.dr7 |= 1u << 4;  // L2, execute

  EXPECT_EQ(guest.run_to_halt(), RunExit::idle);

  EXPECT_EQ(guest.machine.load<u64>(guest.reg(x86::rsp)), code_at + 2);
  EXPECT_EQ(guest.reg(x86::rax), 1u);
  EXPECT_EQ(guest.cpu.state.dr6 & 0xf, 4u);
  EXPECT_TRUE(guest.machine.load<u64>(guest.reg(x86::rsp) + 16) & x86::flag_rf);
}

TEST(Breakpoints, OnWritesTrapAfterTheInstruction) {
  auto guest = Guest64{{0x8b, 0x03, 0x89, 0x03, hlt}};  // mov eax, [rbx]; mov [rbx], eax
  install_handler(guest, 1, 0x290000);
  guest.reg(x86::rbx) = data_at;
  guest.cpu.state.dr[0] = data_at;
  guest.cpu.state.dr7 |= 1u | 1u << 16 | 3u << 18;  // L0, write, 4 bytes

  EXPECT_EQ(guest.run_to_halt(), RunExit::idle);

  EXPECT_EQ(guest.machine.load<u64>(guest.reg(x86::rsp)), code_at + 4);
  EXPECT_EQ(guest.cpu.state.dr6 & 0xf, 1u);
}

TEST(Strings, RepMovsMovesPastPageBoundaries) {
  auto guest = Guest64{{0xf3, 0xa4, hlt}};  // rep movsb
  for (auto i = u64{}; i < 10000; ++i) guest.machine.store<u8>(data_at + i, static_cast<u8>(i * 7));
  guest.reg(x86::rsi) = data_at;
  guest.reg(x86::rdi) = data_at + 0x10003;
  guest.reg(x86::rcx) = 10000;

  guest.run_to_halt();

  EXPECT_EQ(guest.machine.load<u8>(data_at + 0x10003 + 9999), static_cast<u8>(9999 * 7));
  EXPECT_EQ(guest.machine.load<u8>(data_at + 0x10003 + 4096), static_cast<u8>(4096 * 7));
  EXPECT_EQ(guest.reg(x86::rcx), 0u);
  EXPECT_EQ(guest.reg(x86::rsi), data_at + 10000);
}

TEST(Strings, OverlappingRepMovsRepeatsThePattern) {
  auto guest = Guest64{{0xf3, 0xa4, hlt}};
  guest.machine.store<u8>(data_at, 0x5a);
  guest.reg(x86::rsi) = data_at;
  guest.reg(x86::rdi) = data_at + 1;
  guest.reg(x86::rcx) = 5000;

  guest.run_to_halt();

  EXPECT_EQ(guest.machine.load<u8>(data_at + 5000), 0x5a);
}

TEST(Strings, AFaultInTheMiddleOfRepStosKeepsTheProgress) {
  auto guest = Guest64{{0xf3, 0x48, 0xab, hlt}};  // rep stosq
  install_handler(guest, 14, 0x290000);
  // The page at 4 GiB is not mapped.
  guest.reg(x86::rdi) = 4 * GiB - 32;
  guest.reg(x86::rcx) = 100;

  EXPECT_EQ(guest.run_to_halt(), RunExit::idle);

  EXPECT_EQ(guest.cpu.state.rip, 0x290001u);
  EXPECT_EQ(guest.reg(x86::rcx), 96u);
  EXPECT_EQ(guest.reg(x86::rdi), 4 * GiB);
  EXPECT_EQ(guest.cpu.state.cr2, 4 * GiB);
  EXPECT_EQ(guest.machine.load<u64>(guest.reg(x86::rsp) + 8), code_at);
}

TEST(Strings, ScasStopsAtTheByteSought) {
  auto guest = Guest64{{0xf2, 0xae, hlt}};  // repne scasb
  guest.machine.store_code(data_at, {'a', 'b', 'c', 0, 'd'});
  guest.reg(x86::rdi) = data_at;
  guest.reg(x86::rcx) = 100;

  guest.run_to_halt();

  EXPECT_EQ(guest.reg(x86::rdi), data_at + 4);
  EXPECT_EQ(guest.reg(x86::rcx), 96u);
}

TEST(Atomics, LockedIncrementsOfTwoVcpusAllCount) {
  constexpr auto rounds = u32{200000};
  auto machine = TestMachine{};
  machine.store_code(code_at, {0xf0, 0x48, 0xff, 0x03,  // lock inc qword [rbx]
                               0xff, 0xc9, 0x75, 0xf8,  // dec ecx; jnz
                               hlt});
  auto const work = [&](u32 id) {
    auto cpu = Cpu{VcpuId{id}, machine, model()};
    enter_flat64(cpu, machine, 1 * MiB + id * 0x10000);
    cpu.state.activity = Activity::running;
    cpu.state.rip = code_at;
    cpu.state.gpr[x86::rbx] = data_at;
    cpu.state.gpr[x86::rcx] = rounds;
    Interpreter{}.run(cpu, 10'000'000);
  };

  auto other = std::thread{work, 1};
  work(0);
  other.join();

  EXPECT_EQ(machine.load<u64>(data_at), 2 * rounds);
}

}  // namespace
}  // namespace vireo::engine::soft
