// Code that writes code and runs it.
#include <sys/mman.h>

#include <array>
#include <cstring>

#include "harness.h"

namespace bench {
namespace {

using Function = uint32_t (*)(uint32_t);
uint8_t* code;

void map_code() {
  code = static_cast<uint8_t*>(
      mmap(nullptr, 16 * 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

// lea constant(%rdi,%rdi,4), %eax; xor constant, %eax; ret
void emit(uint8_t* at, uint32_t constant) {
  std::array<uint8_t, 13> bytes{0x8d, 0x84, 0xbf, 0, 0, 0, 0, 0x35, 0, 0, 0, 0, 0xc3};
  memcpy(bytes.data() + 3, &constant, 4);
  memcpy(bytes.data() + 8, &constant, 4);
  memcpy(at, bytes.data(), bytes.size());
}

uint32_t call(uint8_t const* at, uint32_t value) {
  Function function{};
  memcpy(&function, &at, sizeof function);
  barrier();
  return function(value);
}

// Every function is written, then run four times.
constexpr uint32_t functions{64};
uint64_t write_and_run() {
  uint32_t value{1};
  for (uint32_t i{0}; i < functions; ++i) {
    uint8_t* const at{code + i * 64};
    emit(at, value);
    for (int times{0}; times < 4; ++times) value = call(at, value);
  }
  return value;
}

// One constant of a function that runs is changed each time.
constexpr uint32_t patches{50};
uint64_t patch_and_run() {
  uint32_t value{1};
  emit(code, 7);
  for (uint32_t i{0}; i < patches; ++i) {
    memcpy(code + 3, &i, 4);
    value = call(code, value);
  }
  return value;
}

// Data beside code on one page is written while the code runs.
constexpr uint32_t neighbours{200};
uint64_t write_beside() {
  uint32_t value{1};
  emit(code, 9);
  uint32_t volatile* const data{reinterpret_cast<uint32_t*>(code + 2048)};
  for (uint32_t i{0}; i < neighbours; ++i) {
    *data = value;
    value = call(code, *data);
  }
  return value;
}

constexpr std::array workloads{
    Workload{"extra.jit_write_and_run", functions, write_and_run, map_code},
    Workload{"extra.jit_patch_and_run", patches, patch_and_run, map_code},
    Workload{"extra.jit_write_beside_code", neighbours, write_beside, map_code},
};

}  // namespace

std::span<Workload const> jit_workloads() { return workloads; }

}  // namespace bench
