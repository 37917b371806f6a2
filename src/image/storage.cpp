#include "image/storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr std::size_t zero_chunk{1u << 20};

}  // namespace

Result<Storage> Storage::open(std::string const& path, bool writable, CacheMode cache) {
  auto storage = Storage{};
  auto file = host::File::open(path, {.write = writable, .direct = is_direct(cache), .no_wait = true});
  if (!file && is_direct(cache) && file.error().code() == Errc::invalid) {
    return fail(Errc::unsupported,
                fmt::format("{}: its file system knows no O_DIRECT; use cache mode writeback or "
                            "writethrough",
                            path));
  }
  storage.file_ = TRY(std::move(file));
  if (storage.file_.kind() == host::File::Kind::other) {
    return fail(Errc::invalid, fmt::format("{}: is neither a file nor a block device", path));
  }
  storage.writable_ = writable;
  storage.cache_ = cache;
  return storage;
}

Result<> Storage::lock() const {
  return file_.lock(writable_ ? host::File::Lock::exclusive : host::File::Lock::shared);
}

Result<> Storage::read(u64 at, Bytes into) const {
  if (is_direct(cache_)) return read_direct(at, into);
  auto const count = TRY(file_.read_some(at, into));
  std::ranges::fill(into.subspan(count), std::byte{0});
  return {};
}

Result<> Storage::write(u64 at, ConstBytes from) const {
  return is_direct(cache_) ? write_direct(at, from) : file_.write(at, from);
}

Result<> Storage::write_zeroes(u64 at, u64 length, bool may_unmap) const {
  auto const quick = may_unmap ? file_.punch_hole(at, length) : file_.zero_range(at, length);
  if (quick || quick.error().code() != Errc::unsupported) return quick;
  static auto const zeroes = std::vector<std::byte>(zero_chunk);
  for (auto done = u64{0}; done < length;) {
    auto const part = std::min<u64>(length - done, zero_chunk);
    TRY(write(at + done, ConstBytes{zeroes}.first(part)));
    done += part;
  }
  return {};
}

Result<> Storage::discard(u64 at, u64 length) const {
  auto const punched = file_.punch_hole(at, length);
  if (punched || punched.error().code() == Errc::unsupported) return {};
  return punched;
}

Result<> Storage::sync() const {
  if (cache_ == CacheMode::unsafe || !writable_) return {};
  return file_.data_sync();
}

}  // namespace vireo::image
