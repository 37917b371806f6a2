#include "engine/soft/local_apic.h"

#include <gtest/gtest.h>

#include <vector>

namespace vireo::engine::soft {
namespace {

using namespace apic;

constexpr u32 ratio{100};  // TSC ticks per timer tick
constexpr u32 x2(u32 offset) { return msr_x2apic_first + offset / 16; }

class Surroundings final : public ApicSurroundings {
 public:
  u64 machine_tsc() const override { return now; }
  u64 guest_tsc_offset() const override { return offset; }
  void notify() override { ++notified; }
  void send(ApicMessage const& message) override { sent.push_back(message); }
  void end_of_level_interrupt(u8 vector) override { ended.push_back(vector); }
  void kick_vcpu(u32 apic_id) override { kicked.push_back(apic_id); }

  u64 now{1000}, offset{0};
  int notified{};
  std::vector<ApicMessage> sent;
  std::vector<u8> ended;
  std::vector<u32> kicked;
};

struct LocalApicTest : testing::Test {
  Surroundings around;
  LocalApic apic{VcpuId{2}, around, ratio};

  void enable() { apic.write_register(reg_svr, svr_enabled | 0xff); }
  void enable_x2apic() {
    ASSERT_TRUE(apic.write_msr(msr_apic_base, default_base | base_enabled | base_x2apic));
    enable();
  }
  void raise(u8 vector, bool level = false) {
    apic.accept({.mode = DeliveryMode::fixed, .vector = vector, .level = level});
  }
};

TEST_F(LocalApicTest, GivesTheHighestRequestFirstAndHoldsTheRestUntilItsEnd) {
  enable();
  raise(0x31);
  raise(0x52);
  raise(0x51);

  EXPECT_EQ(apic.acknowledge(), 0x52);
  EXPECT_EQ(apic.read_register(reg_ppr), 0x50u);
  EXPECT_FALSE(apic.interrupt_pending());  // 0x51 is of the class in service
  apic.write_register(reg_eoi, 0);
  EXPECT_EQ(apic.acknowledge(), 0x51);
  apic.write_register(reg_eoi, 0);
  EXPECT_EQ(apic.acknowledge(), 0x31);
}

TEST_F(LocalApicTest, TaskPriorityHoldsBackItsClassAndLoweringItNotifies) {
  enable();
  apic.set_cr8(5);
  raise(0x5f);
  EXPECT_FALSE(apic.interrupt_pending());
  around.notified = 0;

  apic.set_cr8(4);

  EXPECT_TRUE(apic.interrupt_pending());
  EXPECT_EQ(around.notified, 1);
}

TEST_F(LocalApicTest, EndOfLevelInterruptIsBroadcastAndOfEdgeIsNot) {
  enable();
  raise(0x40, true);
  raise(0x60);
  apic.acknowledge();
  apic.write_register(reg_eoi, 0);
  EXPECT_TRUE(around.ended.empty());

  apic.acknowledge();
  apic.write_register(reg_eoi, 0);

  EXPECT_EQ(around.ended, (std::vector<u8>{0x40}));
}

TEST_F(LocalApicTest, AcceptsNothingWhileSoftwareDisabledButInitAndNmi) {
  raise(0x40);
  apic.accept({.mode = DeliveryMode::nmi});
  EXPECT_FALSE(apic.interrupt_pending());
  EXPECT_EQ(apic.take_signals(), u32{LocalApic::signal_nmi});
}

TEST_F(LocalApicTest, OneShotTimerFiresOnceAtItsTime) {
  enable();
  apic.write_register(reg_divide, 0);  // by 2
  apic.write_register(reg_lvt_timer, timer_one_shot | 0x40);
  apic.write_register(reg_initial_count, 10);
  EXPECT_EQ(apic.timer_deadline(), 1000u + 10 * 2 * ratio);
  around.now += 5 * 2 * ratio;
  EXPECT_EQ(apic.read_register(reg_current_count), 5u);

  around.now += 5 * 2 * ratio;
  apic.poll_timer();

  EXPECT_EQ(apic.acknowledge(), 0x40);
  EXPECT_EQ(apic.timer_deadline(), ~u64{0});
  EXPECT_EQ(apic.read_register(reg_current_count), 0u);
}

TEST_F(LocalApicTest, PeriodicTimerKeepsItsPhaseWhenPolledLate) {
  enable();
  apic.write_register(reg_divide, 0xb);  // by 1
  apic.write_register(reg_lvt_timer, timer_periodic | 0x40);
  apic.write_register(reg_initial_count, 10);

  around.now = 1000 + 3500;
  apic.poll_timer();

  EXPECT_EQ(apic.acknowledge(), 0x40);
  EXPECT_EQ(apic.timer_deadline(), 1000u + 4000);
  EXPECT_EQ(apic.read_register(reg_current_count), 5u);
}

TEST_F(LocalApicTest, DeadlineTimerComparesWithTheGuestsTsc) {
  enable();
  around.offset = 5000;  // guest TSC is 6000
  apic.write_register(reg_lvt_timer, timer_tsc_deadline | 0x40);
  apic.write_msr(msr_tsc_deadline, 6500);
  EXPECT_EQ(apic.timer_deadline(), 1500u);

  around.now = 1500;
  apic.poll_timer();

  auto deadline = ~u64{0};
  EXPECT_TRUE(apic.read_msr(msr_tsc_deadline, deadline));
  EXPECT_EQ(deadline, 0u);
  EXPECT_EQ(apic.acknowledge(), 0x40);
}

TEST_F(LocalApicTest, DeadlineInThePastFiresAtOnceAndFarOnesNeverWrap) {
  enable();
  apic.write_register(reg_lvt_timer, timer_tsc_deadline | 0x40);
  apic.write_msr(msr_tsc_deadline, 1);
  EXPECT_EQ(apic.acknowledge(), 0x40);

  apic.write_msr(msr_tsc_deadline, ~u64{0});
  apic.poll_timer();
  EXPECT_EQ(apic.acknowledge(), -1);
}

TEST_F(LocalApicTest, MaskedTimerRunsSilently) {
  enable();
  apic.write_register(reg_lvt_timer, lvt_masked | 0x40);
  apic.write_register(reg_initial_count, 1);
  around.now += 10'000;
  apic.poll_timer();
  EXPECT_EQ(apic.acknowledge(), -1);
}

TEST_F(LocalApicTest, CommandNamesDestinationModeAndSource) {
  enable();
  apic.write_register(reg_icr_high, 3u << 24);
  apic.write_register(reg_icr_low, 0x0c4500);

  ASSERT_EQ(around.sent.size(), 1u);
  EXPECT_EQ(around.sent[0].mode, DeliveryMode::init);
  EXPECT_EQ(around.sent[0].shorthand, Shorthand::others);
  EXPECT_EQ(around.sent[0].destination, 3u);
  EXPECT_EQ(around.sent[0].source, 2u);
}

TEST_F(LocalApicTest, MatchesPhysicalFlatAndClusterDestinations) {
  enable();
  apic.write_register(reg_ldr, 0x24u << 24);
  auto const flat = ApicMessage{.logical = true, .destination = 0x04};
  auto const other = ApicMessage{.logical = true, .destination = 0x43};

  EXPECT_TRUE(apic.matches({.destination = 2}));
  EXPECT_FALSE(apic.matches({.destination = 3}));
  EXPECT_TRUE(apic.matches(flat));
  EXPECT_FALSE(apic.matches(other));
  apic.write_register(reg_dfr, 0);  // cluster model: cluster 2, member 4
  EXPECT_FALSE(apic.matches(flat));
  EXPECT_TRUE(apic.matches({.logical = true, .destination = 0x2c}));
}

TEST_F(LocalApicTest, X2ApicHasALogicalIdOfItsOwnAndAWholeCommandRegister) {
  enable_x2apic();
  auto logical_id = u64{0};
  EXPECT_TRUE(apic.read_msr(x2(reg_ldr), logical_id));
  EXPECT_EQ(logical_id, 4u);
  EXPECT_TRUE(apic.matches({.logical = true, .destination = 0x0006}));
  EXPECT_FALSE(apic.matches({.logical = true, .destination = 0x1'0004}));

  EXPECT_TRUE(apic.write_msr(x2(reg_icr_low), u64{0xffff'ffff} << 32 | 0x40));

  ASSERT_EQ(around.sent.size(), 1u);
  EXPECT_TRUE(around.sent[0].broadcast);
  EXPECT_EQ(apic.register_page(), ~u64{0});
}

TEST_F(LocalApicTest, X2ApicRefusesReservedBitsAndRegistersThatItLacks) {
  enable_x2apic();
  auto value = u64{0};
  EXPECT_FALSE(apic.write_msr(x2(reg_eoi), 1));
  EXPECT_FALSE(apic.write_msr(x2(reg_tpr), 0x100));
  EXPECT_FALSE(apic.write_msr(x2(reg_id), 0));
  EXPECT_FALSE(apic.read_msr(x2(reg_dfr), value));
  EXPECT_FALSE(apic.read_msr(x2(reg_icr_high), value));
  EXPECT_FALSE(apic.write_msr(msr_apic_base, default_base | base_enabled));  // not back to xAPIC in one step
}

TEST_F(LocalApicTest, BadVectorsAreReportedAsErrors) {
  enable();
  apic.write_register(reg_lvt_error, 0x70);
  apic.write_register(reg_icr_low, 0x05);
  apic.write_register(reg_esr, 0);

  EXPECT_EQ(apic.read_register(reg_esr), u32{error_send_vector});
  EXPECT_EQ(apic.acknowledge(), 0x70);
  EXPECT_TRUE(around.sent.empty());
}

TEST_F(LocalApicTest, DisablingMasksTheLocalVectorTable) {
  enable();
  apic.write_register(reg_lvt_timer, 0x40);
  apic.write_register(reg_svr, 0xff);
  apic.write_register(reg_lvt_error, 0x41);
  EXPECT_EQ(apic.read_register(reg_lvt_timer), lvt_masked | 0x40);
  EXPECT_EQ(apic.read_register(reg_lvt_error), lvt_masked | 0x41);
}

TEST_F(LocalApicTest, ExtIntReachesTheBootstrapProcessorThroughLint0) {
  auto bootstrap = LocalApic{VcpuId{0}, around, ratio};
  bootstrap.set_extint(true);
  EXPECT_TRUE(bootstrap.extint_pending());
  bootstrap.write_register(reg_svr, svr_enabled | 0xff);
  bootstrap.write_register(reg_lvt_lint0, lvt_masked);
  EXPECT_FALSE(bootstrap.extint_pending());
}

TEST_F(LocalApicTest, SavedAndRestoredStateIsTheSame) {
  enable();
  raise(0x80, true);
  raise(0x40);
  apic.acknowledge();
  apic.write_register(reg_lvt_timer, timer_periodic | 0x50);
  apic.write_register(reg_initial_count, 77);
  auto const saved = apic.save();

  auto other = LocalApic{VcpuId{2}, around, ratio};
  ASSERT_TRUE(other.restore(saved));

  EXPECT_EQ(other.save(), saved);
  other.write_register(reg_eoi, 0);
  EXPECT_EQ(around.ended, (std::vector<u8>{0x80}));
}

TEST_F(LocalApicTest, RefusesForgedState) {
  auto saved = apic.save();
  saved.fields[1] = std::vector<std::byte>(8, std::byte{0xff});
  EXPECT_FALSE(apic.restore(saved));
  EXPECT_EQ(apic.save().fields.at(1), LocalApic(VcpuId{2}, around, ratio).save().fields.at(1));
}

TEST(MsiTest, DecodesDestinationModeTriggerAndRedirection) {
  auto const message = decode_msi(0xfee0'300c, 0xc141);
  EXPECT_EQ(message.destination, 3u);
  EXPECT_TRUE(message.logical);
  EXPECT_TRUE(message.level);
  EXPECT_EQ(message.mode, DeliveryMode::lowest_priority);
  EXPECT_EQ(message.vector, 0x41);
  EXPECT_TRUE(decode_msi(0xfeef'f000, 0x41).broadcast);
}

}  // namespace
}  // namespace vireo::engine::soft
