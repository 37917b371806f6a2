#include "engine/soft/mmu/mmu.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "engine/soft/interp/fault.h"
#include "engine/soft/mmu/page_table.h"

namespace vireo::engine::soft {
namespace {

using Format = PagingMode::Format;

constexpr u64 root{0x1000};
constexpr u64 second_root{0x9000};
constexpr u64 linear{0x0000'7f12'3456'7000};
constexpr u64 page{0x80000};
constexpr u64 other_page{0x81000};
constexpr u64 all_rights{page_present | page_writable | page_user};

/// Four-level tables in the first pages of memory; one path leads to `linear`.
class MmuTest : public testing::Test {
 protected:
  MmuTest() {
    EXPECT_TRUE(memory_.add({Gpa{0}, 4 * MiB}, memory::RegionKind::ram));
    EXPECT_TRUE(memory_.add({Gpa{0xfff00000}, 1 * MiB}, memory::RegionKind::rom));
    mmu_.set_mode(mode_, root);
    map(root, 0x2000, page | all_rights);
    map(second_root, 0xa000, other_page | all_rights);
    store(page, 0x1111);
    store(other_page, 0x2222);
    mmu_.set_cr3(root, false);
  }

  void store(u64 at, u64 value) { EXPECT_TRUE(memory_.write_as<u64>(Gpa{at}, value)); }
  u64 load(u64 at) { return memory_.read_as<u64>(Gpa{at}).value(); }

  /// Tables at `at`, at + 0x1000, at + 0x2000 below `top`.
  void map(u64 top, u64 at, u64 leaf) {
    store(top + (linear >> 39 & 511) * 8, at | all_rights);
    store(at + (linear >> 30 & 511) * 8, (at + 0x1000) | all_rights);
    store(at + 0x1000 + (linear >> 21 & 511) * 8, (at + 0x2000) | all_rights);
    store(at + 0x2000 + (linear >> 12 & 511) * 8, leaf);
  }
  static u64 leaf_at() { return 0x4000 + (linear >> 12 & 511) * 8; }
  void set_leaf(u64 leaf) {
    store(leaf_at(), leaf);
    mmu_.flush_page(linear);
  }
  void set_mode(auto&& change) {
    change(mode_);
    mmu_.set_mode(mode_, root);
  }

  /// The error code of the page fault that the access raises, or nothing when it succeeds.
  std::optional<u32> fault(Access access, Rights rights, u64 at = linear) {
    try {
      mmu_.translate(at, access, rights);
      return {};
    } catch (Fault const& raised) {
      EXPECT_EQ(raised.vector, x86::Vector::pf);
      EXPECT_EQ(raised.address, at);
      return raised.error_code;
    }
  }
  u64 physical(u64 at = linear, Access access = Access::read) {
    return mmu_.translate(at, access, Rights::supervisor).physical;
  }
  bool hit_write(Rights rights) { return in_page(mmu_.write_entry(rights, linear).tag, linear, 1); }
  bool hit(u64 TlbEntry::* which, Rights rights, u64 at = linear) {
    return in_page(mmu_.entry(rights, at).*which, at, 1);
  }

  memory::GuestMemory memory_;
  Mmu mmu_{memory_, 39, true};
  PagingMode mode_{.format = Format::four_level,
                   .write_protect = true,
                   .no_execute = true,
                   .smep = false,
                   .smap = false,
                   .page_size_extension = true,
                   .global_pages = true,
                   .pcid = false};
};

TEST_F(MmuTest, ErrorCodeNamesAbsentPage) {
  set_leaf(0);
  EXPECT_EQ(fault(Access::read, Rights::supervisor), 0u);
  EXPECT_EQ(fault(Access::write, Rights::user), x86::pf_write | x86::pf_user);
  EXPECT_EQ(fault(Access::execute, Rights::user), x86::pf_fetch | x86::pf_user);
}

TEST_F(MmuTest, UserMayNotTouchSupervisorPage) {
  set_leaf(page | page_present | page_writable);
  EXPECT_EQ(fault(Access::read, Rights::user), x86::pf_present | x86::pf_user);
  EXPECT_EQ(fault(Access::read, Rights::supervisor), std::nullopt);
}

TEST_F(MmuTest, SupervisorWritesReadOnlyPageOnlyWithoutWriteProtect) {
  set_leaf(page | page_present | page_user);
  EXPECT_EQ(fault(Access::write, Rights::supervisor), x86::pf_present | x86::pf_write);
  set_mode([](auto& mode) { mode.write_protect = false; });
  EXPECT_EQ(fault(Access::write, Rights::supervisor), std::nullopt);
  EXPECT_EQ(fault(Access::write, Rights::user), x86::pf_present | x86::pf_write | x86::pf_user);
}

TEST_F(MmuTest, NoExecuteStopsFetchOnly) {
  set_leaf(page | all_rights | page_no_execute);
  EXPECT_EQ(fault(Access::execute, Rights::user), x86::pf_present | x86::pf_fetch | x86::pf_user);
  EXPECT_EQ(fault(Access::read, Rights::user), std::nullopt);
}

TEST_F(MmuTest, NoExecuteBitIsReservedWithoutNxe) {
  set_mode([](auto& mode) { mode.no_execute = false; });
  set_leaf(page | all_rights | page_no_execute);
  EXPECT_EQ(fault(Access::read, Rights::supervisor), x86::pf_present | x86::pf_reserved);
}

TEST_F(MmuTest, AddressBitsAboveMaxphyaddrAreReserved) {
  set_leaf(page | all_rights | u64{1} << 39);
  EXPECT_EQ(fault(Access::write, Rights::user),
            x86::pf_present | x86::pf_write | x86::pf_user | x86::pf_reserved);
}

TEST_F(MmuTest, SmepStopsSupervisorFetchFromUserPage) {
  set_mode([](auto& mode) { mode.smep = true; });
  EXPECT_EQ(fault(Access::execute, Rights::supervisor), x86::pf_present | x86::pf_fetch);
  EXPECT_EQ(fault(Access::execute, Rights::user), std::nullopt);
}

TEST_F(MmuTest, SmapStopsSupervisorDataOnUserPageUnlessAcIsSet) {
  set_mode([](auto& mode) { mode.smap = true; });
  EXPECT_EQ(fault(Access::read, Rights::supervisor), x86::pf_present);
  EXPECT_EQ(fault(Access::write, Rights::supervisor), x86::pf_present | x86::pf_write);
  EXPECT_EQ(fault(Access::read, Rights::supervisor_ac), std::nullopt);
}

TEST_F(MmuTest, ReadSetsAccessedAndWriteSetsDirty) {
  fault(Access::read, Rights::user);
  EXPECT_EQ(load(leaf_at()) & (page_accessed | page_dirty), page_accessed);
  EXPECT_TRUE(load(root + (linear >> 39 & 511) * 8) & page_accessed);
  EXPECT_FALSE(hit_write(Rights::user));

  fault(Access::write, Rights::user);
  EXPECT_EQ(load(leaf_at()) & (page_accessed | page_dirty), page_accessed | page_dirty);
  EXPECT_TRUE(hit_write(Rights::user));
}

TEST_F(MmuTest, FaultingAccessLeavesFlagsAlone) {
  set_leaf(page | page_present | page_user);
  fault(Access::write, Rights::user);
  EXPECT_EQ(load(leaf_at()), page | page_present | page_user);
}

TEST_F(MmuTest, StaleTranslationStaysUntilFlushed) {
  EXPECT_EQ(physical(), page);
  store(leaf_at(), other_page | all_rights);
  EXPECT_EQ(physical(), page);
  EXPECT_TRUE(hit(&TlbEntry::read, Rights::supervisor));
  mmu_.flush_page(linear);
  EXPECT_FALSE(hit(&TlbEntry::read, Rights::supervisor));
  EXPECT_EQ(physical(), other_page);
}

TEST_F(MmuTest, PermissionGrantedInMemoryIsFoundWithoutFlush) {
  set_leaf(page | page_present | page_user);
  EXPECT_EQ(fault(Access::read, Rights::user), std::nullopt);
  store(leaf_at(), page | all_rights);
  EXPECT_EQ(fault(Access::write, Rights::user), std::nullopt);
}

TEST_F(MmuTest, Cr3WriteKeepsOnlyGlobalPages) {
  physical();
  mmu_.set_cr3(second_root, false);
  EXPECT_EQ(physical(), other_page);

  mmu_.set_cr3(root, false);
  set_leaf(page | all_rights | page_global);
  EXPECT_EQ(physical(), page);
  mmu_.set_cr3(second_root, false);
  EXPECT_EQ(physical(), page);
  mmu_.flush_all();
  EXPECT_EQ(physical(), other_page);
}

TEST_F(MmuTest, PcidKeepsTranslationsAcrossCr3WritesWithBit63) {
  set_mode([](auto& mode) { mode.pcid = true; });
  mmu_.set_cr3(root | 1, false);
  EXPECT_EQ(physical(), page);
  mmu_.set_cr3(second_root | 2, false);
  EXPECT_EQ(physical(), other_page);

  store(leaf_at(), 0);
  mmu_.set_cr3(root | 1, true);
  EXPECT_TRUE(hit(&TlbEntry::read, Rights::supervisor) || physical() == page);
  mmu_.set_cr3(root | 1, false);
  EXPECT_EQ(fault(Access::read, Rights::supervisor), 0u);
}

TEST_F(MmuTest, InvpcidFlushesAnotherPcid) {
  set_mode([](auto& mode) { mode.pcid = true; });
  mmu_.set_cr3(root | 1, false);
  physical();
  mmu_.set_cr3(second_root | 2, false);
  store(leaf_at(), 0);
  mmu_.flush_pcid(1);
  mmu_.set_cr3(root | 1, true);
  EXPECT_EQ(fault(Access::read, Rights::supervisor), 0u);
}

TEST_F(MmuTest, ManyFlushesNeverBringOldTranslationsBack) {
  physical();
  store(leaf_at(), other_page | all_rights);
  for (auto i = 0; i < 4095; ++i) mmu_.set_cr3(root, false);
  EXPECT_FALSE(hit(&TlbEntry::read, Rights::supervisor));
  EXPECT_EQ(physical(), other_page);
}

TEST_F(MmuTest, InvlpgDropsAllOfALargePage) {
  store(0x3000 + (linear >> 21 & 511) * 8, 0x200000 | all_rights | page_large);
  mmu_.flush_all();
  auto const start = linear & ~(2 * MiB - 1);
  EXPECT_EQ(physical(start), 0x200000u);
  EXPECT_EQ(physical(start + 0x5000), 0x205000u);
  store(0x3000 + (linear >> 21 & 511) * 8, 0);
  mmu_.flush_page(start + 0x9000);
  EXPECT_EQ(fault(Access::read, Rights::supervisor, start), 0u);
  EXPECT_EQ(fault(Access::read, Rights::supervisor, start + 0x5000), 0u);
}

TEST_F(MmuTest, LargePageWithUnalignedFrameIsReserved) {
  store(0x3000 + (linear >> 21 & 511) * 8, 0x202000 | all_rights | page_large);
  mmu_.flush_all();
  EXPECT_EQ(fault(Access::read, Rights::supervisor), x86::pf_present | x86::pf_reserved);
}

TEST_F(MmuTest, RomIsReadButNeverWrittenThroughTheTlb) {
  set_leaf(0xfff00000 | all_rights | page_dirty);
  EXPECT_NE(mmu_.translate(linear, Access::read, Rights::user).host, nullptr);
  EXPECT_EQ(mmu_.translate(linear, Access::write, Rights::user).host, nullptr);
  EXPECT_FALSE(hit_write(Rights::user));
}

TEST_F(MmuTest, DeviceMemoryNeverEntersTheTlb) {
  set_leaf(0xfec00000 | all_rights);
  EXPECT_EQ(mmu_.translate(linear + 4, Access::read, Rights::user).physical, 0xfec00004u);
  EXPECT_FALSE(hit(&TlbEntry::read, Rights::user));
}

TEST_F(MmuTest, TwoLevelPagingWithFourMegabytePagesReachesAbove4GiB) {
  set_mode([](auto& mode) { mode = {.format = Format::two_level, .page_size_extension = true}; });
  mmu_.set_cr3(0x20000, false);
  EXPECT_TRUE(
      memory_.write_as<u32>(Gpa{0x20000 + 1 * 4}, u32{0x00c00000 | 2u << 13 | page_large | all_rights}));
  EXPECT_TRUE(memory_.write_as<u32>(Gpa{0x20000 + 2 * 4}, u32{0x21000 | all_rights}));
  EXPECT_TRUE(memory_.write_as<u32>(Gpa{0x21000 + 3 * 4}, u32{0x34000 | all_rights}));
  EXPECT_EQ(physical(0x00412345), 0x2'00c1'2345u);
  EXPECT_EQ(physical(0x00803456), 0x34456u);
  EXPECT_EQ(fault(Access::execute, Rights::supervisor, 0x00c00000), 0u);
}

TEST_F(MmuTest, PaePagingUsesPdptesLoadedWithCr3) {
  set_mode([](auto& mode) { mode = {.format = Format::pae, .no_execute = true}; });
  store(0x20020 + 3 * 8, 0x21000 | page_present);
  store(0x21000 + 1 * 8, 0x200000 | page_large | all_rights);
  mmu_.set_cr3(0x20020, false);
  store(0x20020 + 3 * 8, 0);
  EXPECT_EQ(physical(0xc0212345), 0x212345u);
  EXPECT_EQ(fault(Access::read, Rights::supervisor, 0x40000000), 0u);
}

TEST_F(MmuTest, PdptesWithReservedBitsAreRefused) {
  store(0x20020, 0x21000 | page_present | page_writable);
  EXPECT_FALSE(mmu_.pdptes_valid(0x20020));
  store(0x20020, 0x21000 | page_writable);
  EXPECT_TRUE(mmu_.pdptes_valid(0x20020));
}

// ---- windows, and who remembers code for them ----

class Heard final : public MappingObserver {
 public:
  void mappings_changed(u8 window) noexcept override { windows.push_back(window); }
  std::vector<u8> windows;
};

TEST_F(MmuTest, KeptAddressSpaceFindsItsUserWindowAsItWas) {
  set_mode([](auto& mode) { mode.pcid = true; });
  mmu_.set_cr3(root | 1, false);
  mmu_.translate(linear, Access::read, Rights::user);
  auto const first = mmu_.window(Rights::user);
  mmu_.set_cr3(second_root | 2, false);
  EXPECT_NE(mmu_.window(Rights::user), first);
  EXPECT_FALSE(hit(&TlbEntry::read, Rights::user));

  mmu_.set_cr3(root | 1, true);
  EXPECT_EQ(mmu_.window(Rights::user), first);
  EXPECT_TRUE(hit(&TlbEntry::read, Rights::user));
}

TEST_F(MmuTest, SupervisorWindowKeepsOnlyGlobalPagesWhenTheAddressSpaceChanges) {
  set_mode([](auto& mode) { mode.pcid = true; });
  mmu_.set_cr3(root | 1, false);
  mmu_.set_cr3(second_root | 2, false);
  set_leaf(page | all_rights);
  mmu_.set_cr3(root | 1, true);
  physical();
  mmu_.set_cr3(root | 1, true);
  EXPECT_TRUE(hit(&TlbEntry::read, Rights::supervisor)) << "the same space, kept";
  mmu_.set_cr3(second_root | 2, true);
  EXPECT_FALSE(hit(&TlbEntry::read, Rights::supervisor));

  mmu_.set_cr3(root | 1, true);
  set_leaf(page | all_rights | page_global);
  physical();
  mmu_.set_cr3(second_root | 2, true);
  EXPECT_TRUE(hit(&TlbEntry::read, Rights::supervisor));
  mmu_.set_cr3(second_root | 2, false);
  EXPECT_TRUE(hit(&TlbEntry::read, Rights::supervisor));
}

TEST_F(MmuTest, NinthAddressSpaceTakesTheWindowOfTheOldest) {
  set_mode([](auto& mode) { mode.pcid = true; });
  mmu_.set_cr3(root | 1, false);
  mmu_.translate(linear, Access::read, Rights::user);
  auto const first = mmu_.window(Rights::user);
  for (auto pcid = u64{2}; pcid < 10; ++pcid) mmu_.set_cr3(second_root | pcid, false);
  EXPECT_EQ(mmu_.window(Rights::user), first);
  EXPECT_FALSE(hit(&TlbEntry::read, Rights::user));
}

TEST_F(MmuTest, NoAddressHitsAnEmptyEntry) {
  for (auto const at : {u64{0}, u64{0xfff}, u64{0x1000}, u64{0x1fff}, u64{4096} * page_size, linear}) {
    EXPECT_FALSE(hit(&TlbEntry::read, Rights::supervisor, at)) << at;
  }
  mmu_.set_mode({}, 0);
  for (auto const at : {u64{0}, u64{0x1000}, u64{4096} * page_size % (4 * MiB)}) {
    physical(at);
    mmu_.flush_page(at);
    EXPECT_FALSE(hit(&TlbEntry::read, Rights::supervisor, at)) << at;
  }
}

TEST_F(MmuTest, DropsAndFillsOfOnePageDoNotUseUpTheWindow) {
  for (auto i = 0; i < 10000; ++i) {
    physical();
    mmu_.flush_page(linear);
  }
  physical();
  EXPECT_TRUE(hit(&TlbEntry::read, Rights::supervisor));
  mmu_.flush_all();
  EXPECT_FALSE(hit(&TlbEntry::read, Rights::supervisor));
}

TEST_F(MmuTest, TellsOfAWindowThatLosesExecutablePages) {
  auto heard = Heard{};
  mmu_.set_observer(&heard);
  mmu_.translate(linear, Access::read, Rights::user);
  mmu_.set_cr3(root, false);
  EXPECT_EQ(heard.windows, std::vector<u8>{mmu_.window(Rights::user)});
  mmu_.set_cr3(root, false);
  EXPECT_EQ(heard.windows.size(), 1u) << "nothing was filled since";

  set_leaf(page | all_rights | page_no_execute);
  mmu_.translate(linear, Access::read, Rights::user);
  mmu_.set_cr3(root, false);
  EXPECT_EQ(heard.windows.size(), 1u) << "nothing of it was executable";
}

TEST_F(MmuTest, TellsOfExecutedPagesAtInvlpgAlone) {
  auto heard = Heard{};
  mmu_.translate(linear, Access::execute, Rights::user);
  auto const window = mmu_.window(Rights::user);
  mmu_.set_observer(&heard);
  mmu_.flush_page(linear);
  EXPECT_TRUE(heard.windows.empty());

  mmu_.translate(linear, Access::execute, Rights::user);
  mmu_.note_executed(window, linear);
  mmu_.flush_page(linear + page_size);
  EXPECT_TRUE(heard.windows.empty());
  mmu_.flush_page(linear);
  EXPECT_EQ(heard.windows, std::vector<u8>{window});
}

TEST_F(MmuTest, InvlpgLeavesOtherAddressSpacesAlone) {
  set_mode([](auto& mode) { mode.pcid = true; });
  mmu_.set_cr3(root | 1, false);
  mmu_.translate(linear, Access::execute, Rights::user);
  mmu_.note_executed(mmu_.window(Rights::user), linear);
  mmu_.set_cr3(second_root | 2, false);
  mmu_.translate(linear, Access::execute, Rights::user);
  auto heard = Heard{};
  mmu_.set_observer(&heard);

  mmu_.flush_page(linear);
  EXPECT_TRUE(heard.windows.empty());
  EXPECT_FALSE(hit(&TlbEntry::read, Rights::user));
  mmu_.set_cr3(root | 1, true);
  EXPECT_TRUE(hit(&TlbEntry::read, Rights::user));
}

TEST_F(MmuTest, InvlpgDropsGlobalPagesFromEveryAddressSpace) {
  set_mode([](auto& mode) { mode.pcid = true; });
  mmu_.set_cr3(root | 1, false);
  set_leaf(page | all_rights | page_global);
  mmu_.translate(linear, Access::execute, Rights::user);
  mmu_.set_cr3(second_root | 2, false);
  store(leaf_at(), 0);
  mmu_.flush_page(linear);
  mmu_.set_cr3(root | 1, true);
  EXPECT_FALSE(hit(&TlbEntry::read, Rights::user));
  EXPECT_EQ(fault(Access::read, Rights::user), x86::pf_user);
}

TEST_F(MmuTest, InvpcidFlushesAPageOfAnotherPcid) {
  set_mode([](auto& mode) { mode.pcid = true; });
  mmu_.set_cr3(root | 1, false);
  mmu_.translate(linear, Access::read, Rights::user);
  mmu_.set_cr3(second_root | 2, false);
  mmu_.translate(linear, Access::read, Rights::user);
  store(leaf_at(), 0);
  mmu_.flush_page_pcid(linear, 1);
  EXPECT_TRUE(hit(&TlbEntry::read, Rights::user));
  mmu_.set_cr3(root | 1, true);
  EXPECT_FALSE(hit(&TlbEntry::read, Rights::user));
  EXPECT_EQ(fault(Access::read, Rights::user), x86::pf_user);
}

TEST_F(MmuTest, TellsOfNonGlobalSupervisorCodeAtCr3WritesAlone) {
  auto heard = Heard{};
  mmu_.set_observer(&heard);
  set_leaf(page | all_rights | page_global);
  physical();
  mmu_.set_cr3(root, false);
  EXPECT_TRUE(heard.windows.empty());
  set_leaf(page | all_rights);
  physical();
  mmu_.set_cr3(root, false);
  EXPECT_EQ(heard.windows, std::vector<u8>{Windows::supervisor});
}

TEST_F(MmuTest, TellsWhenAnExecutedPageIsFoundElsewhere) {
  auto heard = Heard{};
  set_leaf(page | page_present | page_user);
  mmu_.translate(linear, Access::execute, Rights::user);
  mmu_.note_executed(mmu_.window(Rights::user), linear);
  store(leaf_at(), other_page | all_rights);
  mmu_.set_observer(&heard);
  EXPECT_EQ(mmu_.refill(linear, 8, Access::write, Rights::user), nullptr);
  EXPECT_TRUE(heard.windows.empty());
  mmu_.translate(linear, Access::write, Rights::user);
  EXPECT_EQ(heard.windows.size(), 1u);
}

// ---- refill ----

TEST_F(MmuTest, RefillGivesTheHostsAddressAndFillsTheEntry) {
  auto* const host = mmu_.refill(linear + 8, 8, Access::write, Rights::user);
  EXPECT_EQ(host, memory_.host(Gpa{page + 8}, 8, true));
  EXPECT_TRUE(hit_write(Rights::user));
  EXPECT_EQ(load(leaf_at()) & (page_accessed | page_dirty), page_accessed | page_dirty);
}

TEST_F(MmuTest, RefillLeavesTheRestToOthers) {
  EXPECT_EQ(mmu_.refill(linear + 0xff9, 8, Access::read, Rights::user), nullptr) << "crosses the page";
  EXPECT_EQ(mmu_.refill(linear + page_size, 1, Access::read, Rights::user), nullptr) << "faults";
  EXPECT_EQ(mmu_.refill(linear | u64{1} << 47, 1, Access::read, Rights::user), nullptr) << "not canonical";
  set_leaf(0xfff00000 | all_rights);
  EXPECT_NE(mmu_.refill(linear, 1, Access::read, Rights::user), nullptr);
  EXPECT_EQ(mmu_.refill(linear, 1, Access::write, Rights::user), nullptr) << "ROM";
  set_leaf(0xfec00000 | all_rights);
  EXPECT_EQ(mmu_.refill(linear, 1, Access::read, Rights::user), nullptr) << "a device";
  set_leaf(page | page_present);
  EXPECT_EQ(mmu_.refill(linear, 1, Access::read, Rights::user), nullptr) << "no rights";
}

TEST_F(MmuTest, PageDirectoryIsLookedAtAgainAfterInvlpgOfAnyPage) {
  physical();
  store(0x6000 + (linear >> 12 & 511) * 8, other_page | all_rights);
  store(0x3000 + (linear >> 21 & 511) * 8, 0x6000 | all_rights);
  mmu_.flush_page(linear);
  EXPECT_EQ(physical(), other_page);
  store(0x3000 + (linear >> 21 & 511) * 8, 0x4000 | all_rights);
  mmu_.flush_page(0);
  mmu_.flush_page(linear);
  EXPECT_EQ(physical(), page);
}

TEST_F(MmuTest, RightsOfThePageDirectoryCountForEachOfItsPages) {
  store(0x4000 + ((linear >> 12 & 511) + 1) * 8, other_page | all_rights);
  store(0x3000 + (linear >> 21 & 511) * 8, 0x4000 | page_present | page_user);
  mmu_.flush_all();
  EXPECT_EQ(fault(Access::read, Rights::user), std::nullopt);
  EXPECT_EQ(fault(Access::read, Rights::user, linear + page_size), std::nullopt);
  EXPECT_EQ(fault(Access::write, Rights::user, linear + page_size),
            x86::pf_present | x86::pf_write | x86::pf_user);
}

TEST_F(MmuTest, FirstStoreIntoALargePageSetsItsDirtyFlag) {
  auto const entry = 0x3000 + (linear >> 21 & 511) * 8;
  store(entry, 0x200000 | all_rights | page_large);
  mmu_.flush_all();
  EXPECT_EQ(physical(), 0x200000u + (linear & (2 * MiB - 1)));
  EXPECT_FALSE(load(entry) & page_dirty);
  physical(linear + page_size, Access::write);
  EXPECT_TRUE(load(entry) & page_dirty);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(MmuTest, RefillLeavesVectorRegistersAlone) {
  auto before = std::array<u64, 32>{}, after = std::array<u64, 32>{};
  for (auto& word : before) word = static_cast<u64>(&word - before.data()) * 0x0123456789abcdef;
  auto const call = [](Mmu* mmu, std::byte** result) {
    *result = mmu->refill(linear, 8, Access::write, Rights::user);
  };
  std::byte* result{};
  auto* mmu = &mmu_;
  auto* result_at = &result;
  // SOUND: loads all vector registers, calls with an aligned stack, stores them again; all are named as lost.
  asm volatile("mov %%rsp, %%rbx\n and $-64, %%rsp\n"
#  define VIREO_EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#  define VIREO_LOAD(n) "movups " #n "*16(%[from]), %%xmm" #n "\n"
#  define VIREO_STORE(n) "movups %%xmm" #n ", " #n "*16(%[to])\n"
               VIREO_EACH(VIREO_LOAD) "call *%[call]\n" VIREO_EACH(VIREO_STORE) "mov %%rbx, %%rsp\n"
               : "+D"(mmu), "+S"(result_at)
               : [from] "r"(before.data()), [to] "r"(after.data()),
                 [call] "r"(static_cast<void (*)(Mmu*, std::byte**)>(call))
               : "rbx", "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2",
                 "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                 "xmm14", "xmm15");
  EXPECT_NE(result, nullptr);
  EXPECT_EQ(before, after);
}
#endif

}  // namespace
}  // namespace vireo::engine::soft
