#include "image/iscsi/iscsi_backend.h"

#include <fmt/format.h>

#include <algorithm>

#include "vocab/numbers.h"

namespace vireo::image::iscsi {
namespace {

constexpr u64 most_unflushed{32 * MiB};

}  // namespace

IscsiBackend::IscsiBackend(Address address)
    : address_{std::move(address)},
      target_{"iscsi: " + address_.portal, address_.reconnect_seconds, [this] { return connect(); }},
      blocks_{512, [this](u64 at, Bytes into) { return read_blocks(at, into); },
              [this](u64 at, ConstBytes from) { return write_blocks(at, from); }} {}

Result<std::unique_ptr<Backend>> IscsiBackend::open(std::string const& url, bool writable) {
  auto backend = std::unique_ptr<IscsiBackend>{new IscsiBackend{TRY(parse_address(url))}};
  TRY(backend->target_.start());
  if (writable && backend->unit_.read_only) return fail(Errc::denied, "the unit is for reading only");
  return backend;
}

/// The first time, and again: then the unit is as large as it was, and has what it may have forgotten.
Result<std::shared_ptr<IscsiConnection>> IscsiBackend::connect() {
  auto connection = TRY(IscsiConnection::connect(address_));
  auto const& unit = connection->unit();
  if (unit_.bytes == 0) {
    unit_ = unit;
    blocks_.use_blocks_of(unit.block);
  }
  if (unit.bytes != unit_.bytes || unit.block != unit_.block) {
    return fail(Errc::corrupt, fmt::format("the unit had {} bytes and now has {}", unit_.bytes, unit.bytes));
  }
  TRY(unflushed_.replay([&](u64 at, ConstBytes bytes) { return connection->write(at, bytes); },
                        [&](u64 at, u64 length) { return connection->write_zeroes(at, length, false); }));
  return connection;
}

template <typename F>
Result<> IscsiBackend::change(u64 number, F const& act) {
  auto const outcome = target_.perform(act);
  if (!outcome) {
    unflushed_.drop(number);
    return outcome;
  }
  unflushed_.done(number);
  return unflushed_.bytes() > most_unflushed ? flush() : Result<>{};
}

Result<> IscsiBackend::read_blocks(u64 at, Bytes into) {
  return target_.perform([&](IscsiConnection& connection) { return connection.read(at, into); });
}

Result<> IscsiBackend::write_blocks(u64 at, ConstBytes from) {
  return change(unflushed_.add(at, from),
                [&](IscsiConnection& connection) { return connection.write(at, from); });
}

Result<> IscsiBackend::write_zeroes(u64 at, u64 length, bool may_unmap) {
  return blocks_.zero(at, length, [&](u64 start, u64 bytes) {
    return change(unflushed_.add_zeroes(start, bytes), [&](IscsiConnection& connection) {
      return connection.write_zeroes(start, bytes, may_unmap);
    });
  });
}

/// Whole blocks only. Not kept: after a loss they may hold what they held before.
Result<> IscsiBackend::discard(u64 at, u64 length) {
  auto const start = align_up(at, u64{unit_.block});
  auto const end = align_down(at + length, u64{unit_.block});
  if (start >= end) return {};
  return target_.perform([&](IscsiConnection& connection) { return connection.unmap(start, end - start); });
}

Result<> IscsiBackend::flush() {
  auto const covered = unflushed_.finished();
  TRY(target_.perform([](IscsiConnection& connection) { return connection.synchronize(); }));
  unflushed_.forget(covered);
  return {};
}

Result<host::File::Extent> IscsiBackend::extent_at(u64 at) {
  auto found = host::File::Extent{};
  auto const start = align_down(at, u64{unit_.block});
  auto const look = [&](IscsiConnection& connection) -> Result<> {
    found = TRY(connection.extent_at(start));
    return {};
  };
  TRY(target_.perform(look));
  return host::File::Extent{.start = at, .length = found.length - (at - start), .data = found.data};
}

}  // namespace vireo::image::iscsi
