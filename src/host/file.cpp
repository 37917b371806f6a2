#include "host/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "host/lock_holder.h"
#include "host/system_error.h"

namespace vireo::host {
namespace {

constexpr u64 largest_offset{static_cast<u64>(INT64_MAX)};

off_t offset_of(u64 value) { return static_cast<off_t>(value); }

}  // namespace

std::unexpected<Error> File::error(int error_number, std::string_view doing) const {
  return fail_errno(error_number, fmt::format("{}: {}", path_, doing));
}

std::unexpected<Error> File::error_at(int error_number, std::string_view doing, u64 at, u64 length) const {
  return fail_errno(error_number, fmt::format("{}: {} {} bytes at offset {}", path_, doing, length, at));
}

Result<File> File::open(std::string path, Flags flags) {
  auto mode = (flags.write ? O_RDWR : O_RDONLY) | O_CLOEXEC;
  if (flags.create) mode |= O_CREAT;
  if (flags.exclusive) mode |= O_EXCL;
  if (flags.truncate) mode |= O_TRUNC;
  if (flags.direct) mode |= O_DIRECT;
  if (flags.data_sync) mode |= O_DSYNC;
  if (flags.no_wait) mode |= O_NONBLOCK;
  auto const fd = ::open(path.c_str(), mode, flags.mode);
  if (fd < 0)
    return fail_errno(errno, fmt::format("{}: cannot open{}", path, flags.write ? " for writing" : ""));
  return adopt(fd, std::move(path));
}

Result<File> File::adopt(int fd, std::string name) {
  auto file = File{};
  file.fd_ = Descriptor{fd};
  file.path_ = std::move(name);
  struct stat status{};
  if (::fstat(fd, &status) != 0) return file.error(errno, "stat");
  if (S_ISDIR(status.st_mode)) return fail(Errc::invalid, fmt::format("{}: is a folder", file.path_));
  file.kind_ = S_ISREG(status.st_mode)   ? Kind::regular
               : S_ISBLK(status.st_mode) ? Kind::block_device
                                         : Kind::other;
  file.identity_ = {status.st_dev, status.st_ino};
  return file;
}

Result<std::size_t> File::read_some(u64 at, Bytes into) const {
  auto done = std::size_t{0};
  while (done < into.size()) {
    if (at > largest_offset - done) return error_at(EINVAL, "read", at, into.size());
    auto const count = ::pread(fd(), into.data() + done, into.size() - done, offset_of(at + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return error_at(errno, "read", at, into.size());
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

Result<> File::read(u64 at, Bytes into) const {
  auto const count = TRY(read_some(at, into));
  if (count == into.size()) return {};
  return fail(Errc::io, fmt::format("{}: the file ends {} bytes into a read of {} bytes at offset {}", path_,
                                    count, into.size(), at));
}

Result<> File::write(u64 at, ConstBytes from) const {
  auto done = std::size_t{0};
  while (done < from.size()) {
    if (at > largest_offset - done) return error_at(EINVAL, "write", at, from.size());
    auto const count = ::pwrite(fd(), from.data() + done, from.size() - done, offset_of(at + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return error_at(errno, "write", at, from.size());
    if (count == 0) return error_at(ENOSPC, "write", at, from.size());
    done += static_cast<std::size_t>(count);
  }
  return {};
}

Result<u64> File::size() const {
  if (kind_ == Kind::block_device) {
    auto bytes = u64{0};
    if (::ioctl(fd(), BLKGETSIZE64, &bytes) != 0) return error(errno, "size");
    return bytes;
  }
  struct stat status{};
  if (::fstat(fd(), &status) != 0) return error(errno, "size");
  return static_cast<u64>(status.st_size);
}

Result<> File::truncate(u64 bytes) const {
  if (bytes > largest_offset || ::ftruncate(fd(), offset_of(bytes)) != 0) {
    return error(bytes > largest_offset ? EFBIG : errno, fmt::format("set the size to {} bytes", bytes));
  }
  return {};
}

Result<> File::sync() const {
  if (::fsync(fd()) != 0) return error(errno, "fsync");
  return {};
}

Result<> File::data_sync() const {
  if (::fdatasync(fd()) != 0) return error(errno, "fdatasync");
  return {};
}

Result<> File::punch_hole(u64 at, u64 length) const {
  if (length == 0) return {};
  if (::fallocate(fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset_of(at), offset_of(length)) != 0) {
    return error_at(errno, "punch a hole of", at, length);
  }
  return {};
}

Result<> File::zero_range(u64 at, u64 length) const {
  if (length == 0) return {};
  if (::fallocate(fd(), FALLOC_FL_ZERO_RANGE, offset_of(at), offset_of(length)) != 0) {
    return error_at(errno, "zero", at, length);
  }
  return {};
}

Result<> File::allocate(u64 at, u64 length) const {
  if (length == 0) return {};
  if (::fallocate(fd(), 0, offset_of(at), offset_of(length)) != 0)
    return error_at(errno, "allocate", at, length);
  return {};
}

Result<File::Extent> File::extent_at(u64 at) const {
  auto const bytes = TRY(size());
  if (at >= bytes) return Extent{at, 0, false};
  auto const data = ::lseek(fd(), offset_of(at), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return Extent{at, bytes - at, false};
  if (data < 0 && errno == EINVAL) return Extent{at, bytes - at, true};  // no holes here (block device)
  if (data < 0) return error(errno, "seek data");
  if (static_cast<u64>(data) > at) return Extent{at, std::min(static_cast<u64>(data), bytes) - at, false};
  auto const hole = ::lseek(fd(), offset_of(at), SEEK_HOLE);
  if (hole < 0) return Extent{at, bytes - at, true};
  return Extent{at, std::min(static_cast<u64>(hole), bytes) - at, true};
}

Result<> File::lock(Lock kind) const {
  struct flock lock{};
  lock.l_type = kind == Lock::exclusive ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(fd(), F_OFD_SETLK, &lock) == 0) return {};
  if (errno != EAGAIN && errno != EACCES) return error(errno, "lock");
  auto const holder = lock_holder_hint(identity_);
  return fail(
      Errc::busy,
      fmt::format("{}: in use{}{}; stop that user first, or open it read-only where it is not being written",
                  path_, holder.empty() ? "" : " by ", holder));
}

Result<> File::unlock() const {
  struct flock lock{};
  lock.l_type = F_UNLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(fd(), F_OFD_SETLK, &lock) != 0) return error(errno, "unlock");
  return {};
}

}  // namespace vireo::host
