// Copying and filling memory, also between addresses that meet in one entry of a small direct-mapped table.
#include <sys/mman.h>

#include <array>
#include <cstring>

#include "harness.h"

namespace bench {
namespace {

constexpr size_t kilobyte{1024}, megabyte{1024 * kilobyte};
char *source, *target;

// Two areas of `size` bytes whose addresses differ by exactly `distance`, the first one aligned to it.
void place_areas(size_t size, size_t distance) {
  size_t const whole{3 * distance + size};
  void* const area{
      mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)};
  uintptr_t const start{(reinterpret_cast<uintptr_t>(area) + distance - 1) / distance * distance};
  madvise(area, whole, MADV_NOHUGEPAGE);
  source = reinterpret_cast<char*>(start);
  target = reinterpret_cast<char*>(start + distance);
  fill_text({source, size}, 71);
  memset(target, 1, size);
}

void prepare_unaligned() {
  place_areas(2 * megabyte, 4 * megabyte);
  target += 65 * 4096;
}
void prepare_2m() { place_areas(megabyte, 2 * megabyte); }
void prepare_16m() { place_areas(megabyte, 16 * megabyte); }

uint64_t probe(char const* area, size_t size) {
  uint64_t sum{0};
  for (size_t i{0}; i < size; i += size / 8) sum = mix(sum, static_cast<uint8_t>(area[i + 7]));
  return sum;
}

template <size_t size>
uint64_t copy() {
  memcpy(target, source, size);
  barrier();
  return probe(target, size);
}

template <size_t size>
uint64_t fill() {
  memset(target, 42, size);
  barrier();
  return probe(target, size);
}

uint64_t move() {
  memmove(target + 4096 + 64, target, megabyte / 2);
  memmove(target, target + 4096 + 64, megabyte / 2);
  memset(target, 9, 8192);
  barrier();
  return probe(target, 8192);
}

uint64_t rep_movsb() {
  void* to{target};
  void const* from{source};
  size_t count{megabyte};
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  return probe(target, megabyte);
}

uint64_t rep_stosq() {
  void* to{target};
  size_t count{megabyte / 8};
  asm volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(0x0101010101010101) : "memory");
  return probe(target, megabyte);
}

constexpr size_t bytes{16 * kilobyte};
template <size_t size>
uint64_t copy_bytes() {
  char const* from{source};
  char* to{target};
  for (size_t i{0}; i < size; ++i) {
    to[i] = from[i];
    asm volatile("" ::: "memory");
  }
  return probe(target, size);
}

// As strcpy does it byte for byte: the end is found while copying.
uint64_t copy_string() {
  source[bytes - 1] = 0;
  char const* from{source};
  char* to{target};
  while ((*to++ = *from++) != 0) asm volatile("" ::: "memory");
  return probe(target, bytes);
}

// Pages of 64 MB read in a shuffled order: beyond what a table of 4096 pages holds.
constexpr size_t far_pages{16384};
void prepare_far() {
  source = static_cast<char*>(
      mmap(nullptr, far_pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  madvise(source, far_pages * 4096, MADV_NOHUGEPAGE);
  for (size_t i{0}; i < far_pages; ++i) source[i * 4096 + (i * 64) % 4096] = static_cast<char>(i);
}

uint64_t far_reads() {
  uint64_t sum{0};
  for (size_t i{0}; i < far_pages; ++i) {
    size_t const page{i * 9973 % far_pages};
    sum += static_cast<uint8_t>(source[page * 4096 + (page * 64) % 4096]);
  }
  return sum;
}

constexpr std::array workloads{
    Workload{"memory.memcpy_1m", 1, copy<megabyte>, prepare_unaligned},
    Workload{"memory.memset_1m", 1, fill<megabyte>, prepare_unaligned},
    Workload{"memory.memcpy_4k", 1, copy<4096>, prepare_unaligned},
    Workload{"memory.memset_4k", 1, fill<4096>, prepare_unaligned},
    Workload{"memory.memcpy_100b", 1, copy<100>, prepare_unaligned},
    Workload{"memory.memcpy_1m_2m_apart", 1, copy<megabyte>, prepare_2m},
    Workload{"memory.memcpy_1m_16m_apart", 1, copy<megabyte>, prepare_16m},
    Workload{"memory.memmove_512k", 2, move, prepare_unaligned},
    Workload{"memory.rep_movsb_1m", 1, rep_movsb, prepare_unaligned},
    Workload{"memory.rep_stosq_1m", 1, rep_stosq, prepare_unaligned},
    Workload{"memory.byte_copy", bytes, copy_bytes<bytes>, prepare_unaligned},
    Workload{"memory.byte_copy_2m_apart", bytes, copy_bytes<bytes>, prepare_2m},
    Workload{"memory.byte_copy_16m_apart", bytes, copy_bytes<bytes>, prepare_16m},
    Workload{"memory.string_copy", bytes, copy_string, prepare_unaligned},
    Workload{"memory.far_reads_64m", far_pages, far_reads, prepare_far},
};

}  // namespace

std::span<Workload const> memory_workloads() { return workloads; }

}  // namespace bench
