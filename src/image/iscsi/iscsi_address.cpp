#include "image/iscsi/iscsi_address.h"

#include <fmt/format.h>

#include <algorithm>

#include "host/file.h"
#include "image/url.h"
#include "vocab/units.h"

namespace vireo::image::iscsi {
namespace {

constexpr u64 largest_unit{16383};
constexpr u64 longest_seconds{24 * 3600};

struct Login {
  std::string user{};
  std::string password{};
  std::string rest;  // the URL without them
};

/// '%' divides the two here, where it begins a coded character elsewhere.
Login take_login(std::string const& text) {
  auto const begin = text.find("://");
  if (begin == std::string::npos) return {.rest = text};
  auto const end = std::min(text.find_first_of("/?", begin + 3), text.size());
  auto const at = text.rfind('@', end);
  if (at == std::string::npos || at < begin + 3) return {.rest = text};
  auto const words = text.substr(begin + 3, at - begin - 3);
  auto const divider = std::min(words.find('%'), words.size());
  return {.user = words.substr(0, divider),
          .password = words.substr(std::min(divider + 1, words.size())),
          .rest = text.substr(0, begin + 3) + text.substr(at + 1)};
}

Result<u64> seconds_in(Url const& url, std::string const& key, u64 otherwise) {
  auto const text = url.value(key);
  if (text.empty()) return otherwise;
  auto const number = TRY_IN(key, parse_number(text));
  if (number <= longest_seconds) return number;
  return fail(Errc::invalid, fmt::format("{}={}: at most {}", key, number, longest_seconds));
}

}  // namespace

Result<Address> parse_address(std::string const& text) {
  auto const login = take_login(text);
  auto const url = TRY(parse_url(login.rest));
  TRY(url.allow({"initiator", "user", "password-file", "digest", "timeout", "reconnect"}));
  auto const form = [] {
    return fail(Errc::invalid, "a disk by iSCSI is iscsi://[USER%PASSWORD@]HOST[:PORT]/TARGET/NUMBER");
  };
  auto const slash = url.path.rfind('/');
  if (url.authority.empty() || slash == std::string::npos || slash == 0) return form();
  auto const unit = parse_number(url.path.substr(slash + 1));
  if (!unit || *unit > largest_unit) return form();
  auto address = Address{.portal = url.authority,
                         .target = url.path.substr(0, slash),
                         .unit = static_cast<int>(*unit),
                         .initiator = url.value("initiator", "iqn.2026-01.org.vireo:client"),
                         .user = url.value("user", login.user),
                         .password = login.password};
  auto const digest = url.value("digest", "none");
  if (digest != "none" && digest != "crc32c")
    return fail(Errc::invalid, fmt::format("digest={}: none or crc32c", digest));
  address.digest = digest == "crc32c";
  if (auto const file = url.value("password-file"); !file.empty()) {
    address.password = TRY(host::read_text(file));
    while (address.password.ends_with('\n')) address.password.pop_back();
  }
  if (!address.user.empty() && address.password.empty())
    return fail(Errc::invalid, "the password is missing: password-file=FILE");
  address.timeout_seconds = std::max<u64>(TRY(seconds_in(url, "timeout", address.timeout_seconds)), 1);
  address.reconnect_seconds = TRY(seconds_in(url, "reconnect", address.reconnect_seconds));
  return address;
}

}  // namespace vireo::image::iscsi
