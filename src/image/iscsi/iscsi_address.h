#pragma once

#include <string>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image::iscsi {

/// iscsi://[USER%PASSWORD@]HOST[:PORT]/IQN/LUN?initiator=IQN&user=U&password-file=F&digest=crc32c&timeout=S&reconnect=S
struct Address {
  std::string portal;  // HOST:PORT
  std::string target;
  int unit{};
  std::string initiator{};
  std::string user{};  // CHAP when not empty
  std::string password{};
  bool digest{};
  u64 timeout_seconds{60};
  u64 reconnect_seconds{30};
};
Result<Address> parse_address(std::string const& url);

}  // namespace vireo::image::iscsi
