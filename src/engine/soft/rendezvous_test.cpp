#include "engine/soft/rendezvous.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <latch>
#include <memory>
#include <thread>

namespace vireo::engine::soft {
namespace {

using Request = Rendezvous::Request;

/// A guest page's address, never looked into.
std::byte* page_at(u64 number) { return reinterpret_cast<std::byte*>(number * 4096); }

struct Vcpu final : PageListener {
  explicit Vcpu(Rendezvous& rendezvous) : member{rendezvous, *this} {}
  void drop_code(std::byte* page) override { code.push_back(page); }
  void drop_write_tags(std::byte* page) override { tags.push_back(page); }
  void forget_mappings() override { ++forgotten; }
  void wanted() override { is_wanted = true; }

  Rendezvous::Member member;
  std::vector<std::byte*> code, tags;
  u32 forgotten{};
  std::atomic<bool> is_wanted{};
};

void request(Rendezvous& rendezvous, Vcpu* from, std::byte* page, Request what) {
  rendezvous.request(from != nullptr ? &from->member : nullptr, {&page, 1}, what);
}

TEST(Rendezvous, RequesterDropsAtOnceAndOthersBeforeTheyEnterCode) {
  auto rendezvous = Rendezvous{};
  auto first = Vcpu{rendezvous}, second = Vcpu{rendezvous};

  request(rendezvous, &first, page_at(1), Request::drop_code);
  EXPECT_EQ(first.code, std::vector{page_at(1)});
  EXPECT_TRUE(second.code.empty());

  EXPECT_FALSE(second.member.enter_code());
  EXPECT_EQ(second.code, std::vector{page_at(1)});
  EXPECT_TRUE(second.member.in_code());
  second.member.leave_code();
  EXPECT_TRUE(second.member.enter_code());
  EXPECT_EQ(second.code.size(), 1u);
  EXPECT_FALSE(second.is_wanted) << "it was not in code";
}

TEST(Rendezvous, DevicesAskEveryone) {
  auto rendezvous = Rendezvous{};
  auto only = Vcpu{rendezvous};
  request(rendezvous, nullptr, page_at(7), Request::drop_write_tags);
  EXPECT_FALSE(only.member.enter_code());
  EXPECT_EQ(only.tags, std::vector{page_at(7)});
}

TEST(Rendezvous, ALongSleeperForgetsAllPagesInstead) {
  auto rendezvous = Rendezvous{};
  auto awake = Vcpu{rendezvous}, asleep = Vcpu{rendezvous};
  for (auto i = u64{1}; i <= 1000; ++i) request(rendezvous, &awake, page_at(i), Request::drop_code);
  asleep.member.enter_code();
  EXPECT_LE(asleep.code.size(), 260u);
  EXPECT_NE(std::ranges::find(asleep.code, nullptr), asleep.code.end());
  EXPECT_NE(std::ranges::find(asleep.tags, nullptr), asleep.tags.end());
}

/// A vCPU's thread that trusts `translation` only in code, as a translated block would.
struct Runner {
  Runner(Rendezvous& rendezvous, std::atomic<u64>& code) : vcpu{rendezvous, *this}, memory{code} {}

  struct Listening final : PageListener {
    Listening(Rendezvous& rendezvous, Runner& its) : member{rendezvous, *this}, runner{its} {}
    void drop_code(std::byte*) override { runner.translation = 0; }
    void drop_write_tags(std::byte*) override {}
    void forget_mappings() override {}
    void wanted() override { runner.attention.store(true, std::memory_order_release); }
    Rendezvous::Member member;
    Runner& runner;
  };

  void run(u32 rounds) {
    for (auto round = u32{}; round < rounds; ++round) {
      attention.store(false, std::memory_order_relaxed);
      vcpu.member.enter_code();
      for (auto steps = 0; steps < 100 && !attention.load(std::memory_order_acquire); ++steps) {
        if (translation == 0) translation = memory.load(std::memory_order_acquire);
        ran.store(translation, std::memory_order_release);
      }
      ran.store(~u64{}, std::memory_order_release);
      vcpu.member.leave_code();
    }
  }

  Listening vcpu;
  std::atomic<u64>& memory;
  u64 translation{};
  std::atomic<u64> ran{~u64{}};
  std::atomic<bool> attention{};
};

TEST(Rendezvous, NobodyRunsOldCodeOnceARequestIsBack) {
  constexpr auto versions = u64{500};
  auto rendezvous = Rendezvous{};
  auto memory = std::atomic<u64>{1};
  auto runners = std::array<std::unique_ptr<Runner>, 2>{};
  for (auto& runner : runners) runner = std::make_unique<Runner>(rendezvous, memory);
  auto stop = std::atomic<bool>{};
  auto started = std::latch{3};
  auto threads = std::vector<std::thread>{};
  for (auto& runner : runners) {
    threads.emplace_back([&stop, &started, &runner] {
      started.arrive_and_wait();
      while (!stop.load()) runner->run(10);
    });
  }
  auto late = u64{};
  started.arrive_and_wait();
  for (auto version = u64{2}; version < versions; ++version) {
    memory.store(version, std::memory_order_release);
    request(rendezvous, nullptr, page_at(1), Request::drop_code);
    for (auto looks = 0; looks < 20; ++looks) {
      for (auto const& runner : runners) late += runner->ran.load(std::memory_order_acquire) < version ? 1 : 0;
    }
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(late, 0u);
  for (auto& runner : runners) {
    runner->run(1);
    EXPECT_EQ(runner->translation, versions - 1);
  }
}

TEST(Rendezvous, MappingsChangeWhileNobodyIsInCodeAndAreForgottenBeforeTheNextEntry) {
  constexpr auto changes = u32{500};
  auto rendezvous = Rendezvous{};
  auto memory = std::atomic<u64>{1};
  auto runners = std::array<std::unique_ptr<Runner>, 2>{};
  for (auto& runner : runners) runner = std::make_unique<Runner>(rendezvous, memory);
  auto sleeper = Vcpu{rendezvous};
  auto stop = std::atomic<bool>{};
  auto started = std::latch{3};
  auto threads = std::vector<std::thread>{};
  for (auto& runner : runners) {
    threads.emplace_back([&stop, &started, &runner] {
      started.arrive_and_wait();
      while (!stop.load()) runner->run(10);
    });
  }
  auto in_code = u32{};
  started.arrive_and_wait();
  for (auto i = u32{}; i < changes; ++i) {
    rendezvous.change_mappings([&] {
      for (auto const& runner : runners)
        in_code += runner->ran.load(std::memory_order_acquire) != ~u64{} ? 1 : 0;
    });
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(in_code, 0u);
  EXPECT_EQ(sleeper.forgotten, 0u);
  EXPECT_FALSE(sleeper.member.enter_code());
  EXPECT_GE(sleeper.forgotten, 1u);
  sleeper.member.leave_code();
}

TEST(Rendezvous, VcpusThatAskEachOtherInCodeDoNotWaitForever) {
  constexpr auto rounds = u64{2000};
  auto rendezvous = Rendezvous{};
  auto vcpus = std::array<std::unique_ptr<Vcpu>, 3>{};
  for (auto& vcpu : vcpus) vcpu = std::make_unique<Vcpu>(rendezvous);
  auto threads = std::vector<std::thread>{};
  for (auto& vcpu : vcpus) {
    threads.emplace_back([&rendezvous, &vcpu] {
      for (auto round = u64{1}; round <= rounds; ++round) {
        vcpu->member.enter_code();
        request(rendezvous, vcpu.get(), page_at(round), Request::drop_write_tags);
        EXPECT_TRUE(vcpu->member.in_code());
        vcpu->member.leave_code();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (auto& vcpu : vcpus) {
    vcpu->member.enter_code();
    vcpu->member.leave_code();
    EXPECT_GE(vcpu->tags.size(), rounds);
  }
}

}  // namespace
}  // namespace vireo::engine::soft
