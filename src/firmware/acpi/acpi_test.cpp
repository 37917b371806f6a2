#include "firmware/acpi/acpi.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <numeric>
#include <sstream>

#include "bus/address_plan.h"
#include "firmware/acpi/aml.h"

namespace vireo::firmware {
namespace {

namespace plan = bus::address_plan;

struct Tables {
  memory::GuestMemory memory;
  Gpa rsdp;

  explicit Tables(u32 vcpus) {
    EXPECT_TRUE(memory.add({Gpa{0}, 1 * MiB}, memory::RegionKind::ram));
    auto const stored = store_acpi(memory, {.vcpus = vcpus});
    EXPECT_TRUE(stored);
    rsdp = stored.value();
  }
  std::vector<u8> bytes(Gpa at, u64 length) const {
    auto result = std::vector<u8>(length);
    EXPECT_TRUE(memory.read(at, std::as_writable_bytes(std::span{result})));
    return result;
  }
  std::vector<u8> table(Gpa at) const { return bytes(at, memory.read_as<u32>(at + 4).value()); }
  std::vector<Gpa> listed() const {
    auto const xsdt = table(Gpa{memory.read_as<u64>(rsdp + 24).value()});
    auto result = std::vector<Gpa>{};
    for (auto i = std::size_t{36}; i < xsdt.size(); i += 8)
      result.push_back(Gpa{load_le<u64>(xsdt.data() + i)});
    return result;
  }
};

u8 sum(std::vector<u8> const& bytes) { return static_cast<u8>(std::accumulate(bytes.begin(), bytes.end(), 0)); }

TEST(Acpi, EveryTableIsListedAndSumsToZero) {
  auto const tables = Tables{4};
  auto signatures = std::string{};

  for (auto const at : tables.listed()) {
    auto const table = tables.table(at);
    signatures += std::string{table.begin(), table.begin() + 4} + " ";
    EXPECT_EQ(sum(table), 0);
  }

  EXPECT_EQ(signatures, "FACP APIC MCFG HPET ");
  EXPECT_EQ(sum(tables.bytes(tables.rsdp, 20)), 0);
  EXPECT_EQ(sum(tables.bytes(tables.rsdp, 36)), 0);
}

TEST(Acpi, FitsForTheMostProcessors) {
  auto const tables = Tables{64};

  auto const madt = tables.table(tables.listed().at(1));

  EXPECT_EQ(madt.size(), 44u + 64 * 8 + 12 + 2 * 10 + 6);
}

TEST(Acpi, EncodesLengthsAndIdsAsTheSpecificationSays) {
  EXPECT_EQ(aml::eisa_id("PNP0A08"), (aml::Term{0x0c, 0x41, 0xd0, 0x0a, 0x08}));
  EXPECT_EQ(aml::path("\\_SB.PCI0"), (aml::Term{'\\', 0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0'}));
  EXPECT_EQ(aml::package({aml::integer(5)}), (aml::Term{0x12, 4, 1, 0x0a, 5}));
}

TEST(Acpi, IntelsCompilerReadsTheDsdtWithoutComplaint) {
  auto const tables = Tables{2};
  auto const fadt = tables.table(tables.listed().at(0));
  auto const dsdt = tables.table(Gpa{load_le<u64>(fadt.data() + 140)});
  auto const folder = testing::TempDir() + "vireo_acpi_test";
  ASSERT_EQ(std::system(("mkdir -p " + folder).c_str()), 0);
  std::ofstream{folder + "/dsdt.aml", std::ios::binary} << std::string{dsdt.begin(), dsdt.end()};

  auto const status = std::system(
      ("cd " + folder + " && iasl -d dsdt.aml > log 2>&1 && iasl -tc dsdt.dsl >> log 2>&1").c_str());
  auto text = std::stringstream{};
  text << std::ifstream{folder + "/log"}.rdbuf() << std::ifstream{folder + "/dsdt.dsl"}.rdbuf();

  EXPECT_EQ(status, 0) << text.str();
  EXPECT_NE(text.str().find("0 Errors"), std::string::npos) << text.str();
  EXPECT_NE(text.str().find("PNP0A08"), std::string::npos) << text.str();
}

}  // namespace
}  // namespace vireo::firmware
