#include "firmware/firmware_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "vocab/bytes.h"

namespace vireo::firmware {
namespace {

using Files = std::map<std::string, std::vector<u8>>;

/// What SeaBIOS does with the script: files get addresses, pointers and checksums follow.
struct Loader {
  explicit Loader(std::vector<FirmwareFile> const& given) {
    for (auto const& [name, content] : given) files[name] = content;
    auto const script = files.at("etc/table-loader");
    for (auto at = std::size_t{0}; at < script.size(); at += 128) run(script.data() + at);
  }
  static std::string name(u8 const* at) { return std::string(reinterpret_cast<char const*>(at)); }
  void run(u8 const* entry) {
    auto const command = load_le<u32>(entry);
    auto& file = files.at(name(entry + 4));
    if (command == 1) {
      addresses[name(entry + 4)] = next;
      EXPECT_EQ(next % load_le<u32>(entry + 60), 0u);
      next += align_up(file.size(), 4096);
    }
    if (command == 2) {
      auto const at = load_le<u32>(entry + 116);
      auto value = u64{0};
      std::memcpy(&value, &file.at(at), entry[120]);
      value += addresses.at(name(entry + 60));
      std::memcpy(&file.at(at), &value, entry[120]);
    }
    if (command == 3) {
      auto const* const begin = &file.at(load_le<u32>(entry + 64));
      file.at(load_le<u32>(entry + 60)) -= std::accumulate(begin, begin + load_le<u32>(entry + 68), u8{0});
    }
  }
  std::vector<u8> table(u64 address) const {
    auto const& tables = files.at("etc/acpi/tables");
    auto const* const at = &tables.at(address - addresses.at("etc/acpi/tables"));
    return {at, at + load_le<u32>(at + 4)};
  }

  Files files;
  std::map<std::string, u64> addresses;
  u64 next{0x7ff0000};
};

u8 sum(std::vector<u8> const& bytes) { return std::accumulate(bytes.begin(), bytes.end(), u8{0}); }

TEST(FirmwareFiles, TheScriptPlacesTablesThatSumToZero) {
  auto const loader = Loader{acpi_files({.vcpus = 3})};

  auto const& root = loader.files.at("etc/acpi/rsdp");
  EXPECT_EQ(sum(root), 0);
  EXPECT_EQ(sum({root.begin(), root.begin() + 20}), 0);
  auto const xsdt = loader.table(load_le<u64>(&root.at(24)));
  EXPECT_EQ(sum(xsdt), 0);
  auto names = std::string{};
  for (auto i = std::size_t{36}; i < xsdt.size(); i += 8) {
    auto const table = loader.table(load_le<u64>(&xsdt.at(i)));
    EXPECT_EQ(sum(table), 0);
    names += std::string(table.begin(), table.begin() + 4) + " ";
  }
  EXPECT_EQ(names, "FACP APIC MCFG HPET ");
  auto const fadt = loader.table(load_le<u64>(&xsdt.at(36)));
  auto const dsdt = loader.table(load_le<u64>(&fadt.at(140)));
  EXPECT_EQ(std::string(dsdt.begin(), dsdt.begin() + 4), "DSDT");
  EXPECT_EQ(load_le<u32>(&fadt.at(40)), load_le<u64>(&fadt.at(140)));
}

TEST(FirmwareFiles, NamesDisksInTheirOrder) {
  auto const file = boot_order_file({1, 0x1a});
  EXPECT_EQ(std::string(file.content.begin(), file.content.end() - 1),
            "/pci@i0cf8/scsi@1/disk@0,0\n/pci@i0cf8/scsi@1a/disk@0,0\n");
  EXPECT_EQ(file.content.back(), 0);
}

TEST(FirmwareFiles, ListsRamWithoutRom) {
  auto memory = memory::GuestMemory{};
  ASSERT_TRUE(memory.add({Gpa{0}, 64 * MiB}, memory::RegionKind::ram));
  ASSERT_TRUE(memory.add({Gpa{4 * GiB - 256 * KiB}, 256 * KiB}, memory::RegionKind::rom));
  auto const file = memory_map_file(memory);
  ASSERT_EQ(file.content.size(), 20u);
  EXPECT_EQ(load_le<u64>(&file.content.at(8)), 64 * MiB);
}

}  // namespace
}  // namespace vireo::firmware
