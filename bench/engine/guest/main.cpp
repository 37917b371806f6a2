// Runs the measures and prints one line for each:  @B NAME NANOSECONDS ns ITERATIONS CHECKSUM ;
//   bench_guest [--quick] [--list] [NAME-PREFIX]...
// As a guest's /init it takes the same from the kernel command line (bench.only=PREFIX,PREFIX  bench.quick=1
// bench.boot=1) and powers off at the end.
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "harness.h"
#include "machine.h"

namespace bench {
namespace {

struct Effort {
  uint64_t chunk_ns{2'500'000};
  uint64_t total_ns{200'000'000};
};

constexpr uint64_t fewest_chunks{4};

std::string exit_program_path;

// Nanoseconds of `iterations` calls; ends the process when a checksum differs from the first one.
uint64_t time_chunk(Workload const& workload, uint64_t iterations, uint64_t expected) {
  uint64_t const start{monotonic_nanoseconds()};
  for (uint64_t i{0}; i < iterations; ++i) {
    uint64_t const sum{workload.once()};
    if (sum != expected) {
      printf("@F %s gave checksum %016lx after %016lx ;\n", workload.name, sum, expected);
      fflush(stdout);
      _exit(1);
    }
  }
  return monotonic_nanoseconds() - start;
}

void measure(Workload const& workload, Effort effort) {
  if (workload.runnable != nullptr && !workload.runnable()) {
    printf("@S %s ;\n", workload.name);
    return;
  }
  if (workload.prepare != nullptr) workload.prepare();
  uint64_t const expected{workload.once()};
  uint64_t iterations{1};
  uint64_t elapsed{time_chunk(workload, iterations, expected)};
  uint64_t const begun{monotonic_nanoseconds()};
  while (elapsed < effort.chunk_ns) {
    uint64_t const wanted{iterations * effort.chunk_ns / std::max<uint64_t>(elapsed, 1) + 1};
    iterations = std::clamp(wanted, iterations + 1, iterations * 8);
    elapsed = time_chunk(workload, iterations, expected);
  }
  uint64_t best{elapsed};
  uint64_t chunks{1};
  while (chunks < fewest_chunks || monotonic_nanoseconds() - begun < effort.total_ns) {
    best = std::min(best, time_chunk(workload, iterations, expected));
    ++chunks;
  }
  double const value{static_cast<double>(best) / static_cast<double>(iterations * workload.operations)};
  printf("@B %s %.4f ns %lu %016lx ;\n", workload.name, value, iterations * chunks, expected);
}

// Each measure has a process of its own: the same memory around it whatever ran before.
bool measure_apart(Workload const& workload, Effort effort) {
  fflush(stdout);
  pid_t const child{fork()};
  if (child == 0) {
    measure(workload, effort);
    fflush(stdout);
    _exit(0);
  }
  int status{0};
  if (child < 0 || waitpid(child, &status, 0) != child) return false;
  if (WIFSIGNALED(status)) printf("@F %s ended by signal %d ;\n", workload.name, WTERMSIG(status));
  return status == 0;
}

std::vector<Workload> all_workloads() {
  std::vector<Workload> all;
  for (auto const group :
       {sort_workloads(), digest_workloads(), table_workloads(), control_workloads(), text_workloads(),
        arithmetic_workloads(), object_workloads(), float_workloads(), memory_workloads(), kernel_workloads(),
        process_workloads(), jit_workloads(), database_workloads()})
    all.insert(all.end(), group.begin(), group.end());
  return all;
}

bool chosen(Workload const& workload, std::vector<std::string> const& prefixes) {
  return prefixes.empty() || std::any_of(prefixes.begin(), prefixes.end(), [&](auto const& prefix) {
           return strncmp(workload.name, prefix.c_str(), prefix.size()) == 0;
         });
}

// Two processes that talk share one processor, on the host as in a guest with one.
void stay_on_one_processor() {
  cpu_set_t set;
  int const processor{sched_getcpu()};
  if (processor < 0) return;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(processor), &set);
  sched_setaffinity(0, sizeof set, &set);
}

void mark(char const* what) {
  printf("@T %s %lu ;\n", what, monotonic_nanoseconds());
  fflush(stdout);
}

int run(std::vector<std::string> const& prefixes, Effort effort) {
  stay_on_one_processor();
  mark("begin");
  bool good{true};
  for (auto const& workload : all_workloads())
    if (chosen(workload, prefixes)) good = measure_apart(workload, effort) && good;
  mark("end");
  return good ? 0 : 1;
}

std::vector<std::string> split(char const* text) {
  std::vector<std::string> parts;
  std::string rest{text == nullptr ? "" : text};
  for (size_t comma{0}; !rest.empty(); rest.erase(0, comma == std::string::npos ? comma : comma + 1)) {
    comma = rest.find(',');
    parts.push_back(rest.substr(0, comma));
  }
  return parts;
}

constexpr Effort quick_effort{1'500'000, 50'000'000};

void find_exit_program() {
  std::array<char, PATH_MAX> self{};
  ssize_t const size{readlink("/proc/self/exe", self.data(), self.size() - 1)};
  std::string const path{size > 0 ? self.data() : "/init"};
  exit_program_path = path.substr(0, path.rfind('/') + 1) + "bench_exit";
}

[[noreturn]] void run_as_init() {
  prepare_as_init();
  if (kernel_option("bench.boot") != nullptr) {
    mark("init");
    power_off();
  }
  find_exit_program();
  auto const prefixes = split(kernel_option("bench.only"));
  Effort const effort{kernel_option("bench.quick") != nullptr ? quick_effort : Effort{}};
  printf("@X %d ;\n", run(prefixes, effort));
  power_off();
}

}  // namespace

char const* exit_program() { return exit_program_path.c_str(); }

}  // namespace bench

int main(int count, char** arguments) {
  if (getpid() == 1) bench::run_as_init();
  bench::Effort effort{};
  std::vector<std::string> prefixes;
  for (int i{1}; i < count; ++i) {
    std::string const argument{arguments[i]};
    if (argument == "--list") {
      for (auto const& workload : bench::all_workloads()) puts(workload.name);
      return 0;
    }
    if (argument == "--quick")
      effort = bench::quick_effort;
    else
      prefixes.push_back(argument);
  }
  bench::find_exit_program();
  return bench::run(prefixes, effort);
}
