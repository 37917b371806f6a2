#include "engine/soft/interp/cpu.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "engine/soft/test_machine.h"

namespace vireo::engine::soft {
namespace {

using x86::SegmentRegister;
using x86::Vector;
constexpr auto ds = SegmentRegister::ds;
constexpr auto ss = SegmentRegister::ss;
constexpr auto cs = SegmentRegister::cs;
constexpr u64 device{0xe0000000};

class CpuTest : public testing::Test {
 protected:
  std::optional<Vector> fault(auto&& action) {
    try {
      action();
      return {};
    } catch (Fault const& raised) {
      return raised.vector;
    }
  }
  /// Makes the 2 MiB page at `linear` (below 4 GiB, tables of enter_flat64) what `entry` says.
  void set_large_page(u64 linear, u64 entry) {
    machine_.store<u64>(1 * MiB + 0x2000 + (linear >> 30) * 0x1000 + (linear >> 21 & 511) * 8, entry);
    cpu_.mmu.flush_all();
  }

  TestMachine machine_;
  x86::CpuidModel model_;
  Cpu cpu_{VcpuId{0}, machine_, model_};
};

TEST_F(CpuTest, ReadsBackWhatItWroteAcrossAPage) {
  enter_flat64(cpu_, machine_);
  cpu_.write<u64>(ds, 0x2ffc, 0x1122334455667788);
  EXPECT_EQ(cpu_.read<u64>(ds, 0x2ffc), 0x1122334455667788u);
  EXPECT_EQ(machine_.load<u32>(0x3000), 0x11223344u);
}

TEST_F(CpuTest, StoreAcrossIntoAnAbsentPageWritesNothing) {
  enter_flat64(cpu_, machine_);
  set_large_page(4 * MiB, 0);
  EXPECT_EQ(fault([&] { cpu_.write<u64>(ds, 4 * MiB - 4, ~u64{0}); }), Vector::pf);
  EXPECT_EQ(machine_.load<u32>(4 * MiB - 4), 0u);
}

TEST_F(CpuTest, NonCanonicalAddressRaisesStackFaultOnStackAndProtectionElsewhere) {
  enter_flat64(cpu_, machine_);
  EXPECT_EQ(fault([&] { cpu_.read<u8>(ds, u64{1} << 47); }), Vector::gp);
  EXPECT_EQ(fault([&] { cpu_.read<u8>(ss, u64{1} << 47); }), Vector::ss);
  EXPECT_EQ(fault([&] { cpu_.read<u64>(ds, (u64{1} << 47) - 4); }), Vector::gp);
}

TEST_F(CpuTest, SegmentBaseCountsInLongModeOnlyForFsAndGs) {
  enter_flat64(cpu_, machine_);
  machine_.store<u32>(0x5010, 0xabcd);
  cpu_.state.seg(ds).base = 0x5000;
  cpu_.set_segment_base(SegmentRegister::gs, 0x5000);
  EXPECT_EQ(cpu_.read<u32>(SegmentRegister::gs, 0x10), 0xabcdu);
  EXPECT_EQ(cpu_.read<u32>(ds, 0x5010), 0xabcdu);
}

TEST_F(CpuTest, DeviceAccessesKeepTheirWidth) {
  enter_flat64(cpu_, machine_);
  machine_.mmio_values[device + 8] = 0x1234567890abcdef;
  EXPECT_EQ(cpu_.read<u32>(ds, device + 8), 0x90abcdefu);
  cpu_.write<u16>(ds, device + 2, 0x55aa);
  cpu_.write<u64>(ds, device + 16, 7);
  EXPECT_EQ(machine_.mmio_writes,
            (std::vector<TestMachine::MmioWrite>{{device + 2, 2, 0x55aa}, {device + 16, 8, 7}}));
}

TEST_F(CpuTest, LimitIsCheckedIn32BitMode) {
  enter_flat32(cpu_);
  cpu_.state.seg(ds).limit = 0xfff;
  cpu_.state.seg(ss).limit = 0xfff;
  cpu_.update_mode();
  EXPECT_EQ(fault([&] { cpu_.read<u32>(ds, 0xffc); }), std::nullopt);
  EXPECT_EQ(fault([&] { cpu_.read<u32>(ds, 0xffd); }), Vector::gp);
  EXPECT_EQ(fault([&] { cpu_.read<u32>(ss, 0xffd); }), Vector::ss);
}

TEST_F(CpuTest, ExpandDownSegmentHoldsOffsetsAboveItsLimit) {
  enter_flat32(cpu_);
  cpu_.state.seg(ds) = {.base = 0, .limit = 0xfff, .selector = 0x10, .attributes = 0x4097};
  cpu_.update_mode();
  EXPECT_EQ(fault([&] { cpu_.read<u8>(ds, 0xfff); }), Vector::gp);
  EXPECT_EQ(fault([&] { cpu_.read<u8>(ds, 0x1000); }), std::nullopt);
}

TEST_F(CpuTest, CodeSegmentIsNeverWritableInProtectedMode) {
  enter_flat32(cpu_);
  EXPECT_EQ(fault([&] { cpu_.read<u8>(cs, 0x100); }), std::nullopt);
  EXPECT_EQ(fault([&] { cpu_.write<u8>(cs, 0x100, 1); }), Vector::gp);
}

TEST_F(CpuTest, NullSegmentRaisesProtectionFault) {
  enter_flat32(cpu_);
  cpu_.state.seg(ds).attributes = 0x100;
  cpu_.update_mode();
  EXPECT_EQ(fault([&] { cpu_.read<u8>(ds, 0); }), Vector::gp);
}

TEST_F(CpuTest, RealModeSegmentsWrapNoFurtherThan64KiB) {
  cpu_.state.seg(ds).base = 0x12340;
  cpu_.update_mode();
  cpu_.write<u16>(ds, 0xfffe, 0xbeef);
  EXPECT_EQ(machine_.load<u16>(0x2233e), 0xbeef);
  EXPECT_EQ(fault([&] { cpu_.read<u16>(ds, 0xffff); }), Vector::gp);
}

TEST_F(CpuTest, MisalignedUserAccessRaisesAlignmentCheck) {
  enter_user64(cpu_, machine_);
  cpu_.state.cr0 |= x86::cr0_am;
  cpu_.state.rflags |= x86::flag_ac;
  cpu_.update_rights();
  EXPECT_EQ(fault([&] { cpu_.read<u32>(ds, 0x1002); }), Vector::ac);
  EXPECT_EQ(fault([&] { cpu_.read<u32>(ds, 0x1004); }), std::nullopt);
  cpu_.state.rflags &= ~u64{x86::flag_ac};
  cpu_.update_rights();
  EXPECT_EQ(fault([&] { cpu_.read<u32>(ds, 0x1002); }), std::nullopt);
}

TEST_F(CpuTest, SmapFollowsTheAcFlag) {
  enter_flat64(cpu_, machine_);
  cpu_.state.cr4 |= x86::cr4_smap;
  cpu_.update_mode();
  EXPECT_EQ(fault([&] { cpu_.read<u8>(ds, 0x1000); }), Vector::pf);
  cpu_.state.rflags |= x86::flag_ac;
  cpu_.update_rights();
  EXPECT_EQ(fault([&] { cpu_.read<u8>(ds, 0x1000); }), std::nullopt);
  EXPECT_EQ(fault([&] { cpu_.read_linear<u8>(0x1000, true); }), Vector::pf);
}

TEST_F(CpuTest, StoreIntoTheCodePageIsNoticed) {
  enter_flat64(cpu_, machine_);
  cpu_.code_page_host = machine_.memory().host(Gpa{0x3000}, page_size, true);
  cpu_.write<u8>(ds, 0x2fff, 1);
  EXPECT_FALSE(cpu_.code_written);
  cpu_.write<u64>(ds, 0x2ffc, 1);
  EXPECT_TRUE(cpu_.code_written);
  cpu_.code_written = false;
  cpu_.modify<u8>(ds, 0x3fff, true, [](u8 old) { return static_cast<u8>(old + 1); });
  EXPECT_TRUE(cpu_.code_written);
}

TEST_F(CpuTest, StackWrapsAt64KiBIn16BitMode) {
  cpu_.state.gpr[x86::rsp] = 0xffff0000;
  cpu_.push(0x1234, 2);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0xfffffffeu);
  EXPECT_EQ(machine_.load<u16>(0xfffe), 0x1234);
  EXPECT_EQ(cpu_.pop(2), 0x1234u);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0xffff0000u);
}

TEST_F(CpuTest, LockedModifyLosesNoUpdateOfAnotherVcpu) {
  auto other = Cpu{VcpuId{1}, machine_, model_};
  enter_flat64(cpu_, machine_);
  enter_flat64(other, machine_);
  auto const count = [](Cpu& cpu) {
    for (auto i = 0; i < 20000; ++i) cpu.modify<u32>(ds, 0x2ffe, true, [](u32 old) { return old + 1; });
    for (auto i = 0; i < 20000; ++i) cpu.modify<u64>(ds, 0x3010, true, [](u64 old) { return old + 1; });
    for (auto i = 0; i < 20000; ++i) cpu.modify<u128>(ds, 0x3020, true, [](u128 old) { return old + 1; });
  };
  auto thread = std::thread{[&] { count(other); }};
  count(cpu_);
  thread.join();
  EXPECT_EQ(cpu_.read<u32>(ds, 0x2ffe), 40000u);
  EXPECT_EQ(cpu_.read<u64>(ds, 0x3010), 40000u);
  EXPECT_TRUE(cpu_.read<u128>(ds, 0x3020) == 40000);
}

TEST_F(CpuTest, CodeIsFoundUpToThePageEndAndDevicesGiveNone) {
  enter_flat64(cpu_, machine_);
  machine_.store_code(0x3ff0, {0x90});
  auto const bytes = cpu_.code_at(0x3ff0);
  EXPECT_EQ(bytes.length, 16u);
  EXPECT_EQ(bytes.host[0], 0x90);
  machine_.mmio_values[device] = 0xf4;
  EXPECT_EQ(cpu_.code_at(device).host, nullptr);
  EXPECT_EQ(cpu_.fetch_mmio(device), 0xf4);
}

TEST_F(CpuTest, Cr3WithReservedPdpteBitsIsRefusedAndKept) {
  enter_flat32(cpu_);
  machine_.store<u64>(0x30000, 0x21007);
  cpu_.state.cr4 |= x86::cr4_pae;
  cpu_.state.cr3 = 0x20000;
  machine_.store<u64>(0x20000, 0x21001);
  machine_.store<u64>(0x21000, 0xe7);
  cpu_.state.cr0 |= x86::cr0_pg;
  cpu_.update_mode();
  EXPECT_EQ(fault([&] { cpu_.set_cr3(0x30000); }), Vector::gp);
  EXPECT_EQ(cpu_.state.cr3, 0x20000u);
  EXPECT_EQ(fault([&] { cpu_.read<u32>(ds, 0x1000); }), std::nullopt);
}

}  // namespace
}  // namespace vireo::engine::soft
