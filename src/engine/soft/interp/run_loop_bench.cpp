#include <benchmark/benchmark.h>

#include "engine/soft/interp/run_loop.h"
#include "engine/soft/test_machine.h"

// Guest instructions per second on one core: the counter `instructions`.
namespace vireo::engine::soft {
namespace {

constexpr u64 code_at{0x200000};
constexpr u64 data_at{0x300000};

void run_guest(benchmark::State& state, std::vector<u8> const& code) {
  auto const model = x86::CpuidModel::create("x86-64-v3", 1).value();
  auto machine = TestMachine{};
  auto cpu = Cpu{VcpuId{0}, machine, model};
  auto interpreter = Interpreter{};
  enter_flat64(cpu, machine);
  machine.store_code(code_at, code);
  cpu.state.rip = code_at;
  cpu.state.gpr[x86::rsp] = 0x400000;
  cpu.state.gpr[x86::rbx] = data_at;
  auto const before = cpu.instructions;
  for (auto _ : state) interpreter.run(cpu, 100'000);
  state.counters["instructions"] =
      benchmark::Counter(static_cast<double>(cpu.instructions - before), benchmark::Counter::kIsRate);
}

/// Arithmetic on registers, blocks of six.
void Registers(benchmark::State& state) {
  run_guest(state, {0x48, 0x01, 0xd8,              // add rax, rbx
                    0x48, 0x31, 0xc2,              // xor rdx, rax
                    0x48, 0x8d, 0x4c, 0x11, 0x08,  // lea rcx, [rcx+rdx+8]
                    0x48, 0xc1, 0xe0, 0x03,        // shl rax, 3
                    0x39, 0xc8,                    // cmp eax, ecx
                    0xeb, 0xed});                  // jmp back
}
BENCHMARK(Registers);

/// What a compiler makes: loads, stores, compare and branch, call and return; about 40 % of it touches memory.
void Mixed(benchmark::State& state) {
  run_guest(state, {0x48, 0x8b, 0x43, 0x10,        // loop: mov rax, [rbx+16]
                    0x48, 0x83, 0xc0, 0x01,        // add rax, 1
                    0x48, 0x89, 0x43, 0x10,        // mov [rbx+16], rax
                    0x0f, 0xb6, 0xc8,              // movzx ecx, al
                    0x8b, 0x54, 0x8b, 0x40,        // mov edx, [rbx+rcx*4+64]
                    0x85, 0xd2,                    // test edx, edx
                    0x75, 0xe9,                    // jnz loop
                    0xe8, 0x02, 0x00, 0x00, 0x00,  // call f
                    0xeb, 0xe2,                    // jmp loop
                    0x55,                          // f: push rbp
                    0x48, 0x89, 0xe5,              // mov rbp, rsp
                    0x48, 0x89, 0x7d, 0xf8,        // mov [rbp-8], rdi
                    0x48, 0x39, 0xc6,              // cmp rsi, rax
                    0x0f, 0x44, 0xf0,              // cmove esi, eax
                    0x8b, 0x45, 0xf8,              // mov eax, [rbp-8]
                    0x5d,                          // pop rbp
                    0xc3});                        // ret
}
BENCHMARK(Mixed);

/// The shortest loop: the price of a block.
void ShortBlocks(benchmark::State& state) {
  run_guest(state, {0xff, 0xc8,    // dec eax
                    0x75, 0xfc,    // jnz -4
                    0xeb, 0xfa});  // jmp -6
}
BENCHMARK(ShortBlocks);

/// memcpy of 4 KiB by REP MOVSQ, counted as one instruction each.
void RepMovs(benchmark::State& state) {
  run_guest(state, {0xbe, 0x00, 0x00, 0x30, 0x00,  // mov esi, data
                    0xbf, 0x00, 0x00, 0x31, 0x00,  // mov edi, data + 64 KiB
                    0xb9, 0x00, 0x02, 0x00, 0x00,  // mov ecx, 512
                    0xf3, 0x48, 0xa5,              // rep movsq
                    0xeb, 0xec});                  // jmp back
}
BENCHMARK(RepMovs);

}  // namespace
}  // namespace vireo::engine::soft
