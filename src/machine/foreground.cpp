#include "machine/foreground.h"

#include <fmt/format.h>
#include <sys/signalfd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>

#include "host/descriptor.h"
#include "machine/console_link.h"
#include "machine/machine.h"
#include "observe/log.h"

namespace vireo::machine {
namespace {

int report(Error const& error, int status) {
  fmt::print(stderr, "vireo: {}\n", error.what());
  return status;
}

/// Ending signals as a descriptor. Blocked before any thread starts, so that all threads inherit it.
host::Descriptor block_ending_signals() {
  auto set = sigset_t{};
  sigemptyset(&set);
  for (auto const number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&set, number);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return host::Descriptor{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
}

void answer(Machine& machine, ConsoleRequest request) {
  switch (request) {
    case ConsoleRequest::quit: return machine.quit();
    case ConsoleRequest::reset: return machine.reset();
    case ConsoleRequest::power_down: return machine.press_power_button();
    case ConsoleRequest::help: return;
  }
}

}  // namespace

int run_foreground(MachineConfig const& config) {
  auto const signals = block_ending_signals();
  auto machine = Machine::create(config);
  if (!machine) return report(machine.error(), exit_bad_configuration);
  auto& running = **machine;
  auto link = ConsoleLink::create(config.console, running.executor(),
                                  [&](ConsoleRequest request) { answer(running, request); });
  if (!link) return report(link.error(), exit_bad_configuration);
  auto second_link = std::unique_ptr<ConsoleLink>{};
  if (running.virtio_console() != nullptr) {
    auto made = ConsoleLink::create(config.virtio_console, running.executor(),
                                    [&](ConsoleRequest request) { answer(running, request); });
    if (!made) return report(made.error(), exit_bad_configuration);
    second_link = std::move(*made);
  }
  auto caught = std::atomic<int>{0};
  auto watch = running.with_executor([&] {
    (*link)->attach(&running.console());
    if (second_link) second_link->attach(running.virtio_console());
    return running.executor().watch(signals.get(), bus::Executor::readable, [&](u8) {
      auto info = signalfd_siginfo{};
      if (::read(signals.get(), &info, sizeof info) != sizeof info) return;
      caught = static_cast<int>(info.ssi_signo);
      running.quit();
    });
  });
  auto const ending = running.run();
  running.with_executor([&] {
    watch.reset();
    (*link)->attach(nullptr);
    if (second_link) second_link->attach(nullptr);
  });
  link->reset();
  second_link.reset();
  observe::log(observe::Level::info, "machine", "{} million guest instructions executed",
               running.instructions_executed() / 1'000'000);
  if (!ending) return report(ending.error(), exit_failed);
  if (caught != 0) return 128 + caught;
  return *ending == Ending::reset ? exit_guest_reset : exit_power_off;
}

}  // namespace vireo::machine
