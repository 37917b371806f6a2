#include <gtest/gtest.h>
#include <poll.h>

#include <condition_variable>

#include "host/clock.h"
#include "host/socket.h"
#include "host/test_folder.h"
#include "image/nbd/option_data.h"
#include "image/nbd/server.h"
#include "image/nbd/testing/memory_image.h"

namespace vireo::image::nbd {
namespace {

constexpr u64 disk_bytes{1 << 20};

/// A server over a disk in memory, and raw connections to it.
class NbdServer : public ::testing::Test {
 protected:
  void start(ServerSettings settings = {}) {
    settings.persistent = true;
    auto listeners = std::vector<host::Descriptor>{};
    listeners.push_back(*host::listen_unix(path_));
    auto exports = std::vector<Export>(1);
    exports[0].name = "disk";
    exports[0].image = &disk_;
    server_ = *Server::create(std::move(listeners), std::move(exports), settings);
    thread_ = std::jthread{[this] { ASSERT_TRUE(server_->run()); }};
  }
  void TearDown() override {
    if (server_) server_->stop();
  }

  std::unique_ptr<Stream> connect() {
    auto stream = std::make_unique<SocketStream>(*host::connect_unix(path_));
    auto greeting = std::array<std::byte, 18>{};
    EXPECT_TRUE(read_all(*stream, greeting, deadline()));
    EXPECT_TRUE(write_all(*stream, Packet{}.add(u32{3}).bytes(), deadline()));
    return stream;
  }
  static void send_option(Stream& stream, Option option, Packet const& data = {}) {
    auto const packet = Packet{}
                            .add(option_magic)
                            .add(static_cast<u32>(option))
                            .add(static_cast<u32>(data.bytes().size()))
                            .add(data.bytes());
    EXPECT_TRUE(write_all(stream, packet.bytes(), deadline()));
  }
  static OptionReply option_reply(Stream& stream) {
    auto head = std::array<std::byte, 20>{};
    EXPECT_TRUE(read_all(stream, head, deadline()));
    auto data = std::vector<std::byte>(load_be<u32>(head.data() + 16));
    EXPECT_TRUE(read_all(stream, data, deadline()));
    return static_cast<OptionReply>(load_be<u32>(head.data() + 12));
  }
  /// Past the handshake, with simple replies.
  std::unique_ptr<Stream> connect_to_disk() {
    auto stream = connect();
    send_option(*stream, Option::export_name, Packet{}.add(std::string_view{"disk"}));
    auto answer = std::array<std::byte, 10>{};
    EXPECT_TRUE(read_all(*stream, answer, deadline()));
    return stream;
  }
  static void send_request(Stream& stream, Command command, u64 cookie, u64 at, u32 length, u16 flags = 0) {
    auto const packet =
        Packet{}.add(request_magic).add(flags).add(static_cast<u16>(command)).add(cookie).add(at).add(length);
    EXPECT_TRUE(write_all(stream, packet.bytes(), deadline()));
  }
  struct Reply {
    u32 error{};
    u64 cookie{};
  };
  static Reply simple_reply(Stream& stream) {
    auto head = std::array<std::byte, simple_reply_bytes>{};
    EXPECT_TRUE(read_all(stream, head, deadline()));
    EXPECT_EQ(load_be<u32>(head.data()), simple_reply_magic);
    return {load_be<u32>(head.data() + 4), load_be<u64>(head.data() + 8)};
  }
  static bool has_ended(Stream& stream) {
    auto byte = std::array<std::byte, 1>{};
    auto const count = stream.read_some(byte, deadline());
    return count ? *count == 0 : count.error().code() != Errc::gone;
  }
  static u64 deadline() { return host::monotonic_ns() + 20'000'000'000; }

  host::TestFolder folder_;
  std::string path_{folder_ / "socket"};
  MemoryImage disk_{disk_bytes};
  std::unique_ptr<Server> server_;
  std::jthread thread_;
};

TEST_F(NbdServer, ReadsWhatAnotherConnectionWrote) {
  start();
  auto const writer = connect_to_disk();
  auto const reader = connect_to_disk();
  auto const bytes = std::vector<std::byte>(1000, std::byte{7});
  send_request(*writer, Command::write, 1, 3, 1000, command_flag::fua);
  ASSERT_TRUE(write_all(*writer, bytes, deadline()));
  EXPECT_EQ(simple_reply(*writer).error, 0u);
  send_request(*reader, Command::read, 2, 3, 1000);
  EXPECT_EQ(simple_reply(*reader).cookie, 2u);
  auto read = std::vector<std::byte>(1000);
  ASSERT_TRUE(read_all(*reader, read, deadline()));
  EXPECT_EQ(read, bytes);
  EXPECT_EQ(disk_.flushes, 1u);
}

TEST_F(NbdServer, AnswersOtherRequestsWhileOneIsSlow) {
  auto mutex = std::mutex{};
  auto changed = std::condition_variable{};
  auto released = false;
  disk_.before_read = [&](u64 at) {
    auto lock = std::unique_lock{mutex};
    changed.wait(lock, [&] { return at != 0 || released; });
  };
  start();
  auto const client = connect_to_disk();
  send_request(*client, Command::read, 1, 0, 512);
  send_request(*client, Command::read, 2, 512, 512);
  auto bytes = std::vector<std::byte>(512);
  EXPECT_EQ(simple_reply(*client).cookie, 2u);
  ASSERT_TRUE(read_all(*client, bytes, deadline()));
  {
    auto const lock = std::lock_guard{mutex};
    released = true;
  }
  changed.notify_all();
  EXPECT_EQ(simple_reply(*client).cookie, 1u);
}

TEST_F(NbdServer, AnswersRequestsOutsideTheDiskWithErrors) {
  start();
  auto const client = connect_to_disk();
  send_request(*client, Command::read, 1, disk_bytes - 1, 2);
  EXPECT_EQ(simple_reply(*client).error, error_number::einval);
  send_request(*client, Command::write_zeroes, 2, ~u64{0} - 100, 512);
  EXPECT_EQ(simple_reply(*client).error, error_number::enospc);
  send_request(*client, Command::trim, 3, disk_bytes, 1);
  EXPECT_EQ(simple_reply(*client).error, error_number::enospc);
  send_request(*client, static_cast<Command>(77), 4, 0, 1);
  EXPECT_EQ(simple_reply(*client).error, error_number::einval);
  send_request(*client, Command::write, 5, disk_bytes - 1, 2);
  ASSERT_TRUE(write_all(*client, std::vector<std::byte>(2), deadline()));
  EXPECT_EQ(simple_reply(*client).error, error_number::enospc);
  send_request(*client, Command::flush, 6, 0, 0);
  EXPECT_EQ(simple_reply(*client).error, 0u);
}

TEST_F(NbdServer, LeavesAClientThatSendsNonsense) {
  start();
  auto const in_handshake = connect();
  ASSERT_TRUE(write_all(*in_handshake, std::vector<std::byte>(16, std::byte{1}), deadline()));
  EXPECT_TRUE(has_ended(*in_handshake));
  auto const later = connect_to_disk();
  ASSERT_TRUE(write_all(*later, std::vector<std::byte>(request_bytes, std::byte{1}), deadline()));
  EXPECT_TRUE(has_ended(*later));
  auto const too_long = connect_to_disk();
  send_request(*too_long, Command::write, 1, 0, ~u32{0});
  EXPECT_TRUE(has_ended(*too_long));
}

TEST_F(NbdServer, LeavesAClientThatDoesNotFinishItsHandshake) {
  start({.handshake_ns = 200'000'000});
  EXPECT_TRUE(has_ended(*connect()));
}

TEST_F(NbdServer, LeavesAClientThatStopsInTheMiddleOfAMessage) {
  start({.limits = {.stall_ns = 20'000'000}});
  auto const client = connect_to_disk();
  ASSERT_TRUE(write_all(*client, std::vector<std::byte>(5), deadline()));
  EXPECT_TRUE(has_ended(*client));
}

TEST_F(NbdServer, RefusesOptionsThatItCannotRead) {
  start();
  auto const client = connect();
  send_option(*client, Option::go, Packet{}.add(u32{4000}));
  EXPECT_EQ(option_reply(*client), OptionReply::err_invalid);
  send_option(*client, Option::set_meta_context, Packet{}.add(u32{0}).add(~u32{0}));
  EXPECT_EQ(option_reply(*client), OptionReply::err_invalid);
  send_option(*client, static_cast<Option>(99));
  EXPECT_EQ(option_reply(*client), OptionReply::err_unsup);
  send_option(*client, Option::starttls);
  EXPECT_EQ(option_reply(*client), OptionReply::err_policy);
  send_option(*client, Option::go, Packet{}.add(u32{2}).add(std::string_view{"no"}).add(u16{0}));
  EXPECT_EQ(option_reply(*client), OptionReply::err_unknown);
  send_option(*client, Option::abort);
  EXPECT_EQ(option_reply(*client), OptionReply::ack);
}

TEST_F(NbdServer, LetsClientsBeyondTheLimitWait) {
  start({.max_connections = 1});
  auto first = connect_to_disk();
  auto const second = SocketStream{*host::connect_unix(path_)};
  EXPECT_FALSE(*host::wait_for(second.fd(), POLLIN, host::monotonic_ns() + 20'000'000));
  first.reset();
  EXPECT_TRUE(*host::wait_for(second.fd(), POLLIN, deadline()));
}

TEST_F(NbdServer, SurvivesAClientThatLeavesInTheMiddleOfItsRequests) {
  start();
  for (auto round = u64{0}; round < 20; ++round) {
    auto const client = connect_to_disk();
    for (auto each = u64{0}; each < 8; ++each) send_request(*client, Command::read, each, 0, disk_bytes);
  }
  auto const client = connect_to_disk();
  send_request(*client, Command::flush, 6, 0, 0);
  EXPECT_EQ(simple_reply(*client).error, 0u);
}

}  // namespace
}  // namespace vireo::image::nbd
