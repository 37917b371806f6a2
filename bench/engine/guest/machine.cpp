#include "machine.h"

#include <fcntl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

namespace bench {

void prepare_as_init() {
  for (auto const* folder : {"/proc", "/dev", "/tmp"}) mkdir(folder, 0755);
  mount("proc", "/proc", "proc", 0, nullptr);
  mount("dev", "/dev", "devtmpfs", 0, nullptr);
  mount("tmp", "/tmp", "tmpfs", 0, nullptr);
  static constexpr int console_level_action{8};
  klogctl(console_level_action, nullptr, 1);
}

char const* kernel_option(char const* name) {
  static std::array<char, 4096> line{};
  int const file{open("/proc/cmdline", O_RDONLY | O_CLOEXEC)};
  if (file < 0) return nullptr;
  ssize_t const size{read(file, line.data(), line.size() - 1)};
  close(file);
  if (size <= 0) return nullptr;
  line[static_cast<size_t>(size)] = 0;
  size_t const length{strlen(name)};
  for (char* word{strtok(line.data(), " \n")}; word != nullptr; word = strtok(nullptr, " \n"))
    if (strncmp(word, name, length) == 0 && word[length] == '=') return word + length + 1;
  return nullptr;
}

void power_off() {
  fflush(stdout);
  tcdrain(STDOUT_FILENO);
  reboot(RB_POWER_OFF);
  for (;;) pause();
}

}  // namespace bench
