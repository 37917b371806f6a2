#include "image/unique_id.h"

#include <sys/random.h>

#include <cerrno>

#include "host/system_error.h"

namespace vireo::image {

Result<UniqueId> new_unique_id() {
  auto id = UniqueId{};
  // At most 256 bytes are never cut short (getrandom(2)).
  if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) {
    return host::fail_errno(errno, "getrandom");
  }
  id[6] =
      (id[6] & std::byte{0x0f}) | std::byte{0x40};  // RFC 9562: version 4, in either byte order of its field
  id[7] = (id[7] & std::byte{0x0f}) | std::byte{0x40};
  id[8] = (id[8] & std::byte{0x3f}) | std::byte{0x80};
  return id;
}

}  // namespace vireo::image
