#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "engine/engine.h"
#include "engine/soft/test_machine.h"

namespace vireo::engine::soft {
namespace {

using Code = std::vector<u8>;
constexpr u64 done_at{0x600}, counter_at{0x504};

/// 32-bit kernel code at 0x10000 on the bootstrap processor, with GDT at 0x1000 and IDT at 0x2000.
struct SoftwareEngineTest : testing::Test {
  TestMachine machine;
  std::unique_ptr<Engine> engine;

  void create(u32 vcpus, Code const& code, Tier tier = Tier::translate) {
    auto created = create_software_engine(
        {.vcpus = vcpus, .model = *x86::CpuidModel::create("x86-64-v3", vcpus), .tier = tier}, machine);
    ASSERT_TRUE(created);
    engine = std::move(*created);
    machine.store_code(0x10000, code);
    machine.store<u64>(0x1008, 0x00cf'9b00'0000'ffff);
    machine.store<u64>(0x1010, 0x00cf'9300'0000'ffff);
    enter_kernel();
  }
  void enter_kernel() {
    auto state = engine->vcpu_state(VcpuId{0});
    state.cr0 |= x86::cr0_pe;
    state.segment.fill({.base = 0, .limit = 0xffffffff, .selector = 0x10, .attributes = 0xc093});
    state.cs() = {.base = 0, .limit = 0xffffffff, .selector = 0x8, .attributes = 0xc09b};
    state.gdtr = {.base = 0x1000, .limit = 0x17};
    state.idtr = {.base = 0x2000, .limit = 0x7ff};
    state.rip = 0x10000;
    state.gpr[x86::rsp] = 0x9000;
    ASSERT_TRUE(engine->set_vcpu_state(VcpuId{0}, state));
  }
  void set_gate(u8 vector, u32 handler) {
    machine.store<u64>(0x2000 + vector * 8u, u64{handler >> 16} << 48 | 0x8e00'0008'0000 | (handler & 0xffff));
  }
  // Guest memory changes under the test: a volatile read each time. The limit is a failsafe only.
  u32 word(u64 at) {
    return *reinterpret_cast<u32 volatile*>(machine.memory().host(Gpa{at}, 4, false));
  }  // SOUND: RAM
  bool becomes(u64 at, u32 value) {
    auto const limit = std::chrono::steady_clock::now() + std::chrono::seconds{60};
    while (word(at) != value) {
      if (std::chrono::steady_clock::now() > limit) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    return true;
  }
  bool runs_until(u64 at, u32 value) {
    engine->start();
    auto const finished = becomes(at, value);
    engine->stop();
    return finished;
  }
};

// Enables the APIC, sends INIT and SIPI (vector 8) to all others, waits until 3 have counted themselves at
// 0x500.
// clang-format off
Code const start_others{0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00,   // mov [0xfee000f0], 0x1ff
                        0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x45, 0x0c, 0x00,  // mov [0xfee00300], 0xc4500
                        0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x08, 0x46, 0x0c, 0x00,  // mov [0xfee00300], 0xc4608
                        0xf3, 0x90,                                                   // wait: pause
                        0x83, 0x3d, 0x00, 0x05, 0x00, 0x00, 0x03,                     // cmp [0x500], 3
                        0x75, 0xf5,                                                   // jne wait
                        0xc7, 0x05, 0x00, 0x06, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,   // mov [0x600], 1
                        0xfa, 0xf4, 0xeb, 0xfc};  // stop: cli; hlt; jmp stop
// clang-format on
// Real mode: adds 100,000 to 0x504 one by one, then one to 0x500.
// clang-format off
Code const count_up{0x66, 0xb9, 0xa0, 0x86, 0x01, 0x00,        // mov ecx, 100000
                    0x66, 0xf0, 0xff, 0x06, 0x04, 0x05,        // again: lock inc dword [0x504]
                    0x67, 0xe2, 0xf7,                          // loop again
                    0x66, 0xf0, 0xff, 0x06, 0x00, 0x05,        // lock inc dword [0x500]
                    0xfa, 0xf4, 0xeb, 0xfc};                   // stop: cli; hlt; jmp stop
// clang-format on

TEST_F(SoftwareEngineTest, StartsOtherProcessorsBySipiAndTheirAtomicsAddUp) {
  create(4, start_others);
  machine.store_code(0x8000, count_up);

  auto const finished = runs_until(done_at, 1);

  EXPECT_TRUE(finished);
  EXPECT_EQ(word(counter_at), 300'000u);
  EXPECT_EQ(engine->vcpu_state(VcpuId{3}).cs().base, 0x8000u);
  EXPECT_TRUE(machine.resets.empty());
}

TEST_F(SoftwareEngineTest, CountsWhatAllProcessorsInterpret) {
  create(4, start_others, Tier::interpret);
  machine.store_code(0x8000, count_up);

  auto const finished = runs_until(done_at, 1);

  EXPECT_TRUE(finished);
  EXPECT_GT(engine->instructions_interpreted(), 600'000u);
}

TEST_F(SoftwareEngineTest, TranslatesLoopsOfRealMode) {
  create(4, start_others);
  machine.store_code(0x8000, count_up);

  auto const finished = runs_until(done_at, 1);

  EXPECT_TRUE(finished);
  EXPECT_LT(engine->instructions_interpreted(), 10'000u);
}

// Three times: arms a one-shot timer of vector 0x40, halts with interrupts on.
// clang-format off
Code const sleep_thrice{0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00,  // mov [0xfee000f0], 0x1ff
                        0xc7, 0x05, 0xe0, 0x03, 0xe0, 0xfe, 0x0b, 0x00, 0x00, 0x00,  // mov [0xfee003e0], 0xb
                        0xc7, 0x05, 0x20, 0x03, 0xe0, 0xfe, 0x40, 0x00, 0x00, 0x00,  // mov [0xfee00320], 0x40
                        0xbb, 0x03, 0x00, 0x00, 0x00,                                // mov ebx, 3
                        0xc7, 0x05, 0x80, 0x03, 0xe0, 0xfe, 0xa8, 0x61, 0x00, 0x00,  // again: mov [0xfee00380], 25000
                        0xfb, 0xf4, 0xfa,                                            // sti; hlt; cli
                        0x4b, 0x75, 0xf0,                                            // dec ebx; jnz again
                        0xc7, 0x05, 0x00, 0x06, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,  // mov [0x600], 1
                        0xf4, 0xeb, 0xfd};                                           // stop: hlt; jmp stop
Code const count_interrupt{0xff, 0x05, 0x00, 0x07, 0x00, 0x00,                              // inc [0x700]
                           0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x00,  // mov [0xfee000b0], 0
                           0xcf};                                                           // iret
// clang-format on

TEST_F(SoftwareEngineTest, TheTimerWakesAHaltedProcessor) {
  create(1, sleep_thrice);
  machine.store_code(0x11000, count_interrupt);
  set_gate(0x40, 0x11000);

  engine->start();
  auto const finished = becomes(done_at, 1);
  engine->stop();

  EXPECT_TRUE(finished);
  EXPECT_EQ(word(0x700), 3u);
  EXPECT_EQ(engine->vcpu_state(VcpuId{0}).activity, Activity::halted);
}

TEST_F(SoftwareEngineTest, AMessageInterruptWakesAHaltedProcessorAndNmiIsDelivered) {
  // mov [0xfee000f0], 0x1ff; sti; stop: hlt; jmp stop
  create(1, {0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00, 0xfb, 0xf4, 0xeb, 0xfd});
  machine.store_code(0x11000, count_interrupt);
  set_gate(0x41, 0x11000);
  machine.store_code(0x12000, {0xff, 0x05, 0x04, 0x07, 0x00, 0x00, 0xcf});  // inc [0x704]; iret
  set_gate(2, 0x12000);
  engine->start();
  auto interrupted = false;
  for (auto i = 0; i < 1000 && !interrupted; ++i) {  // until the guest has switched its APIC on
    engine->deliver_msi(0xfee0'0000, 0x41);
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
    interrupted = word(0x700) != 0;
  }
  EXPECT_TRUE(interrupted);
  engine->stop();
  engine->inject_nmi(VcpuId{0});
  engine->start();
  EXPECT_TRUE(becomes(0x704, 1));
}

TEST_F(SoftwareEngineTest, ATripleFaultAsksForAResetAndResetStartsAnew) {
  create(1, {0x90, 0x0f, 0x0b});  // nop; ud2, and the IDT is empty
  engine->start();
  auto const limit = std::chrono::steady_clock::now() + std::chrono::seconds{60};
  while (engine->instructions_interpreted() == 0 && std::chrono::steady_clock::now() < limit)
    std::this_thread::yield();
  engine->stop();
  EXPECT_EQ(machine.resets, std::vector<std::string>{"triple fault"});

  engine->reset();
  EXPECT_EQ(engine->vcpu_state(VcpuId{0}).rip, 0xfff0u);
  machine.store_code(
      0x10000, {0xc7, 0x05, 0x00, 0x06, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0xf4});  // mov [0x600], 1; hlt
  enter_kernel();
  engine->start();
  EXPECT_TRUE(becomes(done_at, 1));
}

TEST_F(SoftwareEngineTest, RunsOnAfterEachOfManyStops) {
  create(1, {0xff, 0x05, 0x00, 0x07, 0x00, 0x00, 0xeb, 0xf8});  // again: inc [0x700]; jmp again
  for (auto i = 0; i < 20; ++i) {
    auto const before = word(0x700);
    engine->start();
    while (word(0x700) == before) std::this_thread::yield();
    engine->stop();
  }
}

TEST_F(SoftwareEngineTest, StateGoesToAnotherEngineAndRunsOn) {
  // again: inc [0x700]; jmp again
  create(1, {0xff, 0x05, 0x00, 0x07, 0x00, 0x00, 0xeb, 0xf8});
  engine->start();
  while (word(0x700) == 0) std::this_thread::yield();
  engine->stop();
  auto const state = engine->vcpu_state(VcpuId{0});
  auto const apic = engine->save_apic(VcpuId{0});
  auto const counted = word(0x700);
  create(1, {0xff, 0x05, 0x00, 0x07, 0x00, 0x00, 0xeb, 0xf8});

  ASSERT_TRUE(engine->set_vcpu_state(VcpuId{0}, state));
  ASSERT_TRUE(engine->restore_apic(VcpuId{0}, apic));
  EXPECT_EQ(state::save(engine->vcpu_state(VcpuId{0})), state::save(state));
  engine->start();
  while (word(0x700) <= counted) std::this_thread::yield();
  engine->stop();
}

TEST_F(SoftwareEngineTest, RefusesImpossibleStateAndCounts) {
  create(1, {0xf4});
  auto const state = engine->vcpu_state(VcpuId{0});
  auto const refused = [&](auto&& change) {
    auto forged = state;
    change(forged);
    return !engine->set_vcpu_state(VcpuId{0}, forged);
  };
  EXPECT_TRUE(refused([](VcpuState& s) { s.cr0 = x86::cr0_pg; }));
  EXPECT_TRUE(refused([](VcpuState& s) { s.efer |= x86::efer_lma; }));
  EXPECT_TRUE(refused([](VcpuState& s) { s.cr4 |= u64{1} << 31; }));
  EXPECT_TRUE(refused([](VcpuState& s) { s.extended.mxcsr |= 1u << 20; }));
  EXPECT_TRUE(refused([](VcpuState& s) { s.xcr0 = 5; }));
  EXPECT_TRUE(refused([](VcpuState& s) { s.activity = Activity{9}; }));
  EXPECT_FALSE(refused([](VcpuState&) {}));
  EXPECT_FALSE(
      create_software_engine({.vcpus = 0, .model = *x86::CpuidModel::create("x86-64-v3", 1)}, machine));
}

}  // namespace
}  // namespace vireo::engine::soft
