#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <new>

#include "host/system_error.h"
#include "image/storage.h"
#include "vocab/numbers.h"

// O_DIRECT wants offset, length and address on block boundaries; what is not goes through an aligned buffer.
namespace vireo::image {
namespace {

constexpr u64 block{4096};
constexpr u64 largest_bounce{1u << 20};

class AlignedBuffer {
 public:
  explicit AlignedBuffer(std::size_t size)
      : data_{static_cast<std::byte*>(::operator new(size, std::align_val_t{block}))}, size_{size} {}
  AlignedBuffer(AlignedBuffer const&) = delete;
  ~AlignedBuffer() { ::operator delete(data_, std::align_val_t{block}); }
  Bytes bytes() const { return {data_, size_}; }

 private:
  std::byte* data_;
  std::size_t size_;
};

bool aligned(u64 at, ConstBytes bytes) {
  // SOUND: only the address's low bits are looked at.
  auto const address = reinterpret_cast<std::uintptr_t>(bytes.data());
  return (at | bytes.size() | address) % block == 0;
}

/// Reads whole blocks; behind the end of the file there are zeroes.
Result<> read_blocks(host::File const& file, u64 at, Bytes into) {
  auto done = std::size_t{0};
  while (done < into.size()) {
    auto const count =
        ::pread(file.fd(), into.data() + done, into.size() - done, static_cast<off_t>(at + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return host::fail_errno(errno, file.path() + ": read");
    done += static_cast<std::size_t>(count);
    if (count == 0 || static_cast<u64>(count) % block != 0) break;
  }
  std::ranges::fill(into.subspan(done), std::byte{0});
  return {};
}

}  // namespace

Result<> Storage::read_direct(u64 at, Bytes into) const {
  if (aligned(at, into)) return read_blocks(file_, at, into);
  auto const buffer = AlignedBuffer{std::min(align_up(into.size() + block, block), largest_bounce)};
  while (!into.empty()) {
    auto const start = align_down(at, block);
    auto const length = std::min(align_up(at + into.size(), block) - start, buffer.bytes().size());
    TRY(read_blocks(file_, start, buffer.bytes().first(length)));
    auto const part = std::min<u64>(into.size(), start + length - at);
    std::ranges::copy(buffer.bytes().subspan(at - start, part), into.begin());
    into = into.subspan(part);
    at += part;
  }
  return {};
}

Result<> Storage::write_direct(u64 at, ConstBytes from) const {
  if (aligned(at, from)) {
    auto const lock = std::shared_lock{*edges_};
    return file_.write(at, from);
  }
  auto const lock = std::lock_guard{*edges_};
  auto const buffer = AlignedBuffer{std::min(align_up(from.size() + block, block), largest_bounce)};
  while (!from.empty()) {
    auto const start = align_down(at, block);
    auto const length = std::min(align_up(at + from.size(), block) - start, buffer.bytes().size());
    auto const part = std::min<u64>(from.size(), start + length - at);
    auto const size_before = TRY(file_.size());
    TRY(read_blocks(file_, start, buffer.bytes().first(length)));
    std::ranges::copy(from.first(part), buffer.bytes().subspan(at - start).begin());
    TRY(file_.write(start, buffer.bytes().first(length)));
    auto const size_wanted = std::max(size_before, at + part);
    if (file_.kind() == host::File::Kind::regular && size_wanted < start + length)
      TRY(file_.truncate(size_wanted));
    from = from.subspan(part);
    at += part;
  }
  return {};
}

}  // namespace vireo::image
