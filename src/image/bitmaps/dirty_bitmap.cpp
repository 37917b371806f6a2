#include "image/bitmaps/dirty_bitmap.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace vireo::image {

DirtyBitmap::DirtyBitmap(std::string name, u64 bytes, u32 granularity_bits)
    : name_{std::move(name)}, bytes_{bytes}, granularity_bits_{granularity_bits}, words_((bits() + 63) / 64) {}

Result<DirtyBitmap> DirtyBitmap::create(std::string name, u64 bytes, u64 granularity) {
  if (name.empty() || name.size() > longest_name || name.find('\0') != std::string::npos) {
    return fail(Errc::invalid, fmt::format("a bitmap's name of {} bytes; 1 to {}", name.size(), longest_name));
  }
  auto const order = static_cast<u32>(std::countr_zero(granularity));
  if (!std::has_single_bit(granularity) || order < smallest_granularity_bits ||
      order > largest_granularity_bits) {
    return fail(Errc::invalid,
                fmt::format("granularity {}: a power of two from 512 bytes to 2 GiB", granularity));
  }
  if (bytes > u64{1} << 62) return fail(Errc::invalid, fmt::format("a bitmap for {} bytes", bytes));
  return DirtyBitmap{std::move(name), bytes, order};
}

void DirtyBitmap::mark_bits(u64 first, u64 end) {
  if (first >= end) return;
  auto const head = ~u64{0} << first % 64;
  auto const tail = ~u64{0} >> (63 - (end - 1) % 64);
  auto const first_word = first / 64;
  auto const last_word = (end - 1) / 64;
  if (first_word == last_word) {
    words_[first_word] |= head & tail;
    return;
  }
  words_[first_word] |= head;
  std::fill(words_.begin() + static_cast<std::ptrdiff_t>(first_word + 1),
            words_.begin() + static_cast<std::ptrdiff_t>(last_word), ~u64{0});
  words_[last_word] |= tail;
}

void DirtyBitmap::mark(u64 at, u64 length) {
  if (length == 0 || at >= bytes_) return;
  auto const end = std::min(bytes_, at + length);
  mark_bits(at >> granularity_bits_, ((end - 1) >> granularity_bits_) + 1);
}

void DirtyBitmap::mark_all() { mark_bits(0, bits()); }
void DirtyBitmap::clear() { std::ranges::fill(words_, u64{0}); }

void DirtyBitmap::clear(u64 at, u64 length) {
  for (auto index = at >> granularity_bits_; index << granularity_bits_ < std::min(bytes_, at + length);
       ++index) {
    words_[index / 64] &= ~(u64{1} << index % 64);
  }
}

void DirtyBitmap::cut() {
  if (bits() % 64 != 0) words_.back() &= ~u64{0} >> (64 - bits() % 64);
}

void DirtyBitmap::resize(u64 bytes) {
  auto const old = bytes_;
  bytes_ = bytes;
  words_.resize((bits() + 63) / 64);
  cut();
  if (bytes > old) mark(old, bytes - old);
}

void DirtyBitmap::merge(DirtyBitmap const& other) {
  for (auto range = other.next(0); range; range = other.next(range->start + range->length)) {
    mark(range->start, range->length);
  }
}

/// The first bit of that value at or behind `from`; bits() when there is none.
u64 DirtyBitmap::find(u64 from, bool value) const {
  auto const end = bits();
  if (from >= end) return end;
  auto const wanted = [&](u64 word) { return value ? words_[word] : ~words_[word]; };
  auto word = from / 64;
  auto found = wanted(word) & (~u64{0} << from % 64);
  while (found == 0 && ++word < words_.size()) found = wanted(word);
  return found == 0 ? end : std::min(end, word * 64 + static_cast<u64>(std::countr_zero(found)));
}

std::optional<DirtyRange> DirtyBitmap::next(u64 from) const {
  auto const first = find(from >> granularity_bits_, true);
  if (from >= bytes_ || first >= bits()) return std::nullopt;
  auto const start = std::max(from, first << granularity_bits_);
  auto const end = find(first, false);
  return DirtyRange{start, (end == bits() ? bytes_ : end << granularity_bits_) - start};
}

std::vector<DirtyRange> DirtyBitmap::ranges() const {
  auto all = std::vector<DirtyRange>{};
  for (auto range = next(0); range; range = next(range->start + range->length)) all.push_back(*range);
  return all;
}

BitmapInfo DirtyBitmap::info() const {
  auto info =
      BitmapInfo{.name = name_, .granularity = granularity(), .enabled = enabled, .inconsistent = inconsistent};
  for (auto const word : words_) info.dirty_bytes += static_cast<u64>(std::popcount(word)) << granularity_bits_;
  auto const last_is_short = bits() != 0 && bytes_ % granularity() != 0 && bit(bits() - 1);
  if (last_is_short) info.dirty_bytes -= granularity() - bytes_ % granularity();
  return info;
}

void DirtyBitmap::load(u64 first_byte, ConstBytes from) {
  for (auto index = u64{0}; index < from.size() && first_byte + index < byte_count(); ++index) {
    auto const at = first_byte + index;
    auto const shift = at % 8 * 8;
    auto& word = words_[at / 8];
    word = (word & ~(u64{0xff} << shift)) | std::to_integer<u64>(from[index]) << shift;
  }
  if (!words_.empty()) cut();
}

void DirtyBitmap::store(u64 first_byte, Bytes into) const {
  for (auto index = u64{0}; index < into.size(); ++index) {
    auto const at = first_byte + index;
    into[index] = at / 8 < words_.size() ? static_cast<std::byte>(words_[at / 8] >> at % 8 * 8) : std::byte{0};
  }
}

}  // namespace vireo::image
