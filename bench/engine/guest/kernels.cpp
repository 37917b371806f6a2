// System calls, faults and signals of one process.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>

#include "harness.h"

namespace bench {
namespace {

constexpr size_t page{4096};

constexpr size_t calls{200};
uint64_t null_call() {
  long sum{0};
  for (size_t i{0}; i < calls; ++i) sum |= syscall(SYS_getppid) >= 0 ? 1 : 2;
  return static_cast<uint64_t>(sum);
}

int file{-1};
std::array<char, 1 << 20> buffer;

void open_null() { file = open("/dev/null", O_WRONLY | O_CLOEXEC); }
void open_zero() { file = open("/dev/zero", O_RDONLY | O_CLOEXEC); }
void open_scratch() {
  char path[]{"/dev/shm/bench-XXXXXX"};
  file = mkostemp(path, O_CLOEXEC);
  if (file >= 0) {
    unlink(path);
  } else {
    char other[]{"/tmp/bench-XXXXXX"};
    file = mkostemp(other, O_CLOEXEC);
    unlink(other);
  }
  fill_text(buffer, 81);
  if (write(file, buffer.data(), buffer.size()) != static_cast<ssize_t>(buffer.size())) _exit(1);
}

uint64_t write_null() {
  uint64_t sum{0};
  for (size_t i{0}; i < calls; ++i) sum += static_cast<uint64_t>(write(file, "x", 1));
  return sum;
}

uint64_t read_zero() {
  buffer[4711] = 1;
  return static_cast<uint64_t>(read(file, buffer.data(), buffer.size())) + static_cast<uint64_t>(buffer[4711]);
}

uint64_t pread_page() {
  uint64_t sum{0};
  for (size_t i{0}; i < 64; ++i) {
    sum += static_cast<uint64_t>(pread(file, buffer.data(), page, static_cast<off_t>(i * 3 % 256 * page)));
    sum = mix(sum, static_cast<uint8_t>(buffer[i]));
  }
  return sum;
}

sig_atomic_t volatile handled;
void handle(int) { handled = handled + 1; }

void install_handler() {
  struct sigaction action{};
  action.sa_handler = handle;
  sigaction(SIGUSR1, &action, nullptr);
}

uint64_t signal_self() {
  handled = 0;
  for (int i{0}; i < 20; ++i) kill(getpid(), SIGUSR1);
  return static_cast<uint64_t>(handled);
}

constexpr size_t mapped_pages{256};
uint64_t map_touch_unmap() {
  auto* const area = static_cast<char*>(
      mmap(nullptr, mapped_pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  madvise(area, mapped_pages * page, MADV_NOHUGEPAGE);
  uint64_t sum{0};
  for (size_t i{0}; i < mapped_pages; ++i) {
    area[i * page] = 3;
    sum += static_cast<uint64_t>(area[i * page + 1] + area[i * page]);
  }
  munmap(area, mapped_pages * page);
  return sum;
}

constexpr size_t touched_pages{4096};
char* touched;

void map_touched() {
  touched = static_cast<char*>(
      mmap(nullptr, touched_pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  madvise(touched, touched_pages * page, MADV_NOHUGEPAGE);
  for (size_t i{0}; i < touched_pages; ++i) touched[i * page] = static_cast<char>(i);
}

uint64_t touch_again() {
  uint64_t sum{0};
  for (size_t i{0}; i < touched_pages; ++i) sum += static_cast<uint8_t>(touched[i * page]);
  return sum;
}

// A handler opens the page that was written to, as garbage collectors and checkpointers do.
char* guarded;
void open_page(int, siginfo_t*, void*) { mprotect(guarded, page, PROT_READ | PROT_WRITE); }

void map_guarded() {
  guarded = static_cast<char*>(mmap(nullptr, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  struct sigaction action{};
  action.sa_sigaction = open_page;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
}

uint64_t protection_fault() {
  for (int i{0}; i < 10; ++i) {
    mprotect(guarded, page, PROT_READ);
    *static_cast<char volatile*>(guarded) = 5;
  }
  return static_cast<uint64_t>(*guarded);
}

constexpr size_t faulted_pages{256};
// Faults on pages that a file already holds in memory.
uint64_t map_file_pages() {
  auto const* const area =
      static_cast<char const*>(mmap(nullptr, faulted_pages * page, PROT_READ, MAP_SHARED, file, 0));
  uint64_t sum{0};
  for (size_t i{0}; i < faulted_pages; ++i) sum = mix(sum, static_cast<uint8_t>(area[i * page]));
  munmap(const_cast<char*>(area), faulted_pages * page);
  return sum;
}

constexpr std::array workloads{
    Workload{"kernel.null_call", calls, null_call},
    Workload{"kernel.write_null", calls, write_null, open_null},
    Workload{"kernel.read_zero_1m", 1, read_zero, open_zero},
    Workload{"kernel.pread_4k", 64, pread_page, open_scratch},
    Workload{"kernel.signal_self", 20, signal_self, install_handler},
    Workload{"kernel.mmap_touch_munmap", mapped_pages, map_touch_unmap},
    Workload{"kernel.mmap_file", faulted_pages, map_file_pages, open_scratch},
    Workload{"kernel.retouch_4096", touched_pages, touch_again, map_touched},
    Workload{"kernel.protection_fault", 10, protection_fault, map_guarded},
};

}  // namespace

std::span<Workload const> kernel_workloads() { return workloads; }

}  // namespace bench
