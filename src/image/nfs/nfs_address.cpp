#include "image/nfs/nfs_address.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/url.h"
#include "vocab/units.h"

namespace vireo::image::nfs {
namespace {

constexpr u64 longest_seconds{24 * 3600};
constexpr u64 largest_port{65535};
constexpr u64 largest_id{0x7fffffff};

Result<u64> number_in(Url const& url, std::string const& key, u64 otherwise, u64 most) {
  auto const text = url.value(key);
  if (text.empty()) return otherwise;
  auto const number = TRY_IN(key, parse_number(text));
  if (number <= most) return number;
  return fail(Errc::invalid, fmt::format("{}={}: at most {}", key, number, most));
}

}  // namespace

Result<Address> parse_address(std::string const& text) {
  auto const url = TRY(parse_url(text));
  TRY(url.allow({"version", "nfsport", "mountport", "uid", "gid", "timeout", "reconnect"}));
  auto address = Address{.host = url.authority, .folder = {}, .file = {}};
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  auto const slash = url.path.rfind('/');
  if (address.host.empty() || slash == std::string::npos || slash + 1 == url.path.size()) {
    return fail(Errc::invalid, fmt::format("{}: a disk by NFS is nfs://HOST/EXPORT/FILE", text));
  }
  address.folder = "/" + url.path.substr(0, slash);
  address.file = url.path.substr(slash + 1);
  if (address.file == "." || address.file == "..") {
    return fail(Errc::invalid, fmt::format("{}: ends in the name of a folder", text));
  }
  address.version = TRY(number_in(url, "version", address.version, 4));
  if (address.version < 3) return fail(Errc::invalid, fmt::format("{}: version 3 or 4", text));
  address.nfs_port = TRY(number_in(url, "nfsport", 0, largest_port));
  address.mount_port = TRY(number_in(url, "mountport", 0, largest_port));
  if (!url.value("uid").empty()) address.uid = TRY(number_in(url, "uid", 0, largest_id));
  if (!url.value("gid").empty()) address.gid = TRY(number_in(url, "gid", 0, largest_id));
  address.timeout_seconds =
      std::max<u64>(TRY(number_in(url, "timeout", address.timeout_seconds, longest_seconds)), 1);
  address.reconnect_seconds = TRY(number_in(url, "reconnect", address.reconnect_seconds, longest_seconds));
  return address;
}

}  // namespace vireo::image::nfs
