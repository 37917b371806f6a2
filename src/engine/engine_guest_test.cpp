#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>

#include "engine/engine.h"
#include "engine/machine_view.h"

namespace vireo::engine {
namespace {

constexpr u64 load_at{0x10000}, scale_at{0x8000};
constexpr u16 result_port{0xf4};
constexpr auto failsafe = std::chrono::seconds{120};  // ends a test that hangs

/// 16 MiB of RAM and the port to which guests write their result.
class GuestMachine final : public MachineView {
 public:
  GuestMachine() { EXPECT_TRUE(memory_.add({Gpa{0}, 16 * MiB}, memory::RegionKind::ram)); }
  memory::GuestMemory& memory() override { return memory_; }
  u64 read_mmio(Gpa, u8) override { return ~u64{0}; }
  void write_mmio(Gpa, u8, u64) override {}
  u32 read_port(u16, u8) override { return ~u32{0}; }
  void write_port(u16 port, u8, u32 value) override {
    if (port == result_port) finish(static_cast<int>(value));
  }
  int acknowledge_pic() override { return -1; }
  void broadcast_eoi(u8) override {}
  u64 now_ns() override { return 0; }
  u64 wall_clock_ns() override { return 0; }
  void request_reset(char const*) override { finish(-1); }
  void report_failure(char const*) override { finish(-1); }

  bool ended() {
    auto const lock = std::lock_guard{mutex_};
    return result_ != nothing;
  }
  /// What the guest has written first; -1: it has shut down, -2: neither in time.
  int result() {
    auto lock = std::unique_lock{mutex_};
    written_.wait_for(lock, failsafe, [this] { return result_ != nothing; });
    return result_;
  }

 private:
  static constexpr int nothing{-2};
  void finish(int result) {
    auto const lock = std::lock_guard{mutex_};
    if (result_ == nothing) result_ = result;
    written_.notify_all();
  }

  memory::GuestMemory memory_;
  std::mutex mutex_;
  std::condition_variable written_;
  int result_{nothing};
};

std::string directory() { return std::string{VIREO_ASM_GUESTS} + "/engine"; }

std::vector<std::string> guests() {
  auto names = std::vector<std::string>{};
  for (auto const& entry : std::filesystem::directory_iterator{directory()}) {
    auto const name = entry.path().stem().string();
    if (entry.path().extension() == ".bin" && name != "device_stores") names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

std::vector<char> read_guest(std::string const& name) {
  auto file = std::ifstream{directory() + "/" + name + ".bin", std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

/// How many times more rounds guests shall do.
u32 scale() {
  auto const* const text = std::getenv("VIREO_GUEST_SCALE");
  return text == nullptr ? 1 : static_cast<u32>(std::strtoul(text, nullptr, 0));
}

std::unique_ptr<Engine> engine_with(MachineView& machine, Tier tier, std::span<char const> code) {
  auto engine = create_software_engine(
      {.vcpus = 2, .model = *x86::CpuidModel::create("x86-64-v3", 2), .tier = tier}, machine);
  EXPECT_TRUE(engine);
  EXPECT_TRUE(machine.memory().write(Gpa{load_at}, std::as_bytes(code)));
  EXPECT_TRUE(machine.memory().write_as<u32>(Gpa{scale_at}, scale()));
  auto state = (*engine)->vcpu_state(VcpuId{0});
  state.cs().selector = load_at >> 4;
  state.cs().base = load_at;
  state.rip = 0;
  EXPECT_TRUE((*engine)->set_vcpu_state(VcpuId{0}, state));
  return std::move(*engine);
}

std::string name_of(Tier tier) { return tier == Tier::translate ? "translator" : "interpreter"; }
auto const tiers = testing::Values(Tier::interpret, Tier::translate);

class EngineGuest : public testing::TestWithParam<std::tuple<Tier, std::string>> {};

TEST_P(EngineGuest, MeetsItsExpectationsOnTwoProcessors) {
  auto const& [tier, name] = GetParam();
  auto machine = GuestMachine{};
  auto const engine = engine_with(machine, tier, read_guest(name));

  engine->start();
  auto const result = machine.result();
  engine->stop();

  EXPECT_EQ(result, 0) << "the number of the expectation that failed; -1: shutdown, -2: nothing in time";
}

INSTANTIATE_TEST_SUITE_P(All, EngineGuest, testing::Combine(tiers, testing::ValuesIn(guests())),
                         [](auto const& test) {
                           return name_of(std::get<0>(test.param)) + "_" + std::get<1>(test.param);
                         });

// ---- stores by devices ----

constexpr u64 routine_at{0x180000}, seen_at{0x20000};  // device_stores.S

class DeviceStores : public testing::TestWithParam<Tier> {
 protected:
  u32 seen() {
    // SOUND: four aligned bytes of RAM, which the guest changes meanwhile: volatile, so that each call reads.
    return *reinterpret_cast<u32 volatile*>(machine.memory().host(Gpa{seen_at}, 4, false));
  }
  bool becomes(u32 value) {
    auto const limit = std::chrono::steady_clock::now() + failsafe;
    while (seen() != value) {
      if (machine.ended() || std::chrono::steady_clock::now() > limit) return false;
      std::this_thread::sleep_for(std::chrono::microseconds{50});
    }
    return true;
  }
  void write(u64 at, std::span<char const> bytes) {
    EXPECT_TRUE(machine.memory().write(Gpa{at}, std::as_bytes(bytes)));
  }
  void start(std::span<char const> routine, u32 result) {
    write(routine_at, routine);
    engine = engine_with(machine, GetParam(), read_guest("device_stores"));
    engine->start();
    ASSERT_TRUE(becomes(result));
  }

  GuestMachine machine;
  std::unique_ptr<Engine> engine;
};

constexpr auto give_one = std::array<char, 6>{'\xb8', 1, 0, 0, 0, '\xc3'};  // MOV $1, %eax; RET

TEST_P(DeviceStores, IntoRunningCodeAreSeen) {
  start(give_one, 1);
  for (auto round = 2u; round < 200; ++round) {
    write(routine_at + 1, std::array<char, 2>{static_cast<char>(round), 0});
    ASSERT_TRUE(becomes(round));
  }
  engine->stop();
}

TEST_P(DeviceStores, FollowingEachOtherEndWithTheLast) {
  start(give_one, 1);
  for (auto round = 2u; round < 100; ++round) {
    for (auto i = 0u; i < 300; ++i) write(routine_at + 2, std::array<char, 1>{static_cast<char>(i)});
    write(routine_at + 1, std::array<char, 2>{static_cast<char>(round), 0});
    ASSERT_TRUE(becomes(round));
  }
  engine->stop();
}

// A guest that runs while its code is copied may see any of an instruction's bytes before the others, so each
// byte is a harmless instruction: NOPs, and MOV $value, %al, whose value is CMC, CLC, STC or CLD.
std::vector<char> slide_with(u32 at, char value) {
  auto code = std::vector<char>(page_size + 1, '\x90');
  code[at] = '\xb0';
  code[at + 1] = value;
  code[page_size] = '\xc3';
  return code;
}

TEST_P(DeviceStores, OfWholePagesReplaceWhatHasRun) {
  constexpr auto values = std::array<char, 4>{'\xf5', '\xf8', '\xf9', '\xfc'};
  start(slide_with(0, values[0]), static_cast<u8>(values[0]));
  for (auto round = 1u; round < 100; ++round) {
    auto const value = values[round % values.size()];
    write(routine_at, slide_with(round * 37 % 127 * 32, value));
    ASSERT_TRUE(becomes(static_cast<u8>(value)));
  }
  engine->stop();
}

TEST_P(DeviceStores, BehindTheMachinesBackAreSeenWhenAnnounced) {
  start(give_one, 1);
  auto* const host = machine.memory().host(Gpa{routine_at}, 6, true);
  for (auto round = 2u; round < 100; ++round) {
    host[1] = static_cast<std::byte>(round);
    machine.memory().note_written(Gpa{routine_at + 1}, 1);
    ASSERT_TRUE(becomes(round));
  }
  engine->stop();
}

INSTANTIATE_TEST_SUITE_P(All, DeviceStores, tiers, [](auto const& tier) { return name_of(tier.param); });

}  // namespace
}  // namespace vireo::engine
