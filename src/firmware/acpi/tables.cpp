#include <fmt/format.h>

#include <numeric>

#include "bus/address_plan.h"
#include "firmware/acpi/acpi.h"

namespace vireo::firmware {
namespace {

namespace plan = bus::address_plan;
using Table = std::vector<u8>;

constexpr u32 header_bytes{36};
constexpr u32 checksum_offset{9};
constexpr u8 io_space{1}, memory_space{0};

void put(Table& table, u64 value, u32 bytes) {
  for (auto i = u32{0}; i < bytes; ++i) table.push_back(static_cast<u8>(value >> (8 * i)));
}
void put_text(Table& table, std::string_view text, std::size_t width) {
  for (auto i = std::size_t{0}; i < width; ++i)
    table.push_back(i < text.size() ? static_cast<u8>(text[i]) : u8{' '});
}
void set(Table& table, u32 offset, u64 value, u32 bytes) {
  for (auto i = u32{0}; i < bytes; ++i) table.at(offset + i) = static_cast<u8>(value >> (8 * i));
}
/// Generic Address Structure (ACPI 6.5, 5.2.3.2).
void set_address(Table& table, u32 offset, u8 space, u8 bits, u64 address) {
  set(table, offset, space, 1);
  set(table, offset + 1, bits, 1);
  set(table, offset + 3, bits == 32 ? 3 : bits == 16 ? 2 : 1, 1);
  set(table, offset + 4, address, 8);
}
void fix_checksum(Table& table, u32 offset, std::size_t length) {
  table[offset] = 0;
  table[offset] =
      static_cast<u8>(-std::accumulate(table.begin(), table.begin() + static_cast<std::ptrdiff_t>(length), 0));
}

/// A system description table (5.2.6): header, body, length and checksum.
Table system_table(std::string_view signature, u8 revision, Table const& body) {
  auto table = Table{};
  put_text(table, signature, 4);
  put(table, header_bytes + body.size(), 4);
  put(table, revision, 1);
  put(table, 0, 1);
  put_text(table, "VIREO", 6);
  put_text(table, fmt::format("VIREO{}", signature.substr(0, 3)), 8);
  put(table, 1, 4);
  put_text(table, "VIRE", 4);
  put(table, 1, 4);
  table.insert(table.end(), body.begin(), body.end());
  fix_checksum(table, checksum_offset, table.size());
  return table;
}

enum FadtFlag : u32 {  // 5.2.9, table 5.10
  wbinvd = 1u << 0,
  proc_c1 = 1u << 2,
  sleep_button = 1u << 5,
  timer_32_bit = 1u << 8,
  reset_supported = 1u << 10,
};
enum BootArchitecture : u16 { legacy_devices = 1, has_8042 = 2, no_vga = 4 };  // table 5.11

Table fadt(AcpiConfig const& config, u64 facs, u64 dsdt) {
  constexpr u32 fadt_bytes{276};
  auto table = system_table("FACP", 6, Table(fadt_bytes - header_bytes));
  set(table, 36, facs, 4);
  set(table, 40, dsdt, 4);
  set(table, 45, 0, 1);  // unspecified profile
  set(table, 46, plan::gsi_sci, 2);
  set(table, 56, plan::pm1a_event, 4);
  set(table, 64, plan::pm1a_control, 4);
  set(table, 76, plan::pm_timer, 4);
  set(table, 80, plan::gpe0, 4);
  set(table, 88, 4, 1);  // PM1 event block
  set(table, 89, 2, 1);  // PM1 control block
  set(table, 91, 4, 1);  // PM timer
  set(table, 92, plan::gpe0_length, 1);
  set(table, 96, 0xfff, 2);  // no C2
  set(table, 98, 0xfff, 2);  // no C3
  set(table, 108, 0x32, 1);  // century byte in CMOS
  set(table, 109, legacy_devices | has_8042 | (config.vga ? 0 : no_vga), 2);
  set(table, 112, wbinvd | proc_c1 | sleep_button | timer_32_bit | reset_supported, 4);
  set_address(table, 116, io_space, 8, plan::reset_control);
  set(table, 128, 0x06, 1);  // full reset through 0xcf9
  set(table, 131, 5, 1);     // minor version
  set(table, 140, dsdt, 8);
  set_address(table, 148, io_space, 32, plan::pm1a_event);
  set_address(table, 172, io_space, 16, plan::pm1a_control);
  set_address(table, 208, io_space, 32, plan::pm_timer);
  set_address(table, 220, io_space, static_cast<u8>(plan::gpe0_length * 8), plan::gpe0);
  fix_checksum(table, checksum_offset, table.size());
  return table;
}

Table facs() {
  auto table = Table{};
  put_text(table, "FACS", 4);
  put(table, 64, 4);
  table.resize(64);
  table[32] = 2;  // version
  return table;
}

Table madt(u32 vcpus) {
  auto body = Table{};
  put(body, plan::local_apic.start.value, 4);
  put(body, 1, 4);  // 8259s are there
  for (auto id = u32{0}; id < vcpus; ++id) {
    put(body, 0x0800, 2);  // processor local APIC, 8 bytes
    put(body, id, 1);
    put(body, id, 1);
    put(body, 1, 4);
  }
  put(body, 0x0c01, 2);  // IOAPIC
  put(body, 0, 2);
  put(body, plan::ioapic.start.value, 4);
  put(body, 0, 4);
  auto const override_irq = [&](u8 source, u8 gsi, u16 flags) {
    put(body, 0x0a02, 2);
    put(body, 0, 1);
    put(body, source, 1);
    put(body, gsi, 4);
    put(body, flags, 2);
  };
  override_irq(0, plan::gsi_timer, 0);
  override_irq(plan::gsi_sci, plan::gsi_sci, 0xd);  // active high, level
  put(body, 0x0604, 2);                             // NMI on LINT1 of every processor
  put(body, 0xff, 1);
  put(body, 0, 2);
  put(body, 1, 1);
  return system_table("APIC", 5, body);
}

Table mcfg() {
  auto body = Table(8);
  put(body, plan::ecam.start.value, 8);
  put(body, 0, 2);
  put(body, 0, 1);
  put(body, 255, 1);
  put(body, 0, 4);
  return system_table("MCFG", 1, body);
}

Table hpet() {
  auto body = Table(20);
  constexpr u32 block_id{0x8086a201};  // vendor, legacy replacement, 64-bit counter, three comparators
  for (auto i = u32{0}; i < 4; ++i) body[i] = static_cast<u8>(block_id >> (8 * i));
  set_address(body, 4, memory_space, 0, plan::hpet.start.value);
  body[7] = 0;
  body[17] = 0x80;  // minimum tick, low byte
  return system_table("HPET", 1, body);
}

Table rsdp(u64 xsdt) {
  auto table = Table{};
  put_text(table, "RSD PTR ", 8);
  put(table, 0, 1);
  put_text(table, "VIREO", 6);
  put(table, 2, 1);
  put(table, 0, 4);
  put(table, 36, 4);
  put(table, xsdt, 8);
  put(table, 0, 4);
  fix_checksum(table, 8, 20);
  fix_checksum(table, 32, 36);
  return table;
}

}  // namespace

AcpiTables build_acpi(AcpiConfig const& config, Gpa at) {
  auto all = AcpiTables{};
  auto const place = [&](Table const& table) {
    auto const offset = static_cast<u32>(align_up(all.tables.size(), 64));
    all.tables.resize(offset);
    all.tables.insert(all.tables.end(), table.begin(), table.end());
    return offset;
  };
  auto const place_with_pointers = [&](Table const& table, std::vector<AcpiTables::Pointer> const& pointers) {
    auto const offset = place(table);
    for (auto const& each : pointers) all.pointers.push_back({offset + each.at, each.bytes});
    all.checksums.push_back({offset, static_cast<u32>(table.size()), offset + checksum_offset});
    return offset;
  };
  auto const facs_at = at + place(facs());
  auto const dsdt_at = at + place(system_table("DSDT", 2, dsdt_body(config)));
  auto entries = Table{};
  auto const list = [&](u32 offset) { put(entries, (at + offset).value, 8); };
  list(place_with_pointers(fadt(config, facs_at.value, dsdt_at.value), {{36, 4}, {40, 4}, {140, 8}}));
  for (auto const& table : {madt(config.vcpus), mcfg(), hpet()}) list(place(table));
  auto pointers = std::vector<AcpiTables::Pointer>{};
  for (auto i = u32{0}; i < entries.size(); i += 8) pointers.push_back({header_bytes + i, 8});
  all.root = rsdp((at + place_with_pointers(system_table("XSDT", 1, entries), pointers)).value);
  return all;
}

Result<Gpa> store_acpi(memory::GuestMemory& memory, AcpiConfig const& config) {
  auto const tables_at = plan::acpi_tables.start + 64;  // the root pointer lies first
  auto const all = build_acpi(config, tables_at);
  if (!plan::acpi_tables.contains(tables_at, all.tables.size()))
    return fail(Errc::no_space, "the ACPI tables do not fit");
  TRY(memory.write(plan::acpi_tables.start, std::as_bytes(std::span{all.root})));
  TRY(memory.write(tables_at, std::as_bytes(std::span{all.tables})));
  return plan::acpi_tables.start;
}

}  // namespace vireo::firmware
