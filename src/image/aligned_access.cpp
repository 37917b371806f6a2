#include "image/aligned_access.h"

#include <algorithm>
#include <mutex>
#include <vector>

namespace vireo::image {

Result<> AlignedAccess::read(u64 at, Bytes into) {
  if (is_whole(at, into.size())) return read_(at, into);
  auto const start = align_down(at, block_);
  auto bytes = std::vector<std::byte>(align_up(at + into.size(), block_) - start);
  TRY(read_(start, bytes));
  std::ranges::copy(ConstBytes{bytes}.subspan(at - start, into.size()), into.begin());
  return {};
}

Result<> AlignedAccess::write(u64 at, ConstBytes from) {
  if (is_whole(at, from.size())) {
    auto const lock = std::shared_lock{parts_};
    return write_(at, from);
  }
  auto const lock = std::lock_guard{parts_};
  auto const head = std::min<u64>((block_ - at % block_) % block_, from.size());
  if (head != 0) TRY(write_part(at, from.first(head)));
  from = from.subspan(head);
  at += head;
  auto const whole = align_down(from.size(), block_);
  if (whole != 0) TRY(write_(at, from.first(whole)));
  return whole == from.size() ? Result<>{} : write_part(at + whole, from.subspan(whole));
}

/// Inside one block.
Result<> AlignedAccess::write_part(u64 at, ConstBytes from) {
  auto bytes = std::vector<std::byte>(block_);
  auto const start = align_down(at, block_);
  TRY(read_(start, bytes));
  std::ranges::copy(from, Bytes{bytes}.subspan(at - start).begin());
  return write_(start, bytes);
}

Result<> AlignedAccess::zero(u64 at, u64 length, std::function<Result<>(u64 at, u64 length)> const& act) {
  auto const zeroes = std::vector<std::byte>(block_);
  auto const head = std::min((block_ - at % block_) % block_, length);
  if (head != 0) TRY(write(at, ConstBytes{zeroes}.first(head)));
  at += head;
  length -= head;
  auto const whole = align_down(length, block_);
  if (whole != 0) TRY(act(at, whole));
  return whole == length ? Result<>{} : write(at + whole, ConstBytes{zeroes}.first(length - whole));
}

}  // namespace vireo::image
