#include "image/rbd/rbd_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "image/rbd/rbd_address.h"
#include "image/rbd/rbd_library.h"
#include "vocab/numbers.h"

namespace vireo::image::rbd {

#if VIREO_HAS_RBD
namespace {

constexpr auto seconds_for_an_answer = "60";
constexpr u64 largest_request{32 * MiB};
constexpr u64 most_looked_at{256 * MiB};
constexpr int order_of_4_mib{22};

std::unexpected<Error> failed(i64 status, std::string_view doing) {
  auto const number = static_cast<int>(-status);
  auto const denied = number == EACCES || number == EPERM || number == EROFS;
  auto const code = number == ENOENT                           ? Errc::not_found
                    : number == EEXIST || number == EBUSY      ? Errc::busy
                    : number == ENOSPC || number == EDQUOT     ? Errc::no_space
                    : number == EOPNOTSUPP || number == ENOSYS ? Errc::unsupported
                    : denied                                   ? Errc::denied
                                                               : Errc::io;
  return fail(code,
              fmt::format("ceph: {}: {}", doing, ::strerror(number)));  // NOLINT: its text is copied at once
}

Result<> check(i64 status, std::string_view doing) { return status < 0 ? failed(status, doing) : Result<>{}; }

/// A cluster's pool, and the image in it when there is one.
class Connection {
 public:
  explicit Connection(Library const& library) : ceph{library} {}
  Connection(Connection const&) = delete;
  ~Connection() {
    if (image != nullptr && locked) ceph.rbd_lock_release(image);
    if (image != nullptr) ceph.rbd_close(image);
    if (pool != nullptr) ceph.rados_ioctx_destroy(pool);
    if (cluster != nullptr) ceph.rados_shutdown(cluster);
  }

  Result<> connect(Address const& address) {
    TRY(check(ceph.rados_create(&cluster, address.id.empty() ? nullptr : address.id.c_str()), "create"));
    auto const* const file = address.conf.empty() ? nullptr : address.conf.c_str();
    auto const read = ceph.rados_conf_read_file(cluster, file);
    if (file != nullptr || read != -ENOENT) TRY(check(read, "conf=" + address.conf));
    for (auto const* const key : {"rados_osd_op_timeout", "rados_mon_op_timeout", "client_mount_timeout"})
      TRY(check(ceph.rados_conf_set(cluster, key, seconds_for_an_answer), key));
    for (auto const& [key, value] : address.options)
      TRY(check(ceph.rados_conf_set(cluster, key.c_str(), value.c_str()), key));
    TRY(check(ceph.rados_connect(cluster), "connect"));
    return check(ceph.rados_ioctx_create(cluster, address.pool.c_str(), &pool), "pool " + address.pool);
  }
  Result<> open(Address const& address, bool writable) {
    auto const* const snapshot = address.snapshot.empty() ? nullptr : address.snapshot.c_str();
    auto const open = writable ? ceph.rbd_open : ceph.rbd_open_read_only;
    return check(open(pool, address.image.c_str(), &image, snapshot), "image " + address.image);
  }

  Library const& ceph;
  rados_t cluster{};
  rados_ioctx_t pool{};
  rbd_image_t image{};
  bool locked{};
};

Result<std::unique_ptr<Connection>> connect(Address const& address) {
  auto connection = std::make_unique<Connection>(*TRY(library()));
  TRY(connection->connect(address));
  return connection;
}

class RbdBackend final : public Backend {
 public:
  RbdBackend(std::unique_ptr<Connection> connection, u64 bytes)
      : connection_{std::move(connection)}, ceph_{connection_->ceph}, bytes_{bytes} {}

  u64 size() const override { return bytes_; }
  bool can_grow() const override { return true; }

  Result<> read(u64 at, Bytes into) override {
    while (!into.empty()) {
      auto const part = into.first(std::min<u64>(into.size(), largest_request));
      // SOUND: librbd takes characters.
      auto const count = ceph_.rbd_read(image(), at, part.size(), reinterpret_cast<char*>(part.data()));
      TRY(check(count, "read"));
      if (count == 0) return fail(Errc::io, fmt::format("ceph: read: the image ends at {}", at));
      into = into.subspan(static_cast<std::size_t>(count));
      at += static_cast<u64>(count);
    }
    return {};
  }

  Result<> write(u64 at, ConstBytes from) override {
    TRY(reach(at + from.size()));
    while (!from.empty()) {
      auto const part = from.first(std::min<u64>(from.size(), largest_request));
      // SOUND: librbd takes characters.
      auto const count = ceph_.rbd_write(image(), at, part.size(), reinterpret_cast<char const*>(part.data()));
      TRY(check(count, "write"));
      from = from.subspan(part.size());
      at += part.size();
    }
    return {};
  }

  Result<> write_zeroes(u64 at, u64 length, bool may_unmap) override {
    TRY(reach(at + length));
    auto const how = may_unmap ? 0 : RBD_WRITE_ZEROES_FLAG_THICK_PROVISION;
    for (auto done = u64{0}; done < length; done += GiB) {
      auto const part = std::min(length - done, GiB);
      TRY(check(ceph_.rbd_write_zeroes(image(), at + done, part, how, 0), "write zeroes"));
    }
    return {};
  }

  Result<> discard(u64 at, u64 length) override {
    for (auto done = u64{0}; done < length; done += GiB)
      TRY(check(ceph_.rbd_discard(image(), at + done, std::min(length - done, GiB)), "discard"));
    return {};
  }

  Result<> flush() override { return check(ceph_.rbd_flush(image()), "flush"); }

  Result<> truncate(u64 bytes) override {
    auto const lock = std::lock_guard{growing_};
    TRY(check(ceph_.rbd_resize(image(), bytes), "resize"));
    bytes_ = bytes;
    return {};
  }

  /// Only an image with the feature exclusive-lock has one; Ceph takes it from the dead.
  Result<> lock(bool alone) override {
    if (!alone || connection_->locked) return {};
    auto const status = ceph_.rbd_lock_acquire(image(), RBD_LOCK_MODE_EXCLUSIVE);
    if (status == -EINVAL || status == -ENOSYS || status == -EOPNOTSUPP) return {};
    if (status == -EROFS || status == -EBUSY) return fail(Errc::busy, "another one has the image open");
    TRY(check(status, "lock"));
    connection_->locked = true;
    return {};
  }

  Result<host::File::Extent> extent_at(u64 at) override {
    auto const end = std::min(bytes_.load(), at + most_looked_at);
    auto run = Run{.at = at, .end = end};
    auto const status = ceph_.rbd_diff_iterate2(image(), nullptr, at, end - at, 1, 0, note, &run);
    if (status < 0 && status != stop) return failed(status, "extents");
    if (run.data) run.end = std::min(run.reached, end);
    return host::File::Extent{.start = at, .length = run.end - at, .data = run.data};
  }

 private:
  static constexpr int stop{-ECANCELED};
  struct Run {
    u64 at;
    u64 end;  // of what is known to be like the first byte
    bool data{};
    u64 reached{};
  };
  static int note(uint64_t start, std::size_t length, int exists, void* to) {
    auto& run = *static_cast<Run*>(to);
    if (exists == 0) return 0;
    auto const next = run.data ? run.reached : run.at;
    if (start > next) {  // a hole begins, or ends
      run.end = run.data ? run.reached : std::min<u64>(start, run.end);
      return stop;
    }
    run.data = true;
    run.reached = std::max(run.reached, start + length);
    return 0;
  }

  rbd_image_t image() const { return connection_->image; }
  Result<> reach(u64 end) { return end <= bytes_ ? Result<>{} : grow(end); }
  Result<> grow(u64 end) {
    auto const lock = std::lock_guard{growing_};
    if (end <= bytes_) return {};
    TRY(check(ceph_.rbd_resize(image(), end), "resize"));
    bytes_ = end;
    return {};
  }

  std::unique_ptr<Connection> connection_;
  Library const& ceph_;
  std::atomic<u64> bytes_;
  std::mutex growing_;
};

Result<std::unique_ptr<Backend>> open(Address const& address, std::unique_ptr<Connection> connection,
                                      bool writable) {
  TRY(connection->open(address, writable));
  auto bytes = u64{0};
  TRY(check(connection->ceph.rbd_get_size(connection->image, &bytes), "size"));
  return std::make_unique<RbdBackend>(std::move(connection), bytes);
}

}  // namespace

Result<std::unique_ptr<Backend>> open_rbd(std::string const& url, bool writable) {
  auto const address = TRY(parse_address(url));
  if (writable && !address.snapshot.empty()) return fail(Errc::denied, "a snapshot is for reading");
  return open(address, TRY(connect(address)), writable);
}

Result<std::unique_ptr<Backend>> create_rbd(std::string const& url) {
  auto const address = TRY(parse_address(url));
  auto connection = TRY(connect(address));
  auto order = order_of_4_mib;
  TRY(check(connection->ceph.rbd_create(connection->pool, address.image.c_str(), 0, &order), "create"));
  return open(address, std::move(connection), true);
}

Result<> remove_rbd(std::string const& url) {
  auto const address = TRY(parse_address(url));
  auto const connection = TRY(connect(address));
  return check(connection->ceph.rbd_remove(connection->pool, address.image.c_str()), "remove");
}

#else

namespace {
std::unexpected<Error> missing() { return fail(Errc::unsupported, "built without librbd-dev"); }
}  // namespace
Result<std::unique_ptr<Backend>> open_rbd(std::string const&, bool) { return missing(); }
Result<std::unique_ptr<Backend>> create_rbd(std::string const&) { return missing(); }
Result<> remove_rbd(std::string const&) { return missing(); }

#endif

}  // namespace vireo::image::rbd
