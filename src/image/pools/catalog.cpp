#include "image/pools/catalog.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/pools/pool.h"

namespace vireo::image {
namespace {

constexpr std::size_t record_bytes{128};
constexpr std::size_t most_volumes{4096};
constexpr std::size_t format_at{96};

std::string text_at(ConstBytes record, std::size_t at, std::size_t longest) {
  // SOUND: bytes seen as characters, inside of the record.
  auto const all = std::string_view{reinterpret_cast<char const*>(record.data()) + at, longest};
  return std::string{all.substr(0, all.find('\0'))};
}

}  // namespace

Result<> Catalog::load() {
  auto const bytes = TRY(storage_.size());
  if (bytes % record_bytes != 0 || bytes / record_bytes > most_volumes)
    return fail(Errc::corrupt, fmt::format("{}: no catalogue of a pool: {} bytes", storage_.path(), bytes));
  auto content = std::vector<std::byte>(bytes);
  TRY(storage_.read(0, content));
  for (auto at = std::size_t{0}; at < bytes; at += record_bytes) {
    auto const record = ConstBytes{content}.subspan(at, record_bytes);
    auto entry = Entry{text_at(record, 0, format_at), text_at(record, format_at, record_bytes - format_at)};
    if (!entry.name.empty()) TRY_IN(storage_.path(), check_pool_name("volume", entry.name));
    slots_.push_back(entry.name.empty() ? std::optional<Entry>{} : std::move(entry));
  }
  return {};
}

Result<Catalog> Catalog::open(std::string const& url) {
  auto storage = Storage::open(url, true, CacheMode::writeback);
  if (!storage && storage.error().code() == Errc::not_found) storage = Storage::create(url);
  auto catalog = Catalog{TRY(std::move(storage))};
  TRY(catalog.storage_.lock());
  TRY(catalog.load());
  return catalog;
}

Result<std::vector<Catalog::Entry>> Catalog::read(std::string const& url) {
  auto storage = Storage::open(url, false, CacheMode::writeback);
  if (!storage && storage.error().code() == Errc::not_found) return std::vector<Entry>{};
  auto catalog = Catalog{TRY(std::move(storage))};
  TRY(catalog.load());
  return catalog.entries();
}

std::vector<Catalog::Entry> Catalog::entries() const {
  auto found = std::vector<Entry>{};
  for (auto const& slot : slots_) {
    if (slot) found.push_back(*slot);
  }
  return found;
}

Result<> Catalog::put(std::size_t slot, std::optional<Entry> entry) {
  auto record = std::vector<std::byte>(record_bytes);
  if (entry) {
    std::ranges::copy(std::as_bytes(std::span{entry->name}), record.begin());
    std::ranges::copy(std::as_bytes(std::span{entry->format}), record.begin() + format_at);
  }
  TRY(storage_.write(slot * record_bytes, record));
  TRY(storage_.sync());
  if (slot == slots_.size()) slots_.emplace_back();
  slots_[slot] = std::move(entry);
  return {};
}

Result<> Catalog::add(Entry const& entry) {
  auto const free = std::ranges::find_if(slots_, [](auto const& slot) { return !slot; });
  auto const slot = static_cast<std::size_t>(free - slots_.begin());
  if (slot < most_volumes) return put(slot, entry);
  return fail(Errc::no_space, fmt::format("{}: a pool has at most {} volumes", storage_.path(), most_volumes));
}

Result<> Catalog::remove(std::string const& name) {
  for (auto slot = std::size_t{0}; slot < slots_.size(); ++slot) {
    if (slots_[slot] && slots_[slot]->name == name) return put(slot, std::nullopt);
  }
  return {};
}

}  // namespace vireo::image
