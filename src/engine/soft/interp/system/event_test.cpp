#include "engine/soft/interp/system/event.h"

#include <gtest/gtest.h>

#include "engine/soft/interp/system/far_transfer.h"
#include "engine/soft/interp/system/interrupt.h"
#include "engine/soft/interp/system/iret.h"
#include "engine/soft/test_machine.h"

namespace vireo::engine::soft {
namespace {

using x86::Vector;

constexpr u64 gdt{0x3000};
constexpr u64 idt{0x4000};
constexpr u64 tss{0x5000};
constexpr u16 kernel_code{0x08}, kernel_data{0x10}, user_code{0x2b}, user_data{0x23}, tss_selector{0x30};
constexpr u64 handler{0xffffffff81001000};

constexpr u64 code64_descriptor(u8 dpl) { return 0x00af9b000000ffff | u64{dpl} << 45; }
constexpr u64 code32_descriptor(u8 dpl) { return 0x00cf9b000000ffff | u64{dpl} << 45; }
constexpr u64 data_descriptor(u8 dpl) { return 0x00cf93000000ffff | u64{dpl} << 45; }

class EventTest : public testing::Test {
 protected:
  EventTest() {
    cpu_.state.gdtr = {.base = gdt, .limit = 0x7f};
    cpu_.state.idtr = {.base = idt, .limit = 0xfff};
  }
  void store_segments(u64 kernel, u64 user) {
    machine_.store<u64>(gdt + kernel_code, kernel);
    machine_.store<u64>(gdt + kernel_data, data_descriptor(0));
    machine_.store<u64>(gdt + 0x20, data_descriptor(3));
    machine_.store<u64>(gdt + 0x28, user);
  }
  void enter_kernel64() {
    enter_flat64(cpu_, machine_);
    begin_long_mode();
    cpu_.state.gpr[x86::rsp] = 0x8008;
  }
  void enter_process64() {
    enter_user64(cpu_, machine_);
    begin_long_mode();
    cpu_.state.gpr[x86::rsp] = 0x7000;
  }
  void enter_kernel32() {
    enter_flat32(cpu_);
    begin_protected_mode();
    cpu_.state.gpr[x86::rsp] = 0x8000;
  }
  void enter_process32() {
    cpu_.state.cr0 |= x86::cr0_pe;
    cpu_.state.segment.fill({.base = 0, .limit = 0xffffffff, .selector = user_data, .attributes = 0xc0f3});
    cpu_.state.cs() = {.base = 0, .limit = 0xffffffff, .selector = user_code, .attributes = 0xc0fb};
    begin_protected_mode();
    cpu_.update_mode();
    cpu_.state.gpr[x86::rsp] = 0x7000;
  }
  void set_gate64(u8 vector, u8 type_and_dpl, u8 stack_table = 0, u16 selector = kernel_code,
                  u64 to = handler) {
    auto const low = (to & 0xffff) | u64{selector} << 16 | u64{stack_table} << 32 | u64{type_and_dpl} << 40 |
                     (to >> 16 & 0xffff) << 48;
    machine_.store<u64>(idt + vector * 16u, low);
    machine_.store<u64>(idt + vector * 16u + 8, to >> 32);
  }
  void set_gate32(u8 vector, u8 type_and_dpl, u16 selector, u32 to) {
    machine_.store<u64>(idt + vector * 8u, gate32(type_and_dpl, selector, to));
  }
  static u64 gate32(u8 type_and_dpl, u16 selector, u32 to, u8 parameters = 0) {
    return (to & 0xffff) | u64{selector} << 16 | u64{parameters} << 32 | u64{type_and_dpl} << 40 |
           u64{to >> 16} << 48;
  }
  u64 stacked64(int slot) { return machine_.load<u64>(cpu_.state.gpr[x86::rsp] + static_cast<u64>(slot) * 8); }
  u32 stacked32(int slot) { return machine_.load<u32>(cpu_.state.gpr[x86::rsp] + static_cast<u64>(slot) * 4); }

  TestMachine machine_;
  x86::CpuidModel model_;
  Cpu cpu_{VcpuId{0}, machine_, model_};

 private:
  void begin_long_mode() {
    store_segments(code64_descriptor(0), code64_descriptor(3));
    cpu_.state.tr = {.base = tss, .limit = 0x67, .selector = tss_selector, .attributes = 0x8b};
    cpu_.state.rip = 0x1234;
  }
  void begin_protected_mode() {
    store_segments(code32_descriptor(0), code32_descriptor(3));
    cpu_.state.tr = {.base = tss, .limit = 0x67, .selector = tss_selector, .attributes = 0x8b};
    machine_.store<u32>(tss + 4, 0x9000);
    machine_.store<u32>(tss + 8, kernel_data);
    cpu_.state.rip = 0x1234;
  }
};

TEST_F(EventTest, InterruptGateInLongModeAlignsStackAndClearsIf) {
  enter_kernel64();
  set_gate64(0x40, 0x8e);
  cpu_.state.rflags = x86::flag_if | x86::flag_fixed | x86::flag_tf;
  EXPECT_EQ(deliver_event(cpu_, {.vector = 0x40, .kind = Event::Kind::external}), Delivery::delivered);
  EXPECT_EQ(cpu_.state.rip, handler);
  EXPECT_EQ(cpu_.state.rflags, x86::flag_fixed);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x8000u - 5 * 8);
  EXPECT_EQ(stacked64(0), 0x1234u);
  EXPECT_EQ(stacked64(1), kernel_code);
  EXPECT_EQ(stacked64(2), x86::flag_if | x86::flag_fixed | x86::flag_tf);
  EXPECT_EQ(stacked64(3), 0x8008u);
  EXPECT_EQ(stacked64(4), kernel_data);
}

TEST_F(EventTest, ExceptionFromUserSwitchesToRsp0AndIretReturns) {
  enter_process64();
  set_gate64(14, 0x8e);
  machine_.store<u64>(tss + 4, 0x9000);
  cpu_.state.rflags = x86::flag_if | x86::flag_fixed;
  deliver_event(cpu_, {.vector = 14,
                       .kind = Event::Kind::exception,
                       .has_error_code = true,
                       .error_code = 6,
                       .address = 0xdead000});
  EXPECT_EQ(cpu_.cpl(), 0);
  EXPECT_EQ(cpu_.state.cr2, 0xdead000u);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x9000u - 6 * 8);
  EXPECT_EQ(cpu_.state.ss().selector, 0);
  EXPECT_EQ(stacked64(0), 6u);
  EXPECT_EQ(stacked64(3), x86::flag_if | x86::flag_fixed | x86::flag_rf);

  cpu_.state.gpr[x86::rsp] += 8;
  interrupt_return(cpu_, 8);
  EXPECT_EQ(cpu_.cpl(), 3);
  EXPECT_EQ(cpu_.state.rip, 0x1234u);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x7000u);
  EXPECT_EQ(cpu_.state.ss().selector, user_data);
  EXPECT_TRUE(cpu_.state.rflags & x86::flag_if);
}

TEST_F(EventTest, InterruptStackTableIsUsedWithoutPrivilegeChangeAndNmiIsBlockedUntilIret) {
  enter_kernel64();
  set_gate64(2, 0x8e, 3);
  machine_.store<u64>(tss + 36 + 2 * 8, 0xa000);
  deliver_event(cpu_, {.vector = 2, .kind = Event::Kind::nmi});
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0xa000u - 5 * 8);
  EXPECT_TRUE(cpu_.state.nmi_blocked);
  interrupt_return(cpu_, 8);
  EXPECT_FALSE(cpu_.state.nmi_blocked);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x8008u);
}

TEST_F(EventTest, SoftwareInterruptNeedsGatePrivilege) {
  enter_process64();
  set_gate64(0x80, 0x8e);
  try {
    deliver_once(cpu_, {.vector = 0x80, .kind = Event::Kind::software});
    FAIL() << "no fault";
  } catch (Fault const& fault) {
    EXPECT_EQ(fault.vector, Vector::gp);
    EXPECT_EQ(fault.error_code, 0x80u * 8 + 2);
  }
  set_gate64(0x80, 0xef);
  machine_.store<u64>(tss + 4, 0x9000);
  deliver_once(cpu_, {.vector = 0x80, .kind = Event::Kind::software});
  EXPECT_EQ(cpu_.state.rip, handler);
}

TEST_F(EventTest, AbsentGateGivesNotPresentWithExternalBit) {
  enter_kernel64();
  set_gate64(0x40, 0x0e);
  set_gate64(11, 0x8e);
  deliver_event(cpu_, {.vector = 0x40, .kind = Event::Kind::external});
  EXPECT_EQ(cpu_.state.rip, handler);
  EXPECT_EQ(stacked64(0), 0x40u * 8 + 3);
}

TEST_F(EventTest, TwoContributoryExceptionsMakeADoubleFault) {
  enter_kernel64();
  set_gate64(8, 0x8e);
  deliver_event(cpu_, {.vector = 13, .kind = Event::Kind::exception, .has_error_code = true});
  EXPECT_EQ(cpu_.state.rip, handler);
  EXPECT_EQ(stacked64(0), 0u);
  EXPECT_EQ(stacked64(1), 0x1234u);
}

TEST_F(EventTest, FaultWhileDeliveringDoubleFaultShutsDown) {
  enter_kernel64();
  EXPECT_EQ(deliver_event(cpu_, {.vector = 13, .kind = Event::Kind::exception, .has_error_code = true}),
            Delivery::shutdown);
}

TEST(CombinationTest, FollowsTable6Dash5) {
  auto const event = [](Vector vector) {
    return Event{.vector = static_cast<u8>(vector), .kind = Event::Kind::exception};
  };
  EXPECT_EQ(combine(event(Vector::ud), Vector::pf), Combination::serial);
  EXPECT_EQ(combine(event(Vector::gp), Vector::np), Combination::double_fault);
  EXPECT_EQ(combine(event(Vector::gp), Vector::pf), Combination::serial);
  EXPECT_EQ(combine(event(Vector::pf), Vector::pf), Combination::double_fault);
  EXPECT_EQ(combine(event(Vector::pf), Vector::gp), Combination::double_fault);
  EXPECT_EQ(combine(event(Vector::pf), Vector::ud), Combination::serial);
  EXPECT_EQ(combine(event(Vector::df), Vector::gp), Combination::shutdown);
  EXPECT_EQ(combine({.vector = 0x40, .kind = Event::Kind::external}, Vector::gp), Combination::serial);
}

TEST_F(EventTest, UnreadableStackDuringPageFaultMakesADoubleFaultOnItsOwnStack) {
  enter_kernel64();
  set_gate64(14, 0x8e);
  set_gate64(8, 0x8e, 1);
  machine_.store<u64>(tss + 36, 0xa000);
  cpu_.state.gpr[x86::rsp] = 0x7000'0000'0000;
  deliver_event(cpu_,
                {.vector = 14, .kind = Event::Kind::exception, .has_error_code = true, .address = 0x1000});
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0xa000u - 6 * 8);
  EXPECT_EQ(cpu_.state.cr2, 0x7000'0000'0000u - 8);
  EXPECT_EQ(stacked64(4), 0x7000'0000'0000u);
}

TEST_F(EventTest, RealModeInterruptAndIretUseTheVectorTable) {
  cpu_.state.idtr = {.base = 0, .limit = 0x3ff};
  cpu_.state.cs() = {.base = 0x10000, .limit = 0xffff, .selector = 0x1000, .attributes = 0x9b};
  cpu_.state.rip = 0x222;
  cpu_.state.gpr[x86::rsp] = 0xffff'0100;
  cpu_.state.rflags = x86::flag_fixed | x86::flag_if | x86::flag_cf;
  cpu_.update_mode();
  machine_.store<u32>(0x10 * 4, 0xf000'1234);
  deliver_event(cpu_, {.vector = 0x10, .kind = Event::Kind::software});
  EXPECT_EQ(cpu_.state.cs().base, 0xf0000u);
  EXPECT_EQ(cpu_.state.rip, 0x1234u);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0xffff'00fau);
  EXPECT_FALSE(cpu_.state.rflags & x86::flag_if);
  EXPECT_EQ(machine_.load<u16>(0xfa), 0x222);

  interrupt_return(cpu_, 2);
  EXPECT_EQ(cpu_.code_address(), 0x10222u);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0xffff'0100u);
  EXPECT_EQ(cpu_.state.rflags, x86::flag_fixed | x86::flag_if | x86::flag_cf);
}

TEST_F(EventTest, InterruptIn32BitModeSwitchesStackThroughTss) {
  enter_process32();
  set_gate32(0x40, 0x8e, kernel_code, 0x00400000);
  deliver_event(cpu_, {.vector = 0x40, .kind = Event::Kind::external});
  EXPECT_EQ(cpu_.cpl(), 0);
  EXPECT_EQ(cpu_.state.rip, 0x00400000u);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x9000u - 5 * 4);
  EXPECT_EQ(stacked32(3), 0x7000u);
  EXPECT_EQ(stacked32(4), user_data);
  interrupt_return(cpu_, 4);
  EXPECT_EQ(cpu_.cpl(), 3);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x7000u);
}

TEST_F(EventTest, ReturnToUserDropsKernelDataSegments) {
  enter_process32();
  set_gate32(0x40, 0x8e, kernel_code, 0x00400000);
  deliver_event(cpu_, {.vector = 0x40, .kind = Event::Kind::external});
  cpu_.state.seg(x86::SegmentRegister::fs) = cpu_.state.ss();
  interrupt_return(cpu_, 4);
  EXPECT_TRUE(cpu_.state.seg(x86::SegmentRegister::fs).unusable());
  EXPECT_FALSE(cpu_.state.seg(x86::SegmentRegister::ds).unusable());
}

TEST_F(EventTest, CallGateCopiesParametersToTheInnerStackAndReturnReleasesThem) {
  enter_process32();
  machine_.store<u64>(gdt + 0x38, gate32(0xec, kernel_code, 0x00500000, 2));
  machine_.store<u32>(0x7000, 0xaaaa);
  machine_.store<u32>(0x7004, 0xbbbb);
  far_call(cpu_, 0x3b, 0, 4);
  EXPECT_EQ(cpu_.cpl(), 0);
  EXPECT_EQ(cpu_.state.rip, 0x00500000u);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x9000u - 6 * 4);
  EXPECT_EQ(stacked32(0), 0x1234u);
  EXPECT_EQ(stacked32(1), user_code);
  EXPECT_EQ(stacked32(2), 0xaaaau);
  EXPECT_EQ(stacked32(3), 0xbbbbu);
  EXPECT_EQ(stacked32(4), 0x7000u);
  far_return(cpu_, 8, 4);
  EXPECT_EQ(cpu_.cpl(), 3);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x7008u);
}

TEST_F(EventTest, CallGateInLongModePushesNullStackSegment) {
  enter_process64();
  machine_.store<u64>(tss + 4, 0x9000);
  machine_.store<u64>(gdt + 0x38, gate32(0xec, kernel_code, static_cast<u32>(handler)));
  machine_.store<u64>(gdt + 0x40, handler >> 32);
  far_call(cpu_, 0x3b, 0, 8);
  EXPECT_EQ(cpu_.state.rip, handler);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x9000u - 4 * 8);
  EXPECT_EQ(stacked64(3), user_data);
  far_return(cpu_, 0, 8);
  EXPECT_EQ(cpu_.cpl(), 3);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x7000u);
}

TEST_F(EventTest, FarJumpToInnerCodeIsRefusedAndLeavesTheStateAlone) {
  enter_process32();
  EXPECT_THROW(far_jump(cpu_, kernel_code, 0x100, 4), Fault);
  EXPECT_EQ(cpu_.state.rip, 0x1234u);
  EXPECT_EQ(cpu_.state.cs().selector, user_code);
}

TEST_F(EventTest, Virtual8086ModeIsLeftByInterruptAndEnteredByIret) {
  enter_process32();
  set_gate32(0x40, 0x8e, kernel_code, 0x00400000);
  cpu_.state.rflags |= x86::flag_vm;
  for (auto& segment : cpu_.state.segment)
    segment = {.base = 0x20000, .limit = 0xffff, .selector = 0x2000, .attributes = 0xf3};
  cpu_.state.gpr[x86::rsp] = 0x100;
  cpu_.update_mode();
  deliver_event(cpu_, {.vector = 0x40, .kind = Event::Kind::external});
  EXPECT_FALSE(cpu_.virtual8086());
  EXPECT_EQ(cpu_.cpl(), 0);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x9000u - 9 * 4);
  EXPECT_EQ(stacked32(8), 0x2000u);
  EXPECT_TRUE(cpu_.state.seg(x86::SegmentRegister::ds).unusable());
  interrupt_return(cpu_, 4);
  EXPECT_TRUE(cpu_.virtual8086());
  EXPECT_EQ(cpu_.cpl(), 3);
  EXPECT_EQ(cpu_.state.seg(x86::SegmentRegister::gs).base, 0x20000u);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0x100u);
}

/// A second 32-bit task at 0x6000 with selector 0x38.
void store_second_task(TestMachine& machine) {
  machine.store<u64>(gdt + tss_selector, 0x00008b005000'0067);
  machine.store<u64>(gdt + 0x38, 0x00008900'6000'0067);
  machine.store<u32>(0x6000 + 32, 0x00600000);
  machine.store<u32>(0x6000 + 36, x86::flag_fixed);
  machine.store<u32>(0x6000 + 40 + 4 * 4, 0xb000);
  machine.store<u32>(0x6000 + 40 + 3 * 4, 0xcafe);
  for (auto const i : {0, 2, 3, 4, 5}) machine.store<u32>(static_cast<u64>(0x6000 + 72 + i * 4), kernel_data);
  machine.store<u32>(0x6000 + 76, kernel_code);
}

TEST_F(EventTest, TaskSwitchByCallNestsAndIretComesBack) {
  enter_kernel32();
  store_second_task(machine_);
  cpu_.state.gpr[x86::rbx] = 0x1111;
  far_call(cpu_, 0x38, 0, 4);
  EXPECT_EQ(cpu_.state.rip, 0x00600000u);
  EXPECT_EQ(cpu_.state.gpr[x86::rbx], 0xcafeu);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0xb000u);
  EXPECT_TRUE(cpu_.state.rflags & x86::flag_nt);
  EXPECT_TRUE(cpu_.state.cr0 & x86::cr0_ts);
  EXPECT_EQ(machine_.load<u16>(0x6000), tss_selector);
  EXPECT_EQ(machine_.load<u8>(gdt + 0x38 + 5), 0x8b);
  EXPECT_EQ(machine_.load<u8>(gdt + tss_selector + 5), 0x8b);

  interrupt_return(cpu_, 4);
  EXPECT_EQ(cpu_.state.rip, 0x1234u);
  EXPECT_EQ(cpu_.state.gpr[x86::rbx], 0x1111u);
  EXPECT_EQ(cpu_.state.tr.selector, tss_selector);
  EXPECT_EQ(machine_.load<u8>(gdt + 0x38 + 5), 0x89);
}

TEST_F(EventTest, TaskGateDeliversErrorCodeOnTheNewStack) {
  enter_kernel32();
  store_second_task(machine_);
  set_gate32(8, 0x85, 0x38, 0);
  deliver_event(cpu_, {.vector = 8, .kind = Event::Kind::exception, .has_error_code = true, .error_code = 0});
  EXPECT_EQ(cpu_.state.rip, 0x00600000u);
  EXPECT_EQ(cpu_.state.gpr[x86::rsp], 0xb000u - 4);
}

TEST_F(EventTest, FaultInTheNewTaskBelongsToTheNewTask) {
  enter_kernel32();
  store_second_task(machine_);
  machine_.store<u32>(0x6000 + 84, 0x100);
  set_gate32(10, 0x8e, kernel_code, 0x00700000);
  far_jump(cpu_, 0x38, 0, 4);
  EXPECT_EQ(cpu_.state.tr.selector, 0x38);
  EXPECT_EQ(cpu_.state.rip, 0x00700000u);
  EXPECT_EQ(stacked32(0), 0x100u);
  EXPECT_EQ(stacked32(1), 0x00600000u);
}

}  // namespace
}  // namespace vireo::engine::soft
