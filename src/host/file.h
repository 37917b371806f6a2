#pragma once

#include <optional>
#include <string>

#include "host/descriptor.h"
#include "vocab/bytes.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::host {

/// An open file or block device. All calls may come from several threads at once; errors name the path.
class File {
 public:
  struct Flags {
    bool write{};
    bool create{};     // make it when it is missing
    bool exclusive{};  // with create: Errc::busy when it is there
    bool truncate{};
    bool direct{};     // O_DIRECT: buffers, offsets and lengths aligned by the caller
    bool data_sync{};  // O_DSYNC
    bool no_wait{};    // O_NONBLOCK: a pipe or device of that name does not hold the open up
    unsigned mode{0644};
  };
  enum class Lock : u8 { shared, exclusive };
  enum class Kind : u8 { regular, block_device, other };
  struct Identity {
    u64 device{};
    u64 inode{};
    bool operator==(Identity const&) const = default;
  };
  struct Extent {
    u64 start{};
    u64 length{};
    bool data{};  // false: a hole, reads as zeroes
  };

  File() = default;
  static Result<File> open(std::string path, Flags flags);
  static Result<File> adopt(int fd, std::string name);

  /// All bytes or an error; the end of the file on the way is Errc::io.
  Result<> read(u64 at, Bytes into) const;
  /// Up to the end of the file; yields the count.
  Result<std::size_t> read_some(u64 at, Bytes into) const;
  Result<> write(u64 at, ConstBytes from) const;

  Result<u64> size() const;
  Result<> truncate(u64 bytes) const;
  Result<> sync() const;       // fsync
  Result<> data_sync() const;  // fdatasync
  /// Frees the range; it reads as zeroes. Errc::unsupported where the file system cannot.
  Result<> punch_hole(u64 at, u64 length) const;
  /// Makes the range read as zeroes and keeps it allocated. Errc::unsupported where the file system cannot.
  Result<> zero_range(u64 at, u64 length) const;
  /// Reserves space, growing the file when the range ends behind it.
  Result<> allocate(u64 at, u64 length) const;
  /// The run of data or hole that holds `at`; a file system without holes reports data. At the end: length 0.
  Result<Extent> extent_at(u64 at) const;

  /// Takes a lock of this open file (F_OFD_SETLK) without waiting. Held elsewhere: Errc::busy, with the
  /// holder's process named when /proc tells it. Released by unlock() or when the file is closed.
  Result<> lock(Lock kind) const;
  Result<> unlock() const;

  Kind kind() const { return kind_; }
  Identity identity() const { return identity_; }
  std::string const& path() const { return path_; }
  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }

 private:
  std::unexpected<Error> error(int error_number, std::string_view doing) const;
  std::unexpected<Error> error_at(int error_number, std::string_view doing, u64 at, u64 length) const;

  Descriptor fd_;
  std::string path_;
  Kind kind_{Kind::regular};
  Identity identity_;
};

/// Whole small files.
Result<std::string> read_text(std::string const& path, u64 limit = 16u << 20);
/// Replaces the file in one step: temporary file beside it, fsync, rename.
Result<> write_text(std::string const& path, std::string_view text, unsigned mode = 0644);
/// What was created, renamed or removed in the folder is so on stable storage.
Result<> sync_folder(std::string const& path);
/// Makes the folder and its parents.
Result<> make_folders(std::string const& path, unsigned mode = 0755);

}  // namespace vireo::host
