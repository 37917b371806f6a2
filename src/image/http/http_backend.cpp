#include "image/http/http_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace vireo::image::http {
namespace {

constexpr u64 block{u64{1} << 20};
constexpr auto tries = 4u;

}  // namespace

std::unexpected<Error> HttpBackend::read_only() const {
  return fail(Errc::denied, fmt::format("{}: web servers' disks are for reading", url_));
}

Result<std::unique_ptr<Backend>> HttpBackend::open(std::string const& url, bool writable) {
  auto transfer = TRY(Transfer::create(url));
  auto found = TRY(transfer->look());
  auto backend = std::unique_ptr<HttpBackend>{new HttpBackend{url, std::move(found)}};
  if (writable) return backend->read_only();
  if (!backend->found_.gives_ranges) {
    return fail(Errc::unsupported, fmt::format("{}: the server gives no ranges; download it first", url));
  }
  backend->idle_.push_back(std::move(transfer));
  return backend;
}

Result<std::unique_ptr<Transfer>> HttpBackend::take_transfer() {
  {
    auto const lock = std::lock_guard{mutex_};
    if (!idle_.empty()) {
      auto transfer = std::move(idle_.back());
      idle_.pop_back();
      return transfer;
    }
  }
  return Transfer::create(url_);
}

/// A server that fails for a moment is asked again.
Result<std::vector<std::byte>> HttpBackend::fetch(u64 number) {
  auto bytes = std::vector<std::byte>(std::min(block, found_.bytes - number * block));
  for (auto round = 1u;; ++round) {
    auto transfer = TRY(take_transfer());
    auto const outcome = transfer->read(number * block, bytes, found_.version);
    if (outcome) {
      auto const lock = std::lock_guard{mutex_};
      idle_.push_back(std::move(transfer));
      return bytes;
    }
    if (outcome.error().code() != Errc::io || round == tries) return std::unexpected{outcome.error()};
    std::this_thread::sleep_for(std::chrono::milliseconds{100u << round});
  }
}

Result<> HttpBackend::read(u64 at, Bytes into) {
  while (!into.empty()) {
    auto const found = TRY(cache_.get(at / block, [this](u64 number) { return fetch(number); }));
    auto const there = ConstBytes{*found}.subspan(at % block);
    auto const count = std::min(there.size(), into.size());
    std::ranges::copy(there.first(count), into.begin());
    into = into.subspan(count);
    at += count;
  }
  return {};
}

Result<> HttpBackend::write(u64, ConstBytes) { return read_only(); }
Result<> HttpBackend::write_zeroes(u64, u64, bool) { return read_only(); }
Result<> HttpBackend::discard(u64, u64) { return read_only(); }

Result<host::File::Extent> HttpBackend::extent_at(u64 at) {
  return host::File::Extent{.start = at, .length = found_.bytes - at, .data = true};
}

}  // namespace vireo::image::http
