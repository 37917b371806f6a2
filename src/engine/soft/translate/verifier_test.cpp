#include "engine/soft/translate/verifier.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/soft/test_machine.h"
#include "engine/soft/translate/translator.h"

namespace vireo::engine::soft::translate {
namespace {

constexpr u64 code_at{0x200000}, data_at{0x300000};
constexpr u32 cache_bytes{4 << 20};

x86::CpuidModel const& model() {
  static auto const instance = x86::CpuidModel::create("x86-64-v3", 1).value();
  return instance;
}

// Adds 1 to 100 up in RAX, storing each sum, and ends.
std::vector<u8> const sums{0xbf, 0x00, 0x00, 0x30, 0x00,  // mov edi, data_at
                           0x31, 0xc0,                    // xor eax, eax
                           0xb9, 0x64, 0x00, 0x00, 0x00,  // mov ecx, 100
                           0x01, 0xc8,                    // add eax, ecx
                           0x89, 0x07,                    // mov [rdi], eax
                           0x48, 0x83, 0xc7, 0x04,        // add rdi, 4
                           0xff, 0xc9,                    // dec ecx
                           0x75, 0xf4,                    // jnz -12
                           0xf4};                         // hlt

struct VerifiedGuest {
  TestMachine machine{};
  Cpu cpu{VcpuId{0}, machine, model()};
  std::unique_ptr<Translator> translator;

  explicit VerifiedGuest(std::vector<u8> const& code) {
    enter_flat64(cpu, machine);
    machine.store_code(code_at, code);
    cpu.state.rip = code_at;
    cpu.state.gpr[x86::rsp] = 0x400000;
    translator = std::move(Translator::create(cpu, cache_bytes).value());
    translator->verify();
  }
  RunExit run() { return translator->run(cpu, 1'000'000); }
  /// Replaces these bytes where they first stand in each new block.
  void spoil(std::vector<u8> const& from, std::vector<u8> const& to) {
    translator->on_new_block([from, to](Block const&, std::span<u8> code) {
      auto const found = std::ranges::search(code, from);
      std::copy(to.begin(), to.begin() + std::ssize(found), found.begin());
    });
  }
};

TEST(Verifier, AgreesWithRightTranslations) {
  auto guest = VerifiedGuest{sums};

  EXPECT_EQ(guest.run(), RunExit::idle);

  EXPECT_EQ(guest.cpu.state.gpr[x86::rax], 5050u);
  EXPECT_EQ(guest.machine.load<u32>(data_at + 99 * 4), 5050u);
  EXPECT_EQ(guest.cpu.instructions, 3u + 5 * 100 + 1) << "what runs twice counts once";
}

TEST(Verifier, ReportsAWrongRegister) {
  auto guest = VerifiedGuest{sums};
  guest.spoil({0x01, 0xc8}, {0x29, 0xc8});  // sub eax, ecx

  EXPECT_EQ(guest.run(), RunExit::failed);

  auto const& report = guest.translator->difference();
  EXPECT_NE(report.find("add eax, ecx"), std::string::npos) << report;
  EXPECT_NE(report.find("29 c8"), std::string::npos) << report;
  EXPECT_NE(report.find("rax"), std::string::npos) << report;
  EXPECT_NE(report.find("*"), std::string::npos) << report;
}

TEST(Verifier, ReportsAWrongByteInMemory) {
  auto guest = VerifiedGuest{{0xbf, 0x00, 0x00, 0x30, 0x00,  // mov edi, data_at
                              0xb0, 0x5a,                    // mov al, 0x5a
                              0x88, 0x07,                    // mov [rdi], al
                              0x88, 0x47, 0x01,              // mov [rdi + 1], al
                              0xf4}};
  guest.spoil({0xb0, 0x5a}, {0xb0, 0x5b});
  guest.machine.store<u16>(data_at, 0x1111);

  EXPECT_EQ(guest.run(), RunExit::failed);

  EXPECT_NE(guest.translator->difference().find("translated 0x5b, interpreted 0x5a"), std::string::npos)
      << guest.translator->difference();
}

TEST(Verifier, ReportsAWrongVectorRegister) {
  auto guest = VerifiedGuest{{0x66, 0x0f, 0x76, 0xc0,  // pcmpeqd xmm0, xmm0
                              0x66, 0x0f, 0xfe, 0xc8,  // paddd xmm1, xmm0
                              0xf4}};
  guest.spoil({0x0f, 0xfe, 0xc8}, {0x0f, 0xfa, 0xc8});  // psubd

  EXPECT_EQ(guest.run(), RunExit::failed);

  EXPECT_NE(guest.translator->difference().find("xmm1"), std::string::npos) << guest.translator->difference();
}

TEST(Verifier, LeavesTimeAndDevicesToOneRun) {
  auto guest = VerifiedGuest{{0x0f, 0x31,                       // rdtsc
                              0xe6, 0x70,                       // out 0x70, al
                              0xa2, 0, 0, 0, 0xe0, 0, 0, 0, 0,  // mov [0xe0000000], al
                              0xf4}};

  EXPECT_EQ(guest.run(), RunExit::idle);

  EXPECT_EQ(guest.machine.port_writes.size(), 1u);
  EXPECT_EQ(guest.machine.mmio_writes.size(), 1u);
}

TEST(Verifier, DoesNotRepeatWhatReadsItsOwnStores) {
  auto guest = VerifiedGuest{{0xbf, 0x00, 0x00, 0x30, 0x00,     // mov edi, data_at
                              0xc7, 0x07, 1,    0,    0,    0,  // mov dword [rdi], 1
                              0x83, 0x07, 0x01,                 // add dword [rdi], 1
                              0xf0, 0xff, 0x07,                 // lock inc dword [rdi]
                              0x57, 0x5e,                       // push rdi; pop rsi
                              0x8b, 0x06,                       // mov eax, [rsi]
                              0xf4}};

  EXPECT_EQ(guest.run(), RunExit::idle);

  EXPECT_EQ(guest.cpu.state.gpr[x86::rax], 3u);
}

}  // namespace
}  // namespace vireo::engine::soft::translate
