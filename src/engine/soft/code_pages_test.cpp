#include "engine/soft/code_pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <thread>

#include "engine/soft/test_machine.h"

namespace vireo::engine::soft {
namespace {

constexpr auto ds = x86::SegmentRegister::ds;
constexpr u64 code{0x5000};

/// A vCPU in flat 64-bit mode whose translations are only counted.
struct Vcpu final : PageListener {
  Vcpu(TestMachine& machine, CodePages& pages, u32 id = 0)
      : cpu{VcpuId{id}, machine, model}, member{pages.rendezvous(), *this} {
    cpu.follow_code(&pages, &member);
    enter_flat64(cpu, machine, 1 * MiB + id * 64 * KiB);
  }
  void drop_code(std::byte* page) override { dropped.push_back(page); }
  void drop_write_tags(std::byte* page) override {
    cpu.mmu.drop_write_tags(page);
    if (meanwhile) std::exchange(meanwhile, {})();
  }
  void forget_mappings() override {}
  void wanted() override { cpu.request_attention(attention_code); }

  bool has_write_tag(u64 at) const { return in_page(cpu.mmu.write_entry(cpu.rights(), at).tag, at, 1); }

  x86::CpuidModel model{x86::CpuidModel::create("x86-64-v3", 1).value()};
  Cpu cpu;
  Rendezvous::Member member;
  std::vector<std::byte*> dropped;
  std::function<void()> meanwhile;  // once, when write tags are dropped
};

class CodePagesTest : public testing::Test {
 protected:
  std::byte* host(u64 at) { return machine_.memory().host(Gpa{at}, 1, true); }
  void watch(u64 at, u64 length) {
    pages_.watch(host(at), CodePages::chunks_of(at % page_size, length), &vcpu_.member);
  }
  u64 drops() const { return vcpu_.dropped.size(); }

  TestMachine machine_;
  Rendezvous rendezvous_;
  CodePages pages_{machine_.memory(), rendezvous_};
  Vcpu vcpu_{machine_, pages_};
};

TEST(CodePages, ChunksAreBitsOf64Bytes) {
  static_assert(CodePages::chunks_of(0, 1) == 1);
  static_assert(CodePages::chunks_of(63, 2) == 3);
  static_assert(CodePages::chunks_of(4095, 1) == u64{1} << 63);
  static_assert(CodePages::chunks_of(0, 4096) == ~u64{});
}

TEST_F(CodePagesTest, StoresIntoFreePagesAreNotNoticed) {
  vcpu_.cpu.write<u64>(ds, code, 1);
  EXPECT_TRUE(vcpu_.has_write_tag(code));
  vcpu_.cpu.write<u64>(ds, code + 8, 1);
  EXPECT_EQ(drops(), 0u);
}

TEST_F(CodePagesTest, WatchedPageLosesWriteTagsAndGetsNone) {
  vcpu_.cpu.write<u64>(ds, code, 1);
  watch(code + 0x100, 64);
  EXPECT_FALSE(vcpu_.has_write_tag(code));
  vcpu_.cpu.write<u64>(ds, code, 2);
  EXPECT_FALSE(vcpu_.has_write_tag(code));
  EXPECT_EQ(drops(), 0u) << "beside the code";
}

TEST_F(CodePagesTest, StoresBesideCodeNeedNotBeTold) {
  watch(code + 0x100, 64);
  auto const refill = [&](u64 at, u32 size) {
    return vcpu_.cpu.mmu.refill(at, size, Access::write, vcpu_.cpu.rights());
  };

  EXPECT_EQ(refill(code + 0xf8, 8), host(code + 0xf8));
  EXPECT_EQ(refill(code + 0xf8, 9), nullptr) << "into the watched piece";
  EXPECT_EQ(refill(code + 0x13f, 1), nullptr);
  EXPECT_EQ(refill(code + 0x140, 1), host(code + 0x140));
  EXPECT_FALSE(vcpu_.has_write_tag(code));
}

TEST_F(CodePagesTest, WhoWatchesAPieceMakesOthersEndTheirStoresBesideCode) {
  auto other = Vcpu{machine_, pages_, 1};
  watch(code + 0x100, 64);
  EXPECT_TRUE(other.member.enter_code());
  other.member.leave_code();
  ASSERT_NE(other.cpu.mmu.refill(code, 8, Access::write, other.cpu.rights()), nullptr);

  watch(code, 64);

  EXPECT_FALSE(other.member.enter_code()) << "it has mail";
  EXPECT_EQ(other.cpu.mmu.refill(code, 8, Access::write, other.cpu.rights()), nullptr);
}

TEST_F(CodePagesTest, EveryKindOfStoreIntoCodeDropsItsPage) {
  auto const bytes = std::array<std::byte, 100>{};
  auto const increment = [](u64 old) { return old + 1; };
  auto const stores = std::vector<std::function<void(Cpu&)>>{
      [](Cpu& cpu) { cpu.write<u8>(ds, code + 0x13f, 1); },
      [](Cpu& cpu) { cpu.write<u64>(ds, code + 0xfc, 1); },  // its second half
      [&](Cpu& cpu) { cpu.modify<u64>(ds, code + 0x100, true, increment); },
      [&](Cpu& cpu) { cpu.modify<u64>(ds, code + 0x100, false, increment); },
      [&](Cpu& cpu) { cpu.write_bytes(ds, code + 0xb0, bytes.data(), bytes.size()); },
      [&](Cpu& cpu) { cpu.write_linear<u32>(code + 0x100, 1, true); },
      [](Cpu& cpu) { cpu.push(1, 8); },
  };
  for (auto const& store : stores) {
    vcpu_.dropped.clear();
    watch(code + 0x100, 64);
    vcpu_.cpu.state.gpr[x86::rsp] = code + 0x108;
    store(vcpu_.cpu);
    EXPECT_EQ(vcpu_.dropped, std::vector{host(code)}) << &store - stores.data();
  }
  vcpu_.cpu.write<u64>(ds, code + 0x100, 1);
  EXPECT_EQ(drops(), 1u) << "nothing is left to drop";
  EXPECT_TRUE(vcpu_.has_write_tag(code));
}

TEST_F(CodePagesTest, StoreAcrossTwoPagesIsNoticedInBoth) {
  watch(code, 64);
  watch(code - 1, 1);
  vcpu_.cpu.write<u64>(ds, code - 4, ~u64{});
  EXPECT_EQ(vcpu_.dropped, (std::vector{host(code - page_size), host(code)}));
}

TEST_F(CodePagesTest, ReadsGiveNoWriteTag) {
  vcpu_.cpu.read<u64>(ds, code);
  EXPECT_FALSE(vcpu_.has_write_tag(code));
  vcpu_.cpu.write<u64>(ds, code, 1);
  vcpu_.cpu.mmu.flush_all();
  vcpu_.cpu.read<u64>(ds, code);
  EXPECT_FALSE(vcpu_.has_write_tag(code));
}

TEST_F(CodePagesTest, DevicesStoresAreNoticed) {
  watch(code + 0x100, 64);
  ASSERT_TRUE(machine_.memory().write_as<u32>(Gpa{code + 0xfc}, 1));
  EXPECT_TRUE(vcpu_.member.enter_code());
  vcpu_.member.leave_code();
  ASSERT_TRUE(machine_.memory().write_as<u32>(Gpa{code + 0xfe}, 1));
  EXPECT_FALSE(vcpu_.member.enter_code());
  EXPECT_EQ(vcpu_.dropped, std::vector{host(code)});
}

TEST_F(CodePagesTest, LongTransfersDropEveryPageTheyTouch) {
  for (auto page = u64{}; page < 200; ++page) watch(0x200000 + page * page_size + 0x80, 1);
  machine_.memory().note_written(Gpa{0x200100}, 199 * page_size);
  vcpu_.member.enter_code();
  EXPECT_EQ(drops(), 199u);
}

TEST_F(CodePagesTest, OddRangesAreHarmless) {
  watch(code, 1);
  machine_.memory().note_written(Gpa{~u64{}}, ~u64{});
  machine_.memory().note_written(Gpa{0}, 0);
  machine_.memory().note_written(Gpa{64 * MiB}, 4096);
  EXPECT_TRUE(vcpu_.member.enter_code());
  vcpu_.member.leave_code();
  machine_.memory().note_written(Gpa{code}, ~u64{});
  EXPECT_FALSE(vcpu_.member.enter_code());
}

TEST_F(CodePagesTest, AccessedFlagsInWatchedPageTablesAreStores) {
  auto const directory = 1 * MiB + 0x2000;
  auto const entry = directory + 2 * 8;  // of linear 4 MiB
  machine_.store<u64>(entry, (4 * MiB) | 0x87);
  vcpu_.cpu.mmu.flush_all();
  watch(entry, 8);
  EXPECT_EQ(vcpu_.cpu.mmu.refill(4 * MiB, 8, Access::read, vcpu_.cpu.rights()), nullptr);
  EXPECT_EQ(drops(), 0u);
  vcpu_.cpu.read<u64>(ds, 4 * MiB);
  EXPECT_EQ(vcpu_.dropped, std::vector{host(directory)});
  EXPECT_NE(vcpu_.cpu.mmu.refill(4 * MiB, 8, Access::read, vcpu_.cpu.rights()), nullptr);

  watch(entry, 8);
  vcpu_.cpu.write<u64>(ds, 4 * MiB, 1);
  EXPECT_EQ(drops(), 2u) << "the dirty flag";
}

TEST_F(CodePagesTest, OtherVcpusStoresAreNoticedByAll) {
  auto other = Vcpu{machine_, pages_, 1};
  other.cpu.write<u64>(ds, code, 1);
  EXPECT_TRUE(other.has_write_tag(code));
  watch(code, 64);
  other.member.enter_code();
  EXPECT_FALSE(other.has_write_tag(code));
  other.cpu.write<u64>(ds, code, 2);
  EXPECT_EQ(other.dropped, std::vector{host(code)});
  vcpu_.member.enter_code();
  EXPECT_EQ(vcpu_.dropped, std::vector{host(code)});
}

TEST_F(CodePagesTest, PageIsWatchedEvenIfAStoreComesWhileOthersAreAsked) {
  auto other = Vcpu{machine_, pages_, 1};
  vcpu_.cpu.write<u64>(ds, code, 1);
  vcpu_.meanwhile = [&] { other.cpu.write<u64>(ds, code, 2); };
  watch(code, 64);
  EXPECT_FALSE(other.dropped.empty());
  EXPECT_TRUE(pages_.watched(host(code), 8));
  vcpu_.cpu.write<u64>(ds, code, 3);
  EXPECT_FALSE(pages_.watched(host(code), 8)) << "it was noticed";
}

TEST_F(CodePagesTest, StoresAreNoticedWhileAnothersStoreIsBeingTold) {
  auto other = Vcpu{machine_, pages_, 1};
  vcpu_.member.enter_code();
  watch(code, 64);
  auto thread = std::thread{[&] { other.cpu.write<u64>(ds, code, 2); }};
  while (vcpu_.cpu.attention.load() == 0)
    std::this_thread::yield();  // it waits for us, who still have the code

  EXPECT_TRUE(pages_.watched(host(code), 8));
  EXPECT_FALSE(pages_.allow_write_tag(host(code), true));
  vcpu_.cpu.write<u64>(ds, code, 3);
  EXPECT_GE(drops(), 1u);

  vcpu_.member.leave_code();
  thread.join();
  EXPECT_FALSE(pages_.watched(host(code), 8));
  EXPECT_TRUE(pages_.allow_write_tag(host(code), true));
}

/// One vCPU rewrites a number that others have translated, again and again; each translates with what it has
/// dropped.
TEST_F(CodePagesTest, NoStoreIsLostBetweenThreads) {
  constexpr auto translations = u64{300};  // of each
  struct Translator final : PageListener {
    explicit Translator(Rendezvous& rendezvous) : member{rendezvous, *this} {}
    void drop_code(std::byte*) override { valid = false; }
    void drop_write_tags(std::byte*) override {}
    void forget_mappings() override {}
    void wanted() override {}
    Rendezvous::Member member;
    bool valid{};
    u64 translated{};
    std::atomic<u64> translations{};
  };
  auto translators = std::array<std::unique_ptr<Translator>, 2>{};
  for (auto& translator : translators) translator = std::make_unique<Translator>(rendezvous_);
  auto* const number = host(code + 0x40);
  auto published = std::atomic<u64>{}, late = std::atomic<u64>{};
  auto stop = std::atomic<bool>{};
  auto threads = std::vector<std::thread>{};
  for (auto& translator : translators) {
    threads.emplace_back([&, its = translator.get()] {
      while (!stop.load(std::memory_order_relaxed)) {
        auto const known = published.load(std::memory_order_acquire);  // before entering, as by an interrupt
        its->member.enter_code();
        if (!its->valid) {
          its->valid = true;
          pages_.watch(host(code), 2, &its->member);
          ++its->translations;
          its->translated = __atomic_load_n(reinterpret_cast<u64*>(number), __ATOMIC_RELAXED);
        }
        if (its->valid && its->translated < known) ++late;
        its->member.leave_code();
      }
    });
  }
  auto const busy = [&](auto const& translator) { return translator->translations.load() < translations; };
  for (auto round = u64{1}; std::ranges::any_of(translators, busy); ++round) {
    vcpu_.member.enter_code();
    vcpu_.cpu.modify<u64>(ds, code + 0x40, true, [&](u64) { return round; });
    vcpu_.cpu.write<u64>(ds, code + 0x800, round);
    vcpu_.member.leave_code();
    published.store(round, std::memory_order_release);
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(late.load(), 0u);
}

}  // namespace
}  // namespace vireo::engine::soft
