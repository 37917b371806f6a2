#pragma once

#include <memory>
#include <string>

#include "host/descriptor.h"
#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::image::nbd {

inline constexpr u64 never{~u64{0}};

/// Bytes in order to and from one peer. One thread may read while another writes. Deadlines are of
/// CLOCK_MONOTONIC, in nanoseconds; past them Errc::gone.
class Stream {
 public:
  virtual ~Stream() = default;
  /// At least one byte; 0 when the peer has ended.
  virtual Result<std::size_t> read_some(Bytes into, u64 deadline_ns) = 0;
  /// From the first part, then from the second; at least one byte.
  virtual Result<std::size_t> write_some(ConstBytes first, ConstBytes second, u64 deadline_ns) = 0;
  /// From any thread: reads and writes of others end.
  virtual void hang_up() = 0;
  /// The socket below, for a layer that takes it over; -1 where there is none.
  virtual int fd() const { return -1; }
};

class SocketStream final : public Stream {
 public:
  explicit SocketStream(host::Descriptor socket) : socket_{std::move(socket)} {}
  Result<std::size_t> read_some(Bytes into, u64 deadline_ns) override;
  Result<std::size_t> write_some(ConstBytes first, ConstBytes second, u64 deadline_ns) override;
  void hang_up() override;
  int fd() const override { return socket_.get(); }

 private:
  host::Descriptor socket_;
};

/// All of it, or Errc::gone when the peer ends before.
Result<> read_all(Stream& stream, Bytes into, u64 deadline_ns);
Result<> write_all(Stream& stream, ConstBytes first, ConstBytes second, u64 deadline_ns);
inline Result<> write_all(Stream& stream, ConstBytes bytes, u64 deadline_ns) {
  return write_all(stream, bytes, {}, deadline_ns);
}

}  // namespace vireo::image::nbd
