#include "machine/foreground.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <functional>
#include <thread>

#include "host/descriptor.h"
#include "machine/console_link.h"
#include "machine/control/control_server.h"
#include "machine/control/machine_verbs.h"
#include "machine/machine.h"
#include "observe/log.h"

namespace vireo::machine {
namespace {

int report(Error const& error, int status) {
  fmt::print(stderr, "vireo: {}\n", error.what());
  return status;
}

/// The signals that end a machine, waited for on a thread of their own: it needs nothing that device code may
/// hold. Made before any other thread, which all inherit the blocked signals.
class EndingSignals {
 public:
  EndingSignals() {
    auto set = sigset_t{};
    sigemptyset(&set);
    for (auto const number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&set, number);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);  // a disk at the limit of its size is an error like others
    signals_ = host::Descriptor{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    stop_ = host::Descriptor{::eventfd(0, EFD_CLOEXEC)};
  }
  ~EndingSignals() { stop(); }

  void watch(std::function<void()> on_signal) {
    thread_ = std::thread{[this, on_signal = std::move(on_signal)] { wait(on_signal); }};
  }
  void stop() {
    if (!thread_.joinable()) return;
    auto const one = u64{1};
    [[maybe_unused]] auto const written = ::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }
  int caught() const { return caught_; }  // 0: none

 private:
  void wait(std::function<void()> const& on_signal) {
    while (true) {
      auto polled = std::array<pollfd, 2>{{{signals_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
      if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
      if (polled[1].revents != 0) return;
      auto info = signalfd_siginfo{};
      if (::read(signals_.get(), &info, sizeof info) != sizeof info) continue;
      caught_ = static_cast<int>(info.ssi_signo);
      on_signal();
    }
  }

  host::Descriptor signals_, stop_;
  std::atomic<int> caught_{0};
  std::thread thread_;
};

void answer(Machine& machine, ConsoleRequest request) {
  switch (request) {
    case ConsoleRequest::quit: return machine.quit();
    case ConsoleRequest::reset: return machine.reset();
    case ConsoleRequest::power_down: return machine.press_power_button();
    case ConsoleRequest::help: return;
  }
}

}  // namespace

int run_foreground(MachineConfig config) {
  auto signals = EndingSignals{};
  auto socket =
      config.name == default_name ? ControlSocket::claim_free(config.name) : ControlSocket::claim(config.name);
  if (!socket) return report(socket.error(), exit_bad_configuration);
  config.name = socket->name();
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
  running.with_executor([&] {
    (*link)->attach(&running.console());
    if (second_link) second_link->attach(running.virtio_console());
  });
  auto verbs = VerbTable{};
  add_machine_verbs(verbs, running);
  add_screen_verbs(verbs, running);
  auto control = ControlServer::start(std::move(*socket), verbs);
  if (!control) return report(control.error(), exit_bad_configuration);
  signals.watch([&] {
    (*link)->abandon_output();
    if (second_link) second_link->abandon_output();
    running.quit();
  });
  auto const ending = running.run();
  signals.stop();
  running.events().close();
  control->reset();
  running.with_executor([&] {
    (*link)->attach(nullptr);
    if (second_link) second_link->attach(nullptr);
  });
  link->reset();
  second_link.reset();
  observe::log(observe::Level::info, "machine", "{} million guest instructions interpreted",
               running.instructions_interpreted() / 1'000'000);
  if (!ending) return report(ending.error(), exit_failed);
  if (signals.caught() != 0) return 128 + signals.caught();
  return *ending == Ending::reset ? exit_guest_reset : exit_power_off;
}

}  // namespace vireo::machine
