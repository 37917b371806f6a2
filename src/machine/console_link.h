#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "bus/executor.h"
#include "device/chipset/serial_backend.h"
#include "host/descriptor.h"
#include "host/terminal.h"
#include "machine/console_escape.h"
#include "vocab/result.h"

namespace vireo::machine {

/// Joins a serial port with the host: stdio (raw when it is a terminal, with escapes), a file, or one client at
/// a time of a Unix socket. A thread of its own waits for the host's side, so that a slow reader stalls nothing
/// but the guest's output.
class ConsoleLink final : public device::SerialBackend {
 public:
  /// `where` is stdio, none, a file's path or unix:PATH. `on_request` is called on the link's thread.
  static Result<std::unique_ptr<ConsoleLink>> create(std::string const& where, bus::Executor& executor,
                                                     std::function<void(ConsoleRequest)> on_request);
  /// Waits a second at most for output that the host has not taken. The port must be disconnected before.
  ~ConsoleLink() override;

  /// On the executor.
  void attach(device::SerialPort* port);
  /// Any thread: from now on output that the host does not take in time is dropped, so that nothing waits for
  /// it.
  void abandon_output();

 private:
  struct Ends {
    host::Descriptor listener, input, output;
    bool escapes{};
  };

  ConsoleLink(Ends ends, bus::Executor& executor, std::function<void(ConsoleRequest)> on_request);

  void transmit(ConstBytes bytes) override;
  void receive_ready() override { deliver(); }
  void deliver();

  void serve();
  bool wants_input();
  bool has_output();
  void read_input();
  void write_output();
  void accept_client();
  void hang_up();
  void wake();

  static constexpr std::size_t output_limit{1u << 20};

  bus::Executor& executor_;
  std::function<void(ConsoleRequest)> on_request_;
  Ends ends_;
  std::optional<host::RawTerminal> raw_;
  ConsoleEscape escape_;
  host::Descriptor wake_;
  device::SerialPort* port_{};  // on the executor
  std::mutex mutex_;            // guards what follows
  std::condition_variable drained_;
  std::string to_guest_, to_host_;
  bool closing_{}, abandoned_{};
  std::shared_ptr<bool> alive_{std::make_shared<bool>(true)};  // for posted work, on the executor
  std::thread thread_;
};

}  // namespace vireo::machine
