#include "host/system_error.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace vireo::host {

Errc errc_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
    case ENXIO: return Errc::not_found;
    case EACCES:
    case EPERM:
    case EROFS: return Errc::denied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM: return Errc::no_space;
    case EBUSY:
    case EAGAIN:
    case EEXIST:
    case ETXTBSY: return Errc::busy;
    case EINVAL:
    case EISDIR:
    case ENAMETOOLONG: return Errc::invalid;
    case EOPNOTSUPP:
    case ENOSYS:
    case ENOTTY: return Errc::unsupported;
    case EPIPE:
    case ECONNRESET:
    case ESRCH: return Errc::gone;
    default: return Errc::io;
  }
}

std::unexpected<Error> fail_errno(int error_number, std::string_view what, std::source_location at) {
  char text[128];
  return fail(errc_of(error_number), fmt::format("{}: {}", what, ::strerror_r(error_number, text, sizeof text)),
              at);
}

}  // namespace vireo::host
