#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "host/socket.h"
#include "host/test_folder.h"
#include "image/nbd/nbd_backend.h"
#include "image/nbd/option_data.h"
#include "image/nbd/server.h"
#include "image/nbd/testing/memory_image.h"
#include "image/open_image.h"
#include "image/url.h"

namespace vireo::image::nbd {
namespace {

constexpr u64 disk_bytes{4 << 20};

class RunningServer {
 public:
  RunningServer(std::string const& path, BlockImage& disk) {
    auto listeners = std::vector<host::Descriptor>{};
    listeners.push_back(*host::listen_unix(path));
    auto exports = std::vector<Export>(1);
    exports[0].image = &disk;
    server_ = *Server::create(std::move(listeners), std::move(exports), {.persistent = true});
    thread_ = std::jthread{[this] { EXPECT_TRUE(server_->run()); }};
  }
  ~RunningServer() { server_->stop(); }

 private:
  std::unique_ptr<Server> server_;
  std::jthread thread_;
};

/// What a server in the hands of an enemy says after an honest handshake.
class HostileServer {
 public:
  HostileServer(std::string const& path, std::vector<std::byte> answer)
      : listener_{*host::listen_unix(path)}, answer_{std::move(answer)}, thread_{[this] { serve(); }} {}

 private:
  void serve() {
    ASSERT_TRUE(*host::wait_for(listener_.get(), POLLIN, never));
    auto disk = MemoryImage{disk_bytes};
    auto exports = std::vector<Export>(1);
    exports[0].image = &disk;
    auto stream = std::unique_ptr<Stream>{
        std::make_unique<SocketStream>(host::Descriptor{::accept(listener_.get(), nullptr, nullptr)})};
    ASSERT_TRUE(greet_client(stream, {.exports = exports}, never));
    auto request = std::array<std::byte, request_bytes>{};
    ASSERT_TRUE(read_all(*stream, request, never));
    ASSERT_TRUE(write_all(*stream, answer_, never));
    static_cast<void>(stream->read_some(request, never));  // until the client has had enough
  }
  host::Descriptor listener_;
  std::vector<std::byte> answer_;
  std::jthread thread_;
};

class NbdClient : public ::testing::Test {
 protected:
  std::string url(std::string const& more = "") const { return "nbd+unix:///?socket=" + path_ + more; }
  Packet chunk(Chunk type, u32 length) {
    return Packet{}.add(chunk_magic).add(chunk_done).add(static_cast<u16>(type)).add(u64{1}).add(length);
  }
  Errc outcome_of(Packet const& answer) {
    auto const server = HostileServer{path_, {answer.bytes().begin(), answer.bytes().end()}};
    auto const backend = *open_nbd(url("&reconnect=0"), false);
    auto bytes = std::vector<std::byte>(512);
    return backend->read(4096, bytes).error().code();
  }

  host::TestFolder folder_;
  std::string path_{folder_ / "socket"};
  MemoryImage disk_{disk_bytes};
};

TEST_F(NbdClient, ReadsAndWritesAsAnImage) {
  auto const server = RunningServer{path_, disk_};
  auto const image = *open_image(url(), {.format = "raw"});
  auto const bytes = std::vector<std::byte>(70000, std::byte{3});
  ASSERT_TRUE(image->write(1001, bytes));
  ASSERT_TRUE(image->write_zeroes(2000, 100, true));
  ASSERT_TRUE(image->flush());
  auto read = std::vector<std::byte>(70000);
  ASSERT_TRUE(image->read(1001, read));
  EXPECT_EQ(read[998], std::byte{3});
  EXPECT_EQ(read[999], std::byte{0});
  EXPECT_EQ(read[1099], std::byte{3});
  EXPECT_EQ(disk_.flushes, 1u);
  EXPECT_EQ(image->geometry().bytes, disk_bytes);
  EXPECT_EQ(image->extent_at(1 << 20)->presence, BlockImage::Presence::zero);
  EXPECT_EQ(image->extent_at(1 << 20)->length, disk_bytes - (1 << 20));
  EXPECT_EQ(image->write(disk_bytes - 1, bytes).error().code(), Errc::invalid);
}

TEST_F(NbdClient, GoesOnWhenItsServerComesBack) {
  auto server = std::make_unique<RunningServer>(path_, disk_);
  auto const backend = *open_nbd(url(), true);
  ASSERT_TRUE(backend->write(0, std::vector<std::byte>(512, std::byte{5})));
  server.reset();
  auto bytes = std::vector<std::byte>(512);
  auto outcome = Result<>{};
  auto reader = std::jthread{[&] { outcome = backend->read(0, bytes); }};
  server = std::make_unique<RunningServer>(path_, disk_);
  reader.join();
  ASSERT_TRUE(outcome) << outcome.error().what();
  EXPECT_EQ(bytes[0], std::byte{5});
  EXPECT_TRUE(backend->flush());
}

TEST_F(NbdClient, FailsWhenItsServerStaysAway) {
  auto server = std::make_unique<RunningServer>(path_, disk_);
  auto const backend = *open_nbd(url("&reconnect=0"), true);
  server.reset();
  auto bytes = std::vector<std::byte>(512);
  EXPECT_FALSE(backend->read(0, bytes));
}

TEST_F(NbdClient, ServesManyThreadsAtATime) {
  auto const server = RunningServer{path_, disk_};
  auto const image = *open_image(url("&connections=2"), {.format = "raw"});
  auto failures = std::atomic<u32>{0};
  {
    auto threads = std::vector<std::jthread>{};
    for (auto number = u64{0}; number < 8; ++number) {
      threads.emplace_back([&, number] {
        auto const wanted = std::vector<std::byte>(4096, static_cast<std::byte>(number + 1));
        auto found = std::vector<std::byte>(4096);
        for (auto round = u64{0}; round < 50; ++round) {
          auto const at = (round * 8 + number) * 4096;
          auto const good = image->write(at, wanted) && image->read(at, found) && found == wanted;
          failures += good ? 0 : 1;
        }
      });
    }
  }
  EXPECT_EQ(failures, 0u);
}

TEST_F(NbdClient, RefusesAnswersThatMakeNoSense) {
  EXPECT_NE(outcome_of(Packet{}.add(u64{1}).add(u64{2}).add(u64{3})), Errc::invalid);
  EXPECT_NE(outcome_of(chunk(Chunk::offset_data, 520).add(u64{0}).add(std::string_view{std::string(512, 'x')})),
            Errc::invalid);
  EXPECT_NE(outcome_of(chunk(Chunk::offset_data, ~u32{0}).add(u64{4096})), Errc::invalid);
  EXPECT_NE(outcome_of(chunk(Chunk::offset_hole, 12).add(u64{4096}).add(~u32{0})), Errc::invalid);
  EXPECT_NE(outcome_of(chunk(Chunk::error, 6).add(u32{0}).add(u16{0})), Errc::invalid);
  EXPECT_NE(outcome_of(chunk(Chunk::none, 0)), Errc::invalid);  // done, and nothing was sent
}

TEST(NbdAddress, IsReadFromTheUrl) {
  EXPECT_EQ(parse_address("nbd://[::1]/a%20disk")->host, "::1");
  EXPECT_EQ(parse_address("nbd://[::1]/a%20disk")->name, "a disk");
  EXPECT_EQ(parse_address("nbd://host")->port, "10809");
  EXPECT_EQ(parse_address("nbds://host:99/x?tls-certificates=/keys")->tls.folder, "/keys");
  EXPECT_EQ(parse_address("nbd+unix:///x?socket=/a/b")->socket, "/a/b");
  EXPECT_FALSE(parse_address("nbd+unix:///x"));
  EXPECT_FALSE(parse_address("nbd:///x"));
  EXPECT_FALSE(parse_address("nbd://host:port/x"));
  EXPECT_FALSE(parse_address("nbd://host/x?socket=/a"));
  EXPECT_FALSE(parse_address("nbd://host/x?unknown=1"));
  EXPECT_FALSE(parse_address("nbd://host/%zz"));
}

TEST(OpenImage, NamesTheSchemesForAUrlOfAnother) {
  auto const result = open_image("gopher://host/disk");
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().what().find("nbd://"), std::string::npos) << result.error().what();
}

}  // namespace
}  // namespace vireo::image::nbd
