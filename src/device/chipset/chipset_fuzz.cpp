#include <cstdlib>

#include "bus/manual_executor.h"
#include "device/chipset/chipset.h"
#include "device/chipset/line_probe.h"

// A guest that does anything to the chipset, in steps of eleven bytes: what, where, value. What it reaches must
// be a state that can be saved and restored.

namespace vireo::device {
namespace {

struct Board {
  bus::ManualExecutor executor;
  bus::AddressMap map;
  MsiProbe msi;
  ControlProbe control;
  LineProbe intr;
  Chipset chipset{
      {.low_memory = GiB, .high_memory = 0, .wall_clock_ns = [] { return u64{1'800'000'000'000'000'000}; }},
      {executor, map, msi, control, intr}};
};

constexpr auto places = std::array<u64, 5>{
    bus::address_plan::ioapic.start.value, bus::address_plan::hpet.start.value,
    bus::address_plan::ecam.start.value, bus::address_plan::ecam.start.value + (u64{31} << 15),
    bus::address_plan::pci_window32.start.value};

void step(Board& board, std::span<u8 const, 11> input) {
  auto const place = load_le<u16>(input.data() + 1);
  auto const value = load_le<u64>(input.data() + 3);
  auto const width = static_cast<u8>(1U << (input[0] >> 6 & 3));
  auto const port_width = static_cast<u8>(width == 8 ? 4 : width);
  auto const address = Gpa{places.at(place >> 12 & 3) + (place & 0xFFF)};
  switch (input[0] & 7) {
    case 0: board.map.write_port(place, port_width, static_cast<u32>(value)); break;
    case 1: board.map.read_port(place, port_width); break;
    case 2: board.map.write_mmio(address, width, value); break;
    case 3: board.map.read_mmio(address, width); break;
    case 4: board.executor.advance(value % 10'000'000); break;
    case 5: board.chipset.ioapic().end_of_interrupt(static_cast<u8>(value)); break;
    case 6: board.chipset.pic().acknowledge(); break;
    default: board.chipset.com1().receive(std::as_bytes(std::span{input})); break;
  }
}

}  // namespace
}  // namespace vireo::device

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace vireo::device;
  auto board = Board{};
  for (auto const& [name, device] : board.chipset.devices()) device->start();
  for (auto at = std::size_t{0}; at + 11 <= size; at += 11) {
    step(board, std::span<std::uint8_t const, 11>{data + at, 11});
  }
  for (auto const& [name, device] : board.chipset.devices()) device->stop();
  for (auto const& [name, device] : board.chipset.devices()) {
    auto const saved = device->save();
    if (!device->restore(saved)) std::abort();
  }
  return 0;
}
