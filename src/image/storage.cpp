#include "image/storage.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <vector>

#include "host/file_view.h"
#include "image/check_range.h"
#include "image/file_locks.h"
#include "observe/log.h"
#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr std::size_t zero_chunk{1u << 20};

}  // namespace

/// What is known of a file that nobody writes to; found when it is first asked for.
struct Storage::LazyView {
  std::once_flag once{};
  std::optional<host::FileView> view{};
  // Some file systems walk through all of a run of data to find its end: once is enough.
  std::mutex mutex{};
  host::File::Extent last{};

  std::optional<host::File::Extent> known(u64 at) {
    auto const lock = std::lock_guard{mutex};
    if (at < last.start || at - last.start >= last.length) return std::nullopt;
    return host::File::Extent{.start = at, .length = last.length - (at - last.start), .data = last.data};
  }
  void keep(host::File::Extent const& extent) {
    auto const lock = std::lock_guard{mutex};
    last = extent;
  }
};
void Storage::DropView::operator()(LazyView* view) const { delete view; }

ConstBytes Storage::view(u64 at, u64 length) const {
  if (!view_) return {};
  std::call_once(view_->once, [this] {
    if (auto made = host::FileView::create(file_)) view_->view = std::move(*made);
  });
  return view_->view ? view_->view->populated(at, length) : ConstBytes{};
}

Result<Storage> Storage::open(std::string const& path, bool writable, CacheMode cache) {
  auto storage = Storage{};
  if (is_url(path)) {
    storage.backend_ = TRY_IN(path, open_backend(path, writable));
    storage.url_ = path;
    storage.writable_ = writable;
    storage.cache_ = cache;
    return storage;
  }
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
  if (!writable && !is_direct(cache)) storage.view_.reset(new LazyView{});
  storage.writable_ = writable;
  storage.cache_ = cache;
  return storage;
}

Result<Storage> Storage::create(std::string const& path) {
  auto storage = Storage{};
  storage.writable_ = true;
  if (!is_url(path)) {
    storage.file_ = TRY(host::File::open(path, {.write = true, .create = true, .exclusive = true}));
    return storage;
  }
  storage.backend_ = TRY_IN(path, create_backend(path));
  storage.url_ = path;
  return storage;
}

void Storage::remove(std::string const& path) {
  if (!is_url(path)) {
    ::unlink(path.c_str());
    return;
  }
  if (auto const outcome = remove_backend(path); !outcome) {
    observe::log(observe::Level::warning, "image", "{}: stays there: {}", path, outcome.error().what());
  }
}

Result<> Storage::lock(FileLocks const* held) const {
  if (backend_) {
    TRY_IN(url_, backend_->lock(writable_));
    return {};
  }
  auto const kind = writable_ ? host::File::Lock::exclusive : host::File::Lock::shared;
  return held != nullptr && held->covers(identity(), kind) ? Result<>{} : file_.lock(kind);
}

host::File::Identity Storage::identity() const {
  if (!backend_) return file_.identity();
  return {.device = ~u64{0}, .inode = std::hash<std::string>{}(url_)};
}

Result<> Storage::truncate(u64 bytes) const {
  if (!backend_) return file_.truncate(bytes);
  TRY_IN(url_, backend_->truncate(bytes));
  return {};
}

Result<host::File::Extent> Storage::extent_at(u64 at) const {
  if (view_) {
    if (auto const known = view_->known(at)) return *known;
    auto const found = TRY(file_.extent_at(at));
    view_->keep(found);
    return found;
  }
  if (!backend_) return file_.extent_at(at);
  return at < backend_->size() ? backend_->extent_at(at) : host::File::Extent{.start = at};
}

Result<> Storage::within(u64 at, u64 length) const {
  if (backend_->can_grow() || (at <= backend_->size() && length <= backend_->size() - at)) return {};
  return fail(Errc::no_space, fmt::format("{}: ends at {}; it does not grow", url_, backend_->size()));
}

Result<> Storage::read(u64 at, Bytes into) const {
  if (backend_) {
    auto const there = at < backend_->size() ? std::min<u64>(into.size(), backend_->size() - at) : 0;
    if (there != 0) TRY(backend_->read(at, into.first(there)));
    std::ranges::fill(into.subspan(there), std::byte{0});
    return {};
  }
  if (is_direct(cache_)) return read_direct(at, into);
  auto const count = TRY(file_.read_some(at, into));
  std::ranges::fill(into.subspan(count), std::byte{0});
  return {};
}

Result<> Storage::write(u64 at, ConstBytes from) const {
  if (backend_) {
    TRY(within(at, from.size()));
    return backend_->write(at, from);
  }
  return is_direct(cache_) ? write_direct(at, from) : file_.write(at, from);
}

Result<> Storage::write_zeroes(u64 at, u64 length, bool may_unmap) const {
  if (backend_) {
    TRY(within(at, length));
    return backend_->write_zeroes(at, length, may_unmap);
  }
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
  if (backend_) {
    TRY(within(at, length));
    auto const there = at < backend_->size() ? std::min(length, backend_->size() - at) : 0;
    return there != 0 ? backend_->discard(at, there) : Result<>{};
  }
  auto const punched = file_.punch_hole(at, length);
  if (punched || punched.error().code() == Errc::unsupported) return {};
  return punched;
}

Result<> Storage::check_write(u64 at, u64 length, u64 bytes) const {
  if (!writable_) return fail(Errc::denied, fmt::format("{}: is opened read-only", path()));
  return check_range(path(), at, length, bytes);
}

Result<> Storage::sync() const {
  if (cache_ == CacheMode::unsafe || !writable_) return {};
  return backend_ ? backend_->flush() : file_.data_sync();
}

}  // namespace vireo::image
