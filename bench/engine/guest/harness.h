// What a workload is, and the shared helpers of the workloads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace bench {

struct Workload {
  char const* name;      // group.measure
  uint64_t operations;   // what one call of `once` does; values are nanoseconds per operation
  uint64_t (*once)();    // returns a checksum that is the same at every call on every machine
  void (*prepare)(){};   // untimed, before the first call
  bool (*runnable)(){};  // null: always
};

std::span<Workload const> sort_workloads();
std::span<Workload const> digest_workloads();
std::span<Workload const> table_workloads();
std::span<Workload const> control_workloads();
std::span<Workload const> text_workloads();
std::span<Workload const> arithmetic_workloads();
std::span<Workload const> object_workloads();
std::span<Workload const> float_workloads();
std::span<Workload const> memory_workloads();
std::span<Workload const> kernel_workloads();
std::span<Workload const> process_workloads();
std::span<Workload const> jit_workloads();
std::span<Workload const> database_workloads();

uint64_t monotonic_nanoseconds();

// The small program that the exec measures start; it lies beside this one.
char const* exit_program();

// The next number of a fixed sequence.
inline uint64_t next_random(uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

inline uint64_t mix(uint64_t sum, uint64_t value) { return (sum ^ value) * 0x9e3779b97f4a7c15U + (sum >> 29); }

// The compiler must assume that memory, and `value`, changed here.
inline void barrier() { asm volatile("" ::: "memory"); }
template <typename T>
inline void opaque(T& value) {
  asm volatile("" : "+r"(value)::"memory");
}

// English-like text, the same at every call.
void fill_text(std::span<char> text, uint64_t seed);
void fill_random(std::span<uint8_t> bytes, uint64_t seed);

}  // namespace bench
