#include "image/nfs/nfs_backend.h"

#include <algorithm>

#include "vocab/numbers.h"

namespace vireo::image::nfs {
namespace {

constexpr u64 most_unflushed{32 * MiB};
constexpr u64 zero_chunk{1 * MiB};

}  // namespace

NfsBackend::NfsBackend(Address address, Access access)
    : address_{std::move(address)},
      access_{access},
      server_{"nfs: " + address_.host, address_.reconnect_seconds, [this] { return connect(); }} {}

Result<std::unique_ptr<Backend>> NfsBackend::start(std::string const& url, Access access) {
  auto backend = std::unique_ptr<NfsBackend>{new NfsBackend{TRY(parse_address(url)), access}};
  TRY(backend->server_.start());
  backend->access_ = access == Access::read ? Access::read : Access::write;
  return backend;
}

Result<std::unique_ptr<Backend>> NfsBackend::open(std::string const& url, bool writable) {
  return start(url, writable ? Access::write : Access::read);
}

Result<std::unique_ptr<Backend>> NfsBackend::create(std::string const& url) {
  return start(url, Access::create);
}

Result<> NfsBackend::remove(std::string const& url) {
  return NfsConnection::remove_file(TRY(parse_address(url)));
}

/// The first time, and again: then it is the same file, and has what it may have forgotten.
Result<std::shared_ptr<NfsConnection>> NfsBackend::connect() {
  auto connection = TRY(NfsConnection::connect(address_, access_));
  auto const facts = TRY(connection->facts());
  auto const again = number_ != 0;
  if (again && (facts.number != number_ || facts.file_system != file_system_))
    return fail(Errc::corrupt, "another file has its name now");
  if (locked_ != Locked::no) TRY(connection->lock(locked_ == Locked::alone));
  TRY(unflushed_.replay([&](u64 at, ConstBytes bytes) { return connection->write(at, bytes); }, {}));
  number_ = facts.number;
  file_system_ = facts.file_system;
  if (!again) bytes_ = facts.bytes;
  return connection;
}

Result<> NfsBackend::read(u64 at, Bytes into) {
  return server_.perform([&](NfsConnection& connection) { return connection.read(at, into); });
}

Result<> NfsBackend::write(u64 at, ConstBytes from) {
  if (from.empty()) return {};
  auto const number = unflushed_.add(at, from);
  auto const outcome = server_.perform([&](NfsConnection& connection) { return connection.write(at, from); });
  if (!outcome) {
    unflushed_.drop(number);
    return outcome;
  }
  unflushed_.done(number);
  auto const end = at + from.size();
  for (auto known = bytes_.load(); known < end && !bytes_.compare_exchange_weak(known, end);) {
  }
  return unflushed_.bytes() > most_unflushed ? flush() : Result<>{};
}

Result<> NfsBackend::write_zeroes(u64 at, u64 length, bool) {
  static auto const zeroes = std::vector<std::byte>(zero_chunk);
  for (auto done = u64{0}; done < length;) {
    auto const part = std::min(length - done, zero_chunk);
    TRY(write(at + done, ConstBytes{zeroes}.first(part)));
    done += part;
  }
  return {};
}

Result<> NfsBackend::flush() {
  auto const covered = unflushed_.finished();
  TRY(server_.perform([](NfsConnection& connection) { return connection.commit(); }));
  unflushed_.forget(covered);
  return {};
}

/// What was cut off must not be written again.
Result<> NfsBackend::truncate(u64 bytes) {
  TRY(flush());
  TRY(server_.perform([&](NfsConnection& connection) { return connection.truncate(bytes); }));
  bytes_ = bytes;
  return {};
}

Result<> NfsBackend::lock(bool alone) {
  TRY(server_.perform([&](NfsConnection& connection) { return connection.lock(alone); }));
  locked_ = alone ? Locked::alone : Locked::shared;
  return {};
}

Result<host::File::Extent> NfsBackend::extent_at(u64 at) {
  return host::File::Extent{.start = at, .length = bytes_ - at, .data = true};
}

}  // namespace vireo::image::nfs
