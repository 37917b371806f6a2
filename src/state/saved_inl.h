#pragma once

#include <algorithm>
#include <optional>
#include <span>

namespace vireo::state {
namespace detail {

template <typename T>
concept Plain = std::is_trivially_copyable_v<T>;

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

inline constexpr std::size_t vector_limit{std::size_t{64} << 20};  // bytes in one field: bounds hostile files

template <typename T>
std::vector<std::byte> encode(T const& value) {
  if constexpr (IsVector<T>::value) {
    auto const bytes = std::as_bytes(std::span{value});
    return {bytes.begin(), bytes.end()};
  } else {
    static_assert(Plain<T>);
    auto const bytes = std::as_bytes(std::span{&value, 1});
    return {bytes.begin(), bytes.end()};
  }
}

template <typename T>
bool decode(std::vector<std::byte> const& bytes, T& value) {
  if constexpr (IsVector<T>::value) {
    using Element = typename T::value_type;
    if (bytes.size() > vector_limit || bytes.size() % sizeof(Element) != 0) return false;
    value.resize(bytes.size() / sizeof(Element));
    std::copy(bytes.begin(), bytes.end(), std::as_writable_bytes(std::span{value}).begin());
  } else if constexpr (std::is_same_v<T, bool>) {
    if (bytes.size() != 1 || bytes[0] > std::byte{1}) return false;
    value = bytes[0] == std::byte{1};
  } else {
    if (bytes.size() != sizeof(T)) return false;
    std::memcpy(&value, bytes.data(), sizeof(T));
  }
  return true;
}

}  // namespace detail

template <typename State>
Saved save(State const& state) {
  auto saved = Saved{.schema = std::string{State::schema}, .fields = {}};
  State::fields(state,
                [&](u32 id, char const*, auto const& value) { saved.fields[id] = detail::encode(value); });
  return saved;
}

template <typename State>
Result<> restore(Saved const& saved, State& state) {
  if (saved.schema != State::schema) {
    return fail(Errc::corrupt,
                "saved state is '" + saved.schema + "', not '" + std::string{State::schema} + "'");
  }
  auto fresh = state;
  auto seen = std::size_t{0};
  auto bad = std::optional<std::string>{};
  State::fields(fresh, [&](u32 id, char const* name, auto& value) {
    auto const found = saved.fields.find(id);
    if (found == saved.fields.end()) return;
    ++seen;
    if (!detail::decode(found->second, value) && !bad) bad = name;
  });
  if (bad)
    return fail(Errc::corrupt, std::string{State::schema} + ": field '" + *bad + "' has a wrong size or value");
  if (seen != saved.fields.size()) return fail(Errc::corrupt, std::string{State::schema} + ": unknown field");
  state = std::move(fresh);
  return {};
}

}  // namespace vireo::state
