#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/soft/interp/vector/native_test_kit.h"
#include "engine/soft/interp/vector/save.h"
#include "engine/soft/interp/vector/thunk.h"

// Exceptions in the SDM's order, and what must stay as it was when they come.
namespace vireo::engine::soft::vector {
namespace {

using x86::Vector;
using Code = std::vector<u8>;

/// The exception that an instruction raises; de when there is none.
Vector raised(GuestRunner& guest, Code const& code) {
  try {
    guest.step(code);
  } catch (Fault const& fault) {
    return fault.vector;
  }
  return Vector::de;
}
constexpr auto none = Vector::de;

Code const addps_xmm0_xmm1{0x0f, 0x58, 0xc1};
Code const addsd_xmm0_xmm1{0xf2, 0x0f, 0x58, 0xc1};
Code const divsd_xmm0_xmm1{0xf2, 0x0f, 0x5e, 0xc1};
Code const movaps_xmm0_rax{0x0f, 0x28, 0x00};
Code const movups_xmm0_rax{0x0f, 0x10, 0x00};
Code const movaps_rax_xmm0{0x0f, 0x29, 0x00};
Code const paddd_xmm0_rax{0x66, 0x0f, 0xfe, 0x00};
Code const vpaddd_ymm0_ymm1_rax{0xc5, 0xf5, 0xfe, 0x00};
Code const vpaddd_xmm0_xmm1_xmm2{0xc5, 0xf1, 0xfe, 0xc2};
Code const pxor_mm0_mm1{0x0f, 0xef, 0xc1};
Code const fld1{0xd9, 0xe8};
Code const fwait{0x9b};
Code const fnstsw_ax{0xdf, 0xe0};
Code const fldz{0xd9, 0xee};
Code const fdivp{0xde, 0xf9};
Code const fstp_m64_rax{0xdd, 0x18};
Code const vpgatherdd_xmm0_rax_xmm1_xmm2{0xc4, 0xe2, 0x69, 0x90, 0x04, 0x08};
Code const vpmaskmovd_rax_xmm1_xmm0{0xc4, 0xe2, 0x71, 0x8e, 0x00};
Code const vpmaskmovd_xmm0_xmm1_rax{0xc4, 0xe2, 0x71, 0x8c, 0x00};

/// Nothing is mapped from here on for 2 MiB.
constexpr u64 edge{0xa0'0000};
void unmap_edge(GuestRunner& guest) {
  guest.machine.store<u64>(1 * MiB + 0x2000 + 8 * (edge / (2 * MiB)), 0);
  guest.cpu.mmu.flush_all();
}

void set_xmm(Cpu& cpu, u8 reg, std::array<u32, 4> const& value) {
  std::memcpy(cpu.state.extended.xmm[reg].bytes, value.data(), 16);
}
std::array<u32, 4> xmm(Cpu const& cpu, u8 reg) {
  std::array<u32, 4> value;
  std::memcpy(value.data(), cpu.state.extended.xmm[reg].bytes, 16);
  return value;
}
void set_double(Cpu& cpu, u8 reg, double value) { store_le(cpu.state.extended.xmm[reg].bytes, value); }

// ---- enables ----

TEST(VectorEnables, SseNeedsOsfxsrAndNoEmulationThenNoTaskSwitch) {
  auto guest = GuestRunner{};
  EXPECT_EQ(raised(guest, addps_xmm0_xmm1), none);
  guest.cpu.state.cr0 |= x86::cr0_ts;
  EXPECT_EQ(raised(guest, addps_xmm0_xmm1), Vector::nm);
  guest.cpu.state.cr0 |= x86::cr0_em;
  EXPECT_EQ(raised(guest, addps_xmm0_xmm1), Vector::ud);
  guest.cpu.state.cr0 &= ~u64{x86::cr0_em};
  guest.cpu.state.cr4 &= ~u64{x86::cr4_osfxsr};
  EXPECT_EQ(raised(guest, addps_xmm0_xmm1), Vector::ud);
}

TEST(VectorEnables, AvxNeedsOsxsaveAndItsComponentsThenNoTaskSwitch) {
  auto guest = GuestRunner{};
  EXPECT_EQ(raised(guest, vpaddd_xmm0_xmm1_xmm2), none);
  guest.cpu.state.cr0 |= x86::cr0_ts;
  EXPECT_EQ(raised(guest, vpaddd_xmm0_xmm1_xmm2), Vector::nm);
  guest.cpu.state.xcr0 = 3;
  EXPECT_EQ(raised(guest, vpaddd_xmm0_xmm1_xmm2), Vector::ud);
  guest.cpu.state.xcr0 = 7;
  guest.cpu.state.cr4 &= ~u64{x86::cr4_osxsave};
  EXPECT_EQ(raised(guest, vpaddd_xmm0_xmm1_xmm2), Vector::ud);
}

TEST(VectorEnables, X87AndMmxFollowEmulationAndTaskSwitch) {
  auto guest = GuestRunner{};
  guest.cpu.state.cr0 |= x86::cr0_ts;
  EXPECT_EQ(raised(guest, fld1), Vector::nm);
  EXPECT_EQ(raised(guest, pxor_mm0_mm1), Vector::nm);
  EXPECT_EQ(raised(guest, fwait), none);
  guest.cpu.state.cr0 |= x86::cr0_mp;
  EXPECT_EQ(raised(guest, fwait), Vector::nm);
  guest.cpu.state.cr0 |= x86::cr0_em;
  EXPECT_EQ(raised(guest, fld1), Vector::nm);
  EXPECT_EQ(raised(guest, pxor_mm0_mm1), Vector::ud);
}

// ---- alignment ----

TEST(VectorMemory, LegacyOperandsMustBeAlignedUnlessTheInstructionSaysOtherwise) {
  auto guest = GuestRunner{};
  guest.cpu.state.gpr[x86::rax] = data_start + 8;

  EXPECT_EQ(raised(guest, movaps_xmm0_rax), Vector::gp);
  EXPECT_EQ(raised(guest, movaps_rax_xmm0), Vector::gp);
  EXPECT_EQ(raised(guest, paddd_xmm0_rax), Vector::gp);
  EXPECT_EQ(raised(guest, movups_xmm0_rax), none);
  EXPECT_EQ(raised(guest, vpaddd_ymm0_ymm1_rax), none);
}

TEST(VectorMemory, OperandAcrossPagesIsReadWhole) {
  auto guest = GuestRunner{};
  for (auto i = u64{}; i < 16; i++) guest.machine.store<u8>(data_start + 4096 - 8 + i, static_cast<u8>(i));
  guest.cpu.state.gpr[x86::rax] = data_start + 4096 - 8;

  guest.step(movups_xmm0_rax);

  EXPECT_THAT(xmm(guest.cpu, 0), testing::ElementsAre(0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c));
}

// ---- SIMD floating-point exceptions ----

TEST(SimdException, UnmaskedDivisionByZeroRaisesXmAndStoresNothing) {
  auto guest = GuestRunner{};
  set_double(guest.cpu, 0, 1.0);
  guest.cpu.state.extended.mxcsr = 0x1f80 & ~(4u << 7);
  auto const before = xmm(guest.cpu, 0);

  EXPECT_EQ(raised(guest, divsd_xmm0_xmm1), Vector::xm);

  EXPECT_EQ(xmm(guest.cpu, 0), before);
  EXPECT_EQ(guest.cpu.state.extended.mxcsr, (0x1f80u & ~(4u << 7)) | 4);
}

TEST(SimdException, IsUndefinedOpcodeWithoutOsxmmexcpt) {
  auto guest = GuestRunner{};
  set_double(guest.cpu, 0, 1.0);
  guest.cpu.state.extended.mxcsr = 0;
  guest.cpu.state.cr4 &= ~u64{x86::cr4_osxmmexcpt};

  EXPECT_EQ(raised(guest, divsd_xmm0_xmm1), Vector::ud);
}

TEST(SimdException, PrecomputationExceptionHidesInexactResults) {
  auto guest = GuestRunner{};
  // addps: element 0 is inexact, element 1 invalid (infinity - infinity), and only invalid is unmasked.
  set_xmm(guest.cpu, 0, {0x3f800000, 0x7f800000, 0, 0});
  set_xmm(guest.cpu, 1, {0x2f800001, 0xff800000, 0, 0});
  guest.cpu.state.extended.mxcsr = 0x1f80 & ~(1u << 7);

  EXPECT_EQ(raised(guest, addps_xmm0_xmm1), Vector::xm);

  EXPECT_EQ(guest.cpu.state.extended.mxcsr & 0x3f, 1u);
}

TEST(SimdException, HostKeepsItsOwnRounding) {
  auto guest = GuestRunner{};
  set_double(guest.cpu, 0, 1.0);
  set_double(guest.cpu, 1, 1e-30);
  guest.cpu.state.extended.mxcsr = 0x5f80;  // towards plus infinity

  guest.step(addsd_xmm0_xmm1);

  EXPECT_EQ(load_le<u64>(guest.cpu.state.extended.xmm[0].bytes), 0x3ff0000000000001u);
  EXPECT_EQ(guest.cpu.state.extended.mxcsr, 0x5fa0u);
  EXPECT_EQ(__builtin_ia32_stmxcsr() & ~0x3fu, 0x1f80u);
}

// ---- x87 ----

TEST(X87, UnmaskedExceptionWaitsForTheNextWaitingInstruction) {
  auto guest = GuestRunner{};
  guest.cpu.state.extended.fcw = 0x37b;  // division by zero unmasked
  guest.step(fld1);
  guest.step(fldz);
  guest.cpu.state.rip = 0x1000;
  EXPECT_EQ(raised(guest, fdivp), none);

  EXPECT_EQ(raised(guest, fld1), Vector::mf);
  EXPECT_EQ(raised(guest, fwait), Vector::mf);
  EXPECT_EQ(raised(guest, pxor_mm0_mm1), Vector::mf);
  EXPECT_EQ(raised(guest, fnstsw_ax), none);
  EXPECT_EQ(guest.cpu.state.gpr[x86::rax] & 0x80ff, 0x8084u);
  EXPECT_EQ(guest.cpu.state.extended.fip, 0x1000u);
  EXPECT_EQ(guest.cpu.state.extended.fop, 0x6f9u);
}

TEST(X87, StoreThatFaultsDoesNotPop) {
  auto guest = GuestRunner{};
  guest.step(fld1);
  unmap_edge(guest);
  guest.cpu.state.gpr[x86::rax] = edge - 4;

  EXPECT_EQ(raised(guest, fstp_m64_rax), Vector::pf);

  EXPECT_EQ(guest.cpu.state.extended.ftw, 0x80);
}

TEST(X87, StoreWithAnUnmaskedExceptionLeavesMemoryAlone) {
  auto guest = GuestRunner{};
  guest.cpu.state.extended.fcw = 0x37e;  // invalid operation unmasked: the stack is empty
  guest.cpu.state.gpr[x86::rax] = data_start;
  guest.machine.store<u64>(data_start, 0x1234);

  EXPECT_EQ(raised(guest, fstp_m64_rax), none);

  EXPECT_EQ(guest.machine.load<u64>(data_start), 0x1234u);
  EXPECT_TRUE((guest.cpu.state.extended.fsw & 0x8000) != 0);
}

TEST(X87, EnvironmentHasTheLayoutOf16BitProtectedMode) {
  auto guest = GuestRunner{};
  enter_flat32(guest.cpu);
  guest.cpu.state.cr0 &= ~u64{x86::cr0_pg};
  guest.cpu.state.efer = 0;
  guest.cpu.state.cs().attributes = 0x809b;  // 16-bit code
  guest.cpu.update_mode();
  guest.cpu.state.rip = 0x1234;
  guest.step(fld1);
  guest.cpu.state.gpr[x86::rbx] = 0x100;
  guest.cpu.state.gpr[x86::rsi] = 0x20;

  guest.step({{0xd9, 0x30}});  // fnstenv [bx+si]

  EXPECT_EQ(guest.machine.load<u16>(0x120), 0x37f);
  EXPECT_EQ(guest.machine.load<u16>(0x122), 0x3800);
  EXPECT_EQ(guest.machine.load<u16>(0x124), 0x3fff);
  EXPECT_EQ(guest.machine.load<u16>(0x126), 0x1234);
}

TEST(X87, HostStackIsEmptyAfterwards) {
  auto guest = GuestRunner{};
  guest.step(fld1);

  struct {
    u16 control, a, status, b, tags, rest[9];
  } environment;
  asm volatile("fnstenv %0" : "=m"(environment));

  EXPECT_EQ(environment.tags, 0xffff);
  EXPECT_EQ(environment.control, 0x37f);
}

// ---- masked and gathered elements ----

TEST(Gather, StopsAtTheFaultingElementWithItsProgressInTheMask) {
  auto guest = GuestRunner{};
  unmap_edge(guest);
  guest.machine.store<u32>(edge - 4, 0xaaaa);
  guest.cpu.state.gpr[x86::rax] = edge;
  set_xmm(guest.cpu, 0, {1, 2, 3, 4});
  set_xmm(guest.cpu, 1, {0xfffffffc, 0, 8, 0xfffffffc});
  set_xmm(guest.cpu, 2, {0x80000000, 0x80000000, 0, 0xffffffff});

  EXPECT_EQ(raised(guest, vpgatherdd_xmm0_rax_xmm1_xmm2), Vector::pf);

  EXPECT_THAT(xmm(guest.cpu, 0), testing::ElementsAre(0xaaaa, 2, 3, 4));
  EXPECT_THAT(xmm(guest.cpu, 2), testing::ElementsAre(0, 0xffffffff, 0, 0xffffffff));
}

TEST(Gather, IsUndefinedWhenRegistersCoincide) {
  auto guest = GuestRunner{};
  EXPECT_EQ(raised(guest, {0xc4, 0xe2, 0x79, 0x90, 0x04, 0x08}), Vector::ud);  // mask and destination are xmm0
}

TEST(MaskedMove, ClearElementsAreNotTouched) {
  auto guest = GuestRunner{};
  unmap_edge(guest);
  guest.machine.store<u32>(edge - 4, 0xbbbb);
  guest.cpu.state.gpr[x86::rax] = edge - 4;
  set_xmm(guest.cpu, 0, {7, 8, 9, 10});
  set_xmm(guest.cpu, 1, {0x80000000, 0, 0, 0});

  EXPECT_EQ(raised(guest, vpmaskmovd_rax_xmm1_xmm0), none);
  EXPECT_EQ(raised(guest, vpmaskmovd_xmm0_xmm1_rax), none);

  EXPECT_EQ(guest.machine.load<u32>(edge - 4), 7u);
  EXPECT_THAT(xmm(guest.cpu, 0), testing::ElementsAre(7, 0, 0, 0));
}

TEST(MaskedMove, NothingIsStoredWhenOneElementFaults) {
  auto guest = GuestRunner{};
  unmap_edge(guest);
  guest.cpu.state.gpr[x86::rax] = edge - 4;
  set_xmm(guest.cpu, 0, {7, 8, 9, 10});
  set_xmm(guest.cpu, 1, {0x80000000, 0x80000000, 0, 0});

  EXPECT_EQ(raised(guest, vpmaskmovd_rax_xmm1_xmm0), Vector::pf);

  EXPECT_EQ(guest.machine.load<u32>(edge - 4), 0u);
}

// ---- 32-bit code ----

TEST(Vector32, ExtensionBitsOfVexAreIgnored) {
  auto guest = GuestRunner{};
  enter_flat32(guest.cpu);
  guest.cpu.state.cr0 &= ~u64{x86::cr0_pg};
  guest.cpu.state.efer = 0;
  guest.cpu.update_mode();
  set_xmm(guest.cpu, 1, {1, 2, 3, 4});
  set_xmm(guest.cpu, 2, {10, 20, 30, 40});
  set_xmm(guest.cpu, 9, {100, 100, 100, 100});
  guest.cpu.state.gpr[x86::rcx] = 0x1'0000'0005;

  guest.step({{0xc4, 0xc1, 0x31, 0xfe, 0xc2}});  // vpaddd xmm0, xmm1, xmm2 with vvvv's and B's top bit set
  EXPECT_THAT(xmm(guest.cpu, 0), testing::ElementsAre(11, 22, 33, 44));

  guest.step({{0xc4, 0xe1, 0xf9, 0x6e, 0xd9}});  // vmovd xmm3, ecx with W
  EXPECT_THAT(xmm(guest.cpu, 3), testing::ElementsAre(5, 0, 0, 0));
}

// ---- XSAVE ----

TEST(Xsave, InitialComponentsAreLeftOutOfTheCompactForm) {
  auto guest = GuestRunner{};
  guest.cpu.state.gpr[x86::rax] = 7;
  guest.cpu.state.gpr[x86::rbx] = data_start;
  guest.cpu.state.extended = {};
  set_xmm(guest.cpu, 3, {1, 0, 0, 0});
  for (auto at = u64{}; at < 832; at += 8) guest.machine.store<u64>(data_start + at, ~u64{});

  guest.step({{0x48, 0x0f, 0xc7, 0x23}});  // xsavec64 [rbx]

  EXPECT_EQ(guest.machine.load<u64>(data_start + 512), component_sse);
  EXPECT_EQ(guest.machine.load<u64>(data_start + 520), 7 | u64{1} << 63);
  EXPECT_EQ(guest.machine.load<u64>(data_start), ~u64{});  // x87 is initial: not written
  EXPECT_EQ(guest.machine.load<u32>(data_start + 160 + 16 * 3), 1u);
  EXPECT_EQ(guest.machine.load<u64>(data_start + 576), ~u64{});
}

TEST(Xsave, RestoreOfAbsentComponentsInitialisesThem) {
  auto guest = GuestRunner{};
  guest.step(fld1);
  set_xmm(guest.cpu, 1, {1, 1, 1, 1});
  guest.cpu.state.gpr[x86::rax] = component_x87 | component_sse;
  guest.cpu.state.gpr[x86::rbx] = data_start;
  guest.machine.store<u32>(data_start + 24, 0x1f80);

  guest.step({{0x48, 0x0f, 0xae, 0x2b}});  // xrstor64 [rbx]: an area of zeros

  EXPECT_EQ(guest.cpu.state.extended.ftw, 0);
  EXPECT_EQ(guest.cpu.state.extended.fcw, 0x37f);
  EXPECT_EQ(components_in_use(guest.cpu.state), 0u);
}

TEST(Xsave, AreaMustBeAlignedTo64) {
  auto guest = GuestRunner{};
  guest.cpu.state.gpr[x86::rbx] = data_start + 32;
  EXPECT_EQ(raised(guest, {0x48, 0x0f, 0xae, 0x23}), Vector::gp);
  guest.cpu.state.cr4 &= ~u64{x86::cr4_osxsave};
  EXPECT_EQ(raised(guest, {0x48, 0x0f, 0xae, 0x23}), Vector::ud);
}

// ---- thunks ----

TEST(Thunk, IsSharedByInstructionsThatDifferInTheirAddressOnly) {
  auto const decoded = [](Code const& code) {
    auto insn = x86::Instruction{};
    EXPECT_EQ(x86::decode(code, x86::CodeSize::bits64, true, insn), x86::DecodeStatus::ok);
    return insn;
  };
  auto const* const first = find_thunk(decoded({0x66, 0x0f, 0xfe, 0x00}));
  auto const* const second = find_thunk(decoded({0x66, 0x41, 0x0f, 0xfe, 0x44, 0x8f, 0x10}));
  auto const* const other = find_thunk(decoded({0x66, 0x0f, 0xfe, 0x08}));

  EXPECT_EQ(first, second);
  EXPECT_NE(first, other);
}

TEST(Thunk, TransientOneRunsWithoutRoomInTheCache) {
  auto guest = GuestRunner{};
  auto insn = x86::Instruction{};
  ASSERT_EQ(x86::decode(Code{0x66, 0x0f, 0xfe, 0xc1}, x86::CodeSize::bits64, true, insn),
            x86::DecodeStatus::ok);
  set_xmm(guest.cpu, 0, {1, 2, 3, 4});
  set_xmm(guest.cpu, 1, {1, 1, 1, 1});

  transient_thunk(insn)->code(&guest.cpu.state, nullptr);

  EXPECT_THAT(xmm(guest.cpu, 0), testing::ElementsAre(2, 3, 4, 5));
}

}  // namespace
}  // namespace vireo::engine::soft::vector
