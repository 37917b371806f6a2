#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "engine/soft/test_machine.h"
#include "engine/soft/translate/translator.h"

namespace vireo::engine::soft::translate {
namespace {

constexpr u64 code_at{0x200000}, data_at{0x1f0000}, code_bytes{12 << 20};
constexpr u32 cache_bytes{4 << 20};

struct Guest {
  Guest() {
    enter_flat64(cpu, machine);
    cpu.state.gpr[x86::rsp] = data_at;
    cpu.follow_code(&pages, &member);
  }
  ~Guest() { cpu.follow_code(nullptr, nullptr); }
  RunExit run(u64 rip) {
    cpu.state.rip = rip;
    return translator->run(cpu, 10'000'000);
  }

  TestMachine machine;
  x86::CpuidModel model{x86::CpuidModel::create("x86-64-v3", 1).value()};
  Cpu cpu{VcpuId{0}, machine, model};
  std::unique_ptr<Translator> translator{Translator::create(cpu, cache_bytes).value()};
  struct Listener final : PageListener {
    explicit Listener(Guest& guest) : guest_{guest} {}
    void drop_code(std::byte* page) override { guest_.translator->drop_code(page); }
    void drop_write_tags(std::byte* page) override { guest_.cpu.mmu.drop_write_tags(page); }
    void forget_mappings() override {}
    void wanted() override {}
    Guest& guest_;
  };
  Listener listener{*this};
  Rendezvous rendezvous;
  Rendezvous::Member member{rendezvous, listener};
  CodePages pages{machine.memory(), rendezvous};
};

/// A long way of "add [rdi], rax; add rax, 1", and HLT at its end.
u64 store_long_way(TestMachine& machine) {
  auto code = std::vector<u8>{};
  auto count = u64{0};
  for (; code.size() < code_bytes; ++count) {
    for (auto const byte : {0x48, 0x01, 0x07, 0x48, 0x83, 0xc0, 0x01}) code.push_back(static_cast<u8>(byte));
  }
  code.push_back(0xf4);
  EXPECT_TRUE(machine.memory().write(Gpa{code_at}, std::as_bytes(std::span{code})));
  return count;
}

TEST(TranslatedCode, IsDroppedWhenTheCacheIsFullAndTheGuestGoesOn) {
  auto machine = TestMachine{};
  auto const model = x86::CpuidModel::create("x86-64-v3", 1).value();
  auto cpu = Cpu{VcpuId{0}, machine, model};
  enter_flat64(cpu, machine);
  auto const count = store_long_way(machine);
  auto const translator = Translator::create(cpu, cache_bytes).value();
  cpu.state.rip = code_at;
  cpu.state.gpr[x86::rdi] = data_at;

  auto const exit = translator->run(cpu, 10'000'000);

  EXPECT_EQ(exit, RunExit::idle);
  EXPECT_EQ(cpu.state.gpr[x86::rax], count);
  EXPECT_EQ(machine.load<u64>(data_at), count * (count - 1) / 2);
  EXPECT_GE(translator->counters().flushes, 1u);
  EXPECT_GT(translator->counters().longest_drop_ns, 0u);
}

u64 counter(Translator const& translator, std::string_view name) {
  auto all = std::vector<Counter>{};
  translator.append_counters(all);
  return std::ranges::find(all, name, &Counter::name)->value;
}

TEST(TranslatedCode, TakesNoMoreMemoryWhenTheGuestMakesCodeForEver) {
  auto guest = Guest{};
  // 0x200000: mov [0x210001], ecx; call 0x210000; add rbx, rax; dec ecx; jnz 0x200000; hlt
  guest.machine.store_code(code_at, {0x89, 0x0c, 0x25, 0x01, 0x00, 0x21, 0x00, 0xe8, 0xf4, 0xff,
                                     0x00, 0x00, 0x48, 0x01, 0xc3, 0xff, 0xc9, 0x75, 0xed, 0xf4});
  guest.machine.store_code(code_at + 0x10000, {0xb8, 0, 0, 0, 0, 0xc3});  // mov eax, ...; ret
  guest.cpu.state.gpr[x86::rcx] = 40'000;

  auto const exit = guest.run(code_at);

  EXPECT_EQ(exit, RunExit::idle);
  EXPECT_EQ(guest.cpu.state.gpr[x86::rbx], 40'000ull * 40'001 / 2);
  EXPECT_GE(guest.translator->counters().invalidations, 39'000u);
  EXPECT_GE(guest.translator->counters().flushes, 1u);
  EXPECT_LE(counter(*guest.translator, "translator.code_cache.with_notes"), 2u << 20);
}

TEST(TranslatedCode, IsNowhereWritableAndExecutable) {
  auto machine = TestMachine{};
  auto const model = x86::CpuidModel::create("x86-64-v3", 1).value();
  auto cpu = Cpu{VcpuId{0}, machine, model};
  auto const translator = Translator::create(cpu, cache_bytes).value();

  auto file = std::ifstream{"/proc/self/maps"};
  auto const maps = std::string{std::istreambuf_iterator<char>{file}, {}};

  EXPECT_NE(maps.find(" r-xs "), std::string::npos);
  EXPECT_EQ(maps.find(" rwx"), std::string::npos);
}

}  // namespace
}  // namespace vireo::engine::soft::translate
