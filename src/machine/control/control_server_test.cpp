#include "machine/control/control_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "host/socket.h"
#include "host/test_folder.h"
#include "machine/control/control_client.h"

namespace vireo::machine {
namespace {

using namespace control;

class ControlServerTest : public ::testing::Test {
 protected:
  ControlServerTest() {
    ::setenv("VIREO_RUN", folder.path().c_str(), 1);
    verbs.add<Pause>("echo", "say it again", [](Pause const& wish) -> Result<Pause> { return wish; });
  }
  std::unique_ptr<ControlServer> start(std::string const& name) {
    auto socket = ControlSocket::claim(name);
    return ControlServer::start(std::move(socket).value(), verbs).value();
  }

  host::TestFolder folder;
  VerbTable verbs;
};

TEST_F(ControlServerTest, ServesSeveralClientsOneBesideTheOther) {
  auto const server = start("vm");
  auto first = ControlClient::connect("vm").value();
  auto second = ControlClient::connect("vm").value();
  EXPECT_EQ(first.greeting().machine, "vm");
  EXPECT_EQ(second.call<Pause>("echo", Pause{"two"}).value().reason, "two");
  EXPECT_EQ(first.call<Pause>("echo", Pause{"one"}).value().reason, "one");
}

TEST_F(ControlServerTest, GivesTheClientTheErrorWithItsCode) {
  auto const server = start("vm");
  auto client = ControlClient::connect("vm").value();
  auto const result = client.call<Pause>("ecko", Pause{});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::invalid);
  EXPECT_EQ(result.error().what(), "unknown verb 'ecko'; did you mean 'echo'?");
}

TEST_F(ControlServerTest, ANameIsTakenWhileItsMachineRuns) {
  auto server = start("vm");
  EXPECT_EQ(ControlSocket::claim("vm").error().code(), Errc::busy);
  EXPECT_EQ(ControlSocket::claim_free("vm").value().name(), "vm-2");
  server.reset();
  EXPECT_EQ(ControlSocket::claim_free("vm").value().name(), "vm");
}

TEST_F(ControlServerTest, ListsMachinesAndForgetsTheDead) {
  auto const server = start("alive");
  static_cast<void>(host::listen_unix(control_path("dead")).value());  // closed at once: its file stays
  ASSERT_TRUE(std::filesystem::exists(control_path("dead")));

  EXPECT_EQ(running_machines(), std::vector<std::string>{"alive"});
  EXPECT_FALSE(std::filesystem::exists(control_path("dead")));
  EXPECT_EQ(ControlClient::connect("dead").error().what(), "no machine named 'dead' runs; there are: alive");
}

TEST_F(ControlServerTest, HangsUpOnALineThatIsTooLongAndServesOthers) {
  auto const server = start("vm");
  auto channel = LineChannel{host::connect_unix(control_path("vm")).value()};
  ASSERT_TRUE(channel.read(line_limit, -1).value().has_value());
  static_cast<void>(channel.write(std::string(2 * line_limit, 'x')));
  auto line = channel.read(line_limit, -1);
  while (line && *line) line = channel.read(line_limit, -1);  // the answer, unless the hang-up overtook it
  auto client = ControlClient::connect("vm").value();
  EXPECT_EQ(client.call<Pause>("echo", Pause{"still here"}).value().reason, "still here");
}

TEST_F(ControlServerTest, RefusesAFolderInWhichOthersMayWrite) {
  std::filesystem::create_directories(folder.path() + "/machines");
  ASSERT_EQ(::chmod((folder.path() + "/machines").c_str(), 0777), 0);
  EXPECT_EQ(ControlSocket::claim("vm").error().code(), Errc::denied);
}

TEST_F(ControlServerTest, EndsWhileClientsAreConnected) {
  auto server = start("vm");
  auto client = ControlClient::connect("vm").value();
  server.reset();
  EXPECT_EQ(client.call<Pause>("echo", Pause{}).error().code(), Errc::gone);
}

}  // namespace
}  // namespace vireo::machine
