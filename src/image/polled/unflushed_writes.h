#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::image::polled {

/// What a server may forget, when it starts anew, until it was told to commit: kept here and written again. Any
/// thread.
class UnflushedWrites {
 public:
  /// Before it is sent; its number, for done() or drop().
  u64 add(u64 at, ConstBytes bytes);
  u64 add_zeroes(u64 at, u64 length);
  void done(u64 number);
  void drop(u64 number);
  u64 bytes() const;

  /// Those that were done: what a commit that begins now covers.
  std::vector<u64> finished() const;
  void forget(std::vector<u64> const& committed);
  using Write = std::function<Result<>(u64 at, ConstBytes bytes)>;
  using Zero = std::function<Result<>(u64 at, u64 length)>;
  /// In the order in which they came.
  Result<> replay(Write const& write, Zero const& zero) const;

 private:
  struct Change {
    u64 at{};
    std::vector<std::byte> bytes{};
    u64 zeroes{};  // in place of bytes
    bool done{};
  };
  u64 add(Change change);
  void erase(u64 number);

  mutable std::mutex mutex_;
  std::map<u64, Change> changes_;
  u64 next_{1};
  u64 bytes_{};
};

}  // namespace vireo::image::polled
