#include "engine/soft/interp/system/lower_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "engine/soft/interp/families.h"
#include "engine/soft/interp/system/msr.h"
#include "engine/soft/paravirt.h"
#include "engine/soft/test_machine.h"
#include "x86/decoder.h"

namespace vireo::engine::soft {
namespace {

using namespace x86;
using Code = std::vector<u8>;

constexpr u64 code_at{0x10000};

struct SystemTest : testing::Test {
  TestMachine machine;
  CpuidModel model = *CpuidModel::create("x86-64-v3", 2);
  Cpu cpu{VcpuId{1}, machine, model};

  /// Executes one instruction's bytes; the exception that it raised, if any.
  std::optional<Vector> execute(Code const& bytes) {
    auto insn = Instruction{};
    auto padded = bytes;
    padded.resize(15, 0x90);
    if (decode(padded, cpu.code_size(), cpu.protected_mode(), insn) != DecodeStatus::ok) return Vector::ud;
    auto const start = cpu.state.rip;
    try {
      cpu.state.rip = start + insn.length;
      auto const lowered = lower_system(insn);
      EXPECT_NE(lowered.handler, nullptr);
      if (lowered.handler != nullptr) lowered.handler(cpu, insn, lowered.extra);
    } catch (Fault const& fault) {
      cpu.state.rip = start;
      return fault.vector;
    }
    return {};
  }
  std::optional<Vector> write_msr(u32 index, u64 value) {
    cpu.state.gpr[rcx] = index;
    cpu.state.gpr[rax] = static_cast<u32>(value);
    cpu.state.gpr[rdx] = value >> 32;
    return execute({0x0f, 0x30});
  }
  u64 read_msr(u32 index) {
    cpu.state.gpr[rcx] = index;
    EXPECT_EQ(execute({0x0f, 0x32}), std::nullopt);
    return cpu.state.gpr[rdx] << 32 | cpu.state.gpr[rax];
  }
  std::optional<Vector> set_cr(u8 number, u64 value) {
    cpu.state.gpr[rax] = value;
    return execute({0x0f, 0x22, static_cast<u8>(0xc0 | number << 3)});
  }
};

// ---- control registers ----

TEST_F(SystemTest, PagingNeedsProtectionAndNotWriteThroughNeedsCacheDisable) {
  EXPECT_EQ(set_cr(0, cr0_pg), Vector::gp);
  EXPECT_EQ(set_cr(0, cr0_pe | cr0_nw), Vector::gp);
  EXPECT_EQ(set_cr(0, cr0_pe), std::nullopt);
  EXPECT_TRUE(cpu.protected_mode());
}

TEST_F(SystemTest, EnablingPagingUnderLmeEntersLongModeAndDisablingLeavesIt) {
  enter_flat32(cpu);
  cpu.state.efer = efer_lme;
  EXPECT_EQ(set_cr(0, cr0_pe | cr0_pg), Vector::gp);  // without PAE
  EXPECT_EQ(set_cr(4, cr4_pae), std::nullopt);

  EXPECT_EQ(set_cr(0, cr0_pe | cr0_pg), std::nullopt);
  EXPECT_TRUE(cpu.long_mode());
  EXPECT_EQ(set_cr(4, 0), Vector::gp);  // PAE stays in long mode
}

TEST_F(SystemTest, SixtyFourBitCodeCannotSwitchPagingOff) {
  enter_flat64(cpu, machine);
  EXPECT_EQ(set_cr(0, cr0_pe), Vector::gp);
  EXPECT_EQ(set_cr(0, u64{1} << 32 | cpu.state.cr0), Vector::gp);
}

TEST_F(SystemTest, ProcessContextIdentifiersNeedLongModeAndAnEmptyLowCr3) {
  enter_flat32(cpu);
  EXPECT_EQ(set_cr(4, cr4_pcide), Vector::gp);
  enter_flat64(cpu, machine);
  cpu.state.cr3 |= 8;
  EXPECT_EQ(set_cr(4, cpu.state.cr4 | cr4_pcide), Vector::gp);
  cpu.state.cr3 &= ~u64{8};
  EXPECT_EQ(set_cr(4, cpu.state.cr4 | cr4_pcide), std::nullopt);

  EXPECT_EQ(set_cr(3, u64{1} << 63 | cpu.state.cr3 | 5), std::nullopt);
  EXPECT_EQ(cpu.state.cr3 & 0xfff, 5u);
  EXPECT_EQ(cpu.state.cr3 >> 63, 0u);
}

TEST_F(SystemTest, ReservedBitsOfCr3AndCr4Fault) {
  enter_flat64(cpu, machine);
  EXPECT_EQ(set_cr(3, u64{1} << 63 | cpu.state.cr3), Vector::gp);
  EXPECT_EQ(set_cr(3, u64{1} << 60), Vector::gp);
  EXPECT_EQ(set_cr(4, cpu.state.cr4 | cr4_la57), Vector::gp);
}

TEST_F(SystemTest, ControlRegistersArePrivilegedAndUnknownOnesUndefined) {
  enter_user64(cpu, machine);
  EXPECT_EQ(set_cr(3, 0), Vector::gp);
  EXPECT_EQ(execute({0x0f, 0x06}), Vector::gp);  // clts
  enter_flat64(cpu, machine);
  EXPECT_EQ(execute({0x0f, 0x22, 0xc8}), Vector::ud);  // cr1
}

TEST_F(SystemTest, LmswSetsProtectionAndNeverClearsIt) {
  cpu.state.gpr[rax] = 1;
  EXPECT_EQ(execute({0x0f, 0x01, 0xf0}), std::nullopt);
  EXPECT_TRUE(cpu.state.cr0 & cr0_pe);
  cpu.state.gpr[rax] = 8;
  EXPECT_EQ(execute({0x0f, 0x01, 0xf0}), std::nullopt);
  EXPECT_EQ(cpu.state.cr0 & 0xf, u64{cr0_pe | cr0_ts});
}

TEST_F(SystemTest, UmipHidesSmswFromUsers) {
  enter_user64(cpu, machine);
  EXPECT_EQ(execute({0x0f, 0x01, 0xe0}), std::nullopt);
  cpu.state.cr4 |= cr4_umip;
  EXPECT_EQ(execute({0x0f, 0x01, 0xe0}), Vector::gp);
}

TEST_F(SystemTest, XsetbvRefusesAvxWithoutSse) {
  enter_flat64(cpu, machine);
  cpu.state.gpr[rcx] = cpu.state.gpr[rdx] = 0;
  cpu.state.gpr[rax] = 7;
  EXPECT_EQ(execute({0x0f, 0x01, 0xd1}), Vector::ud);
  EXPECT_EQ(set_cr(4, cpu.state.cr4 | cr4_osxsave), std::nullopt);
  cpu.state.gpr[rax] = 5;
  EXPECT_EQ(execute({0x0f, 0x01, 0xd1}), Vector::gp);
  cpu.state.gpr[rax] = 7;
  EXPECT_EQ(execute({0x0f, 0x01, 0xd1}), std::nullopt);
  EXPECT_EQ(cpu.state.xcr0, 7u);
}

TEST_F(SystemTest, GeneralDetectTrapsDebugRegisterAccess) {
  enter_flat32(cpu);
  cpu.state.gpr[rax] = 0x1234;
  EXPECT_EQ(execute({0x0f, 0x23, 0xc0}), std::nullopt);
  cpu.state.dr7 |= 1u << 13;
  EXPECT_EQ(execute({0x0f, 0x23, 0xc0}), Vector::db);
  EXPECT_TRUE(cpu.state.dr6 & 1u << 13);
  cpu.state.cr4 |= cr4_de;
  EXPECT_EQ(execute({0x0f, 0x23, 0xe0}), Vector::ud);  // dr4
}

// ---- CPUID and MSRs ----

TEST_F(SystemTest, CpuidTellsApicIdOsxsaveAndXsaveSize) {
  enter_flat64(cpu, machine);
  cpu.state.gpr[rax] = 1;
  EXPECT_EQ(execute({0x0f, 0xa2}), std::nullopt);
  EXPECT_EQ(cpu.state.gpr[rbx] >> 24, 1u);
  EXPECT_FALSE(cpu.state.gpr[rcx] & 1u << 27);

  cpu.state.cr4 |= cr4_osxsave;
  cpu.state.xcr0 = 7;
  cpu.state.gpr[rax] = 1;
  execute({0x0f, 0xa2});
  EXPECT_TRUE(cpu.state.gpr[rcx] & 1u << 27);
  cpu.state.gpr[rax] = 0xd;
  cpu.state.gpr[rcx] = 0;
  execute({0x0f, 0xa2});
  EXPECT_EQ(cpu.state.gpr[rbx], 832u);
}

TEST_F(SystemTest, EferIsGuardedWhilePaging) {
  enter_flat64(cpu, machine);
  EXPECT_EQ(write_msr(0xc000'0080, efer_sce | efer_nxe), Vector::gp);  // clears LME
  EXPECT_EQ(write_msr(0xc000'0080, u64{1} << 40 | cpu.state.efer), Vector::gp);
  EXPECT_EQ(write_msr(0xc000'0080, cpu.state.efer & ~u64{efer_sce | efer_lma}), std::nullopt);
  EXPECT_TRUE(cpu.state.efer & efer_lma);
}

TEST_F(SystemTest, AddressesInMsrsAreCanonicalAndUnknownMsrsFault) {
  enter_flat64(cpu, machine);
  EXPECT_EQ(write_msr(0xc000'0100, u64{1} << 47), Vector::gp);
  EXPECT_EQ(write_msr(0xc000'0082, 0xffff'8000'0000'0000), std::nullopt);
  EXPECT_EQ(write_msr(0x12345, 0), Vector::gp);
  EXPECT_EQ(write_msr(0x277, 0x0000'0000'0000'0002), Vector::gp);  // PAT type 2
  EXPECT_EQ(write_msr(0x250, 0x0606'0606'0606'0606), std::nullopt);
  EXPECT_EQ(read_msr(0x250), 0x0606'0606'0606'0606u);
}

TEST_F(SystemTest, WritingTheTscMovesAdjustWithIt) {
  enter_flat64(cpu, machine);
  auto const before = read_msr(0x10);
  EXPECT_EQ(write_msr(0x3b, u64{1} << 50), std::nullopt);
  EXPECT_GE(read_msr(0x10), before + (u64{1} << 50));
  EXPECT_EQ(write_msr(0x10, 0), std::nullopt);
  EXPECT_LT(read_msr(0x10), u64{1} << 40);
}

TEST_F(SystemTest, DisabledTimeStampIsForKernelsOnly) {
  enter_user64(cpu, machine);
  EXPECT_EQ(execute({0x0f, 0x31}), std::nullopt);
  cpu.state.cr4 |= cr4_tsd;
  EXPECT_EQ(execute({0x0f, 0x31}), Vector::gp);
  EXPECT_EQ(execute({0x0f, 0x01, 0xf9}), Vector::gp);
}

// ---- system calls ----

TEST_F(SystemTest, SyscallAndSysretAreEachOthersInverse) {
  enter_user64(cpu, machine);
  cpu.state.star = u64{0x23} << 48 | u64{0x10} << 32;
  cpu.state.lstar = 0xffff'8000'0000'1000;
  cpu.state.sfmask = flag_if | flag_df;
  cpu.state.rip = 0x4000;
  cpu.state.rflags = flag_fixed | flag_if | flag_cf;

  EXPECT_EQ(execute({0x0f, 0x05}), std::nullopt);
  EXPECT_EQ(cpu.cpl(), 0);
  EXPECT_EQ(cpu.state.rip, 0xffff'8000'0000'1000u);
  EXPECT_EQ(cpu.state.rflags, u64{flag_fixed | flag_cf});
  EXPECT_EQ(cpu.state.cs().selector, 0x10);
  EXPECT_EQ(cpu.state.ss().selector, 0x18);

  EXPECT_EQ(execute({0x48, 0x0f, 0x07}), std::nullopt);
  EXPECT_EQ(cpu.cpl(), 3);
  EXPECT_EQ(cpu.state.rip, 0x4002u);
  EXPECT_EQ(cpu.state.rflags, u64{flag_fixed | flag_if | flag_cf});
  EXPECT_EQ(cpu.state.cs().selector, 0x33);
  EXPECT_EQ(cpu.state.ss().selector, 0x2b);
}

TEST_F(SystemTest, SysretToANonCanonicalAddressFaultsInTheKernel) {
  enter_flat64(cpu, machine);
  cpu.state.gpr[rcx] = u64{1} << 47;
  EXPECT_EQ(execute({0x48, 0x0f, 0x07}), Vector::gp);
  EXPECT_EQ(cpu.cpl(), 0);
  EXPECT_EQ(execute({0x0f, 0x07}), std::nullopt);  // to 32-bit code only ECX counts
  EXPECT_EQ(cpu.code_size(), CodeSize::bits32);
}

TEST_F(SystemTest, SysenterNeedsItsSelectorAndEntersFlatKernelCode) {
  enter_user64(cpu, machine);
  EXPECT_EQ(execute({0x0f, 0x34}), Vector::gp);
  cpu.state.sysenter_cs = 0x10;
  cpu.state.sysenter_eip = 0x5000;
  cpu.state.sysenter_esp = 0x6000;
  EXPECT_EQ(execute({0x0f, 0x34}), std::nullopt);
  EXPECT_EQ(cpu.cpl(), 0);
  EXPECT_TRUE(cpu.code64());
  EXPECT_EQ(cpu.state.gpr[rsp], 0x6000u);
}

TEST_F(SystemTest, SwapgsExchangesAndBasesNeedTheirEnableBit) {
  enter_flat64(cpu, machine);
  cpu.state.kernel_gs_base = 0x1111;
  cpu.set_segment_base(SegmentRegister::gs, 0x2222);
  EXPECT_EQ(execute({0x0f, 0x01, 0xf8}), std::nullopt);
  EXPECT_EQ(cpu.state.seg(SegmentRegister::gs).base, 0x1111u);
  EXPECT_EQ(cpu.state.kernel_gs_base, 0x2222u);
  EXPECT_EQ(execute({0xf3, 0x48, 0x0f, 0xae, 0xc8}), Vector::ud);  // rdgsbase rax
  cpu.state.cr4 |= cr4_fsgsbase;
  EXPECT_EQ(execute({0xf3, 0x48, 0x0f, 0xae, 0xc8}), std::nullopt);
  EXPECT_EQ(cpu.state.gpr[rax], 0x1111u);
}

// ---- ports ----

TEST_F(SystemTest, UsersReachOnlyThePortsThatTheirBitmapClears) {
  enter_user64(cpu, machine);
  cpu.state.tr = {.base = 0x3000, .limit = 0x2067, .selector = 0x40, .attributes = 0x8b};
  machine.store<u16>(0x3000 + 102, 0x68);
  machine.store<u16>(0x3000 + 0x68 + 0x80 / 8, 0xfffe);  // port 0x80 alone
  cpu.state.gpr[rax] = 0x55;

  EXPECT_EQ(execute({0xe6, 0x80}), std::nullopt);
  EXPECT_EQ(execute({0xe6, 0x81}), Vector::gp);
  EXPECT_EQ(execute({0x66, 0xe7, 0x80}), Vector::gp);  // two ports
  cpu.state.tr.limit = 0x67;
  EXPECT_EQ(execute({0xe6, 0x80}), Vector::gp);
  EXPECT_THAT(machine.port_writes, testing::ElementsAre(TestMachine::PortWrite{0x80, 1, 0x55}));
}

TEST_F(SystemTest, InLeavesTheRestOfTheAccumulator) {
  enter_flat64(cpu, machine);
  machine.port_values[0x60] = 0xaabb'ccdd;
  cpu.state.gpr[rax] = ~u64{0};
  execute({0xe4, 0x60});
  EXPECT_EQ(cpu.state.gpr[rax], 0xffff'ffff'ffff'ffddu);
  execute({0xe5, 0x60});
  EXPECT_EQ(cpu.state.gpr[rax], 0xaabb'ccddu);
}

TEST_F(SystemTest, RepeatedOutsWritesEachElementInOrder) {
  enter_flat64(cpu, machine);
  machine.store<u32>(0x9000, 0x4433'2211);
  cpu.state.gpr[rsi] = 0x9000;
  cpu.state.gpr[rcx] = 3;
  cpu.state.gpr[rdx] = 0x3f8;
  EXPECT_EQ(execute({0xf3, 0x6e}), std::nullopt);
  EXPECT_THAT(machine.port_writes, testing::ElementsAre(TestMachine::PortWrite{0x3f8, 1, 0x11},
                                                        TestMachine::PortWrite{0x3f8, 1, 0x22},
                                                        TestMachine::PortWrite{0x3f8, 1, 0x33}));
  EXPECT_EQ(cpu.state.gpr[rsi], 0x9003u);
  EXPECT_EQ(cpu.state.gpr[rcx], 0u);
}

TEST_F(SystemTest, RepeatedInsStopsAtAFaultWithWhatIsDone) {
  enter_flat32(cpu);
  cpu.state.seg(SegmentRegister::es).limit = 0x9001;
  cpu.update_mode();
  machine.port_values[0x1f0] = 0x77;
  cpu.state.gpr[rdi] = 0x9000;
  cpu.state.gpr[rcx] = 5;
  cpu.state.gpr[rdx] = 0x1f0;
  EXPECT_EQ(execute({0xf3, 0x6c}), Vector::gp);
  EXPECT_EQ(cpu.state.gpr[rdi], 0x9002u);
  EXPECT_EQ(cpu.state.gpr[rcx], 3u);
  EXPECT_EQ(machine.load<u16>(0x9000), 0x7777);
}

// ---- interrupt flag, halt, hypercalls ----

TEST_F(SystemTest, StiShadowsTheNextInstructionOnceAndUsersNeedIopl) {
  enter_flat64(cpu, machine);
  EXPECT_EQ(execute({0xfb}), std::nullopt);
  EXPECT_TRUE(cpu.state.interrupt_shadow);
  cpu.state.interrupt_shadow = false;
  execute({0xfb});
  EXPECT_FALSE(cpu.state.interrupt_shadow);
  enter_user64(cpu, machine);
  EXPECT_EQ(execute({0xfa}), Vector::gp);
  cpu.state.rflags |= flag_iopl;
  EXPECT_EQ(execute({0xfa}), std::nullopt);
}

TEST_F(SystemTest, ProtectedVirtualInterruptsUseTheirOwnFlag) {
  enter_user64(cpu, machine);
  cpu.state.cr4 |= cr4_pvi;
  cpu.state.rflags |= flag_if;
  EXPECT_EQ(execute({0xfb}), std::nullopt);
  EXPECT_TRUE(cpu.state.rflags & flag_vif);
  EXPECT_EQ(execute({0xfa}), std::nullopt);
  EXPECT_EQ(cpu.state.rflags & (flag_vif | flag_if), u64{flag_if});
  cpu.state.rflags |= flag_vip;
  EXPECT_EQ(execute({0xfb}), Vector::gp);
}

TEST_F(SystemTest, HaltIsPrivileged) {
  enter_user64(cpu, machine);
  EXPECT_EQ(execute({0xf4}), Vector::gp);
  enter_flat64(cpu, machine);
  EXPECT_EQ(execute({0xf4}), std::nullopt);
  EXPECT_EQ(cpu.state.activity, Activity::halted);
}

TEST_F(SystemTest, HypercallsFromUsersAreNotPermitted) {
  enter_user64(cpu, machine);
  cpu.state.gpr[rax] = 5;
  EXPECT_EQ(execute({0x0f, 0x01, 0xc1}), std::nullopt);
  EXPECT_EQ(cpu.state.gpr[rax], static_cast<u64>(-1));
}

TEST_F(SystemTest, KvmClockRecordHasAnEvenVersionAndTheCommonBase) {
  enter_flat64(cpu, machine);
  cpu.clock_tsc = 1'000'000;
  cpu.clock_ns = 42;
  cpu.state.tsc_offset = 7;
  EXPECT_EQ(write_msr(paravirt::msr_system_time, 0x8000 | 1), std::nullopt);
  EXPECT_EQ(machine.load<u32>(0x8000), 2u);
  EXPECT_EQ(machine.load<u64>(0x8008), 1'000'007u);
  EXPECT_EQ(machine.load<u64>(0x8010), 42u);
  EXPECT_EQ(machine.load<u8>(0x801d), 1);  // stable
}

TEST_F(SystemTest, ARecordOutsideMemoryIsIgnored) {
  enter_flat64(cpu, machine);
  EXPECT_EQ(write_msr(paravirt::msr_system_time, u64{1} << 60 | 1), std::nullopt);
  EXPECT_EQ(write_msr(paravirt::msr_steal_time, u64{1} << 60 | 1), std::nullopt);
  EXPECT_EQ(write_msr(paravirt::msr_async_pf, 1), Vector::gp);
}

TEST_F(SystemTest, AFlushLeftForASleepingVcpuIsFoundOnce) {
  enter_flat64(cpu, machine);
  EXPECT_EQ(write_msr(paravirt::msr_steal_time, 0x8000 | 1), std::nullopt);
  paravirt::mark_preempted(cpu);
  EXPECT_EQ(machine.load<u8>(0x8010), 1);
  machine.store<u8>(0x8010, 3);
  EXPECT_TRUE(paravirt::mark_running(cpu));
  EXPECT_FALSE(paravirt::mark_running(cpu));
}

TEST_F(SystemTest, StolenTimeAddsUp) {
  enter_flat64(cpu, machine);
  EXPECT_EQ(write_msr(paravirt::msr_steal_time, 0x8000 | 1), std::nullopt);
  paravirt::add_stolen_time(cpu, 500);
  paravirt::add_stolen_time(cpu, 250);
  EXPECT_EQ(machine.load<u64>(0x8000), 750u);
  EXPECT_EQ(machine.load<u32>(0x8008), 4u);  // even: not changing
}

TEST(TscTest, DescriptionsAgreeWithTheFrequency) {
  for (auto const hz : {u64{800'000'000}, u64{1'000'000'000}, u64{2'599'999'123}, u64{5'100'000'000}}) {
    auto const tsc = describe_tsc(hz);
    auto const one_second = tsc.shift < 0 ? hz >> -tsc.shift : hz << tsc.shift;
    auto const ns = static_cast<u64>(static_cast<u128>(one_second) * tsc.nanoseconds_multiplier >> 32);
    EXPECT_NEAR(static_cast<double>(ns), 1e9, 20) << hz;
    EXPECT_NEAR(static_cast<double>(tsc.crystal_hz) * tsc.crystal_ratio, static_cast<double>(hz), 200) << hz;
  }
}

}  // namespace
}  // namespace vireo::engine::soft
