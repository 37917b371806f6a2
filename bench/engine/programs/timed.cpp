// Runs a command with its standard output in a file and prints how long it took, in the form of bench_guest:
//   timed NAME OUTPUT COMMAND [ARGUMENT]...      timed --now
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace {

uint64_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(time.tv_nsec);
}

uint64_t digest_of(char const* path) {
  uint64_t sum{0xcbf29ce484222325};
  auto* const file = std::fopen(path, "r");
  if (file == nullptr) return 0;
  for (int byte{}; (byte = std::fgetc(file)) != EOF;)
    sum = (sum ^ static_cast<uint64_t>(byte)) * 0x100000001b3U;
  std::fclose(file);
  return sum;
}

[[noreturn]] void become(char const* output, char** command) {
  int const file{open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600)};
  if (file < 0 || dup2(file, STDOUT_FILENO) < 0) _exit(126);
  execvp(command[0], command);
  _exit(127);
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 2 && std::strcmp(arguments[1], "--now") == 0) return std::printf("%lu", now()) < 0;
  if (count < 4) return 2;
  auto const start = now();
  auto const child = fork();
  if (child == 0) become(arguments[2], arguments + 3);
  int status{};
  if (child < 0 || waitpid(child, &status, 0) != child) return 1;
  auto const elapsed = now() - start;
  if (status != 0) {
    std::printf("@F %s ended with status %x ;\n", arguments[1], static_cast<unsigned>(status));
    return 1;
  }
  std::printf("@B %s %lu ns 1 %016lx ;\n", arguments[1], elapsed, digest_of(arguments[2]));
}
