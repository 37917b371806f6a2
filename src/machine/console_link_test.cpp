#include "machine/console_link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/file.h"
#include "machine/machine_executor.h"

namespace vireo::machine {
namespace {

/// A port that takes one byte at a time and says when all of what is expected has come.
class SlowPort final : public device::SerialPort {
 public:
  SlowPort(bus::Executor& executor, std::string expected)
      : executor_{executor}, expected_{std::move(expected)} {}

  u32 receive(ConstBytes bytes) override {
    received_ += static_cast<char>(bytes[0]);
    executor_.post([this] {
      if (backend != nullptr) backend->receive_ready();
    });
    auto const lock = std::lock_guard{mutex_};
    complete_ = received_ == expected_;
    completed_.notify_all();
    return 1;
  }
  void connect(device::SerialBackend* to) override { backend = to; }
  void wait() {
    auto lock = std::unique_lock{mutex_};
    completed_.wait(lock, [&] { return complete_; });
  }

  device::SerialBackend* backend{};

 private:
  bus::Executor& executor_;
  std::string expected_, received_;
  std::mutex mutex_;
  std::condition_variable completed_;
  bool complete_{};
};

struct Linked {
  std::unique_ptr<MachineExecutor> executor{MachineExecutor::create().value()};
  SlowPort port;
  std::unique_ptr<ConsoleLink> link;

  Linked(std::string const& where, std::string expected) : port{*executor, std::move(expected)} {
    link = ConsoleLink::create(where, *executor, [](ConsoleRequest) {}).value();
    executor->with([&] { link->attach(&port); });
  }
  void send(std::string_view text) {
    executor->with([&] { port.backend->transmit(std::as_bytes(std::span{text})); });
  }
  void close() {
    executor->with([&] { link->attach(nullptr); });
    link.reset();
  }
};

int connect_to(std::string const& path) {
  auto address = sockaddr_un{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, path.size());
  auto const fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  // SOUND: sockets take every address family through sockaddr.
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr const*>(&address), sizeof address), 0);
  return fd;
}

TEST(ConsoleLink, WritesAllOutputToAFileBeforeItEnds) {
  auto const path = testing::TempDir() + "vireo_console_link_test.log";
  auto const text = std::string(100'000, 'x') + "end";
  auto linked = Linked{path, ""};

  linked.send(text);
  linked.close();

  EXPECT_EQ(host::read_text(path).value(), text);
}

TEST(ConsoleLink, CarriesBothWaysOverAUnixSocketWithoutLoss) {
  auto const path = testing::TempDir() + "vireo_console_link_test.sock";
  auto linked = Linked{"unix:" + path, "typed"};
  auto const client = connect_to(path);
  auto answer = std::array<char, 5>{};

  ASSERT_EQ(::write(client, "typed", 5), 5);
  linked.port.wait();
  linked.send("hello");
  ASSERT_EQ(::recv(client, answer.data(), answer.size(), MSG_WAITALL), 5);

  EXPECT_EQ(std::string_view(answer.data(), answer.size()), "hello");
  ::close(client);
  linked.close();
}

TEST(ConsoleLink, RefusesPlacesThatCannotBe) {
  auto executor = MachineExecutor::create().value();
  auto const ignore = [](ConsoleRequest) {};

  EXPECT_FALSE(ConsoleLink::create("/missing/folder/log", *executor, ignore));
  EXPECT_FALSE(ConsoleLink::create("unix:" + std::string(200, 'x'), *executor, ignore));
}

}  // namespace
}  // namespace vireo::machine
