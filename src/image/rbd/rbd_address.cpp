#include "image/rbd/rbd_address.h"

#include <fmt/format.h>

namespace vireo::image::rbd {
namespace {

constexpr std::string_view prefix{"rbd:"};

/// Up to the next of `ends` that no '\' stands before; what is taken goes from `rest`, its end too.
std::string take(std::string_view& rest, std::string_view ends, char& end) {
  auto taken = std::string{};
  end = '\0';
  while (!rest.empty()) {
    auto const next = rest.front();
    rest.remove_prefix(1);
    if (next == '\\' && !rest.empty()) {
      taken += rest.front();
      rest.remove_prefix(1);
      continue;
    }
    if (ends.find(next) != std::string_view::npos) {
      end = next;
      break;
    }
    taken += next;
  }
  return taken;
}

}  // namespace

Result<Address> parse_address(std::string const& text) {
  auto const form = [&] {
    return fail(Errc::invalid,
                fmt::format("'{}': a disk of Ceph's is rbd:POOL/IMAGE[@SNAPSHOT][:KEY=VALUE]...", text));
  };
  auto rest = std::string_view{text};
  if (!rest.starts_with(prefix)) return form();
  rest.remove_prefix(prefix.size());
  auto end = '\0';
  auto address = Address{.pool = take(rest, "/", end), .image = {}};
  if (end != '/') return form();
  address.image = take(rest, "@:", end);
  if (end == '@') address.snapshot = take(rest, ":", end);
  if (address.pool.empty() || address.image.empty()) return form();
  while (end == ':') {
    auto const key = take(rest, "=:", end);
    if (end != '=' || key.empty()) return form();
    auto const value = take(rest, ":", end);
    if (key == "id") {
      address.id = value;
    } else if (key == "conf") {
      address.conf = value;
    } else {
      address.options.emplace_back(key, value);
    }
  }
  return address;
}

}  // namespace vireo::image::rbd
