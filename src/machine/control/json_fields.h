#pragma once

#include <fmt/format.h>

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "vocab/result.h"
#include "vocab/units.h"

namespace vireo::machine {

/// Structs with fields(), as in config.h, to JSON and back. Their members: bool, unsigned numbers, text, lists
/// and structs of those; an empty optional is left out.
template <typename T>
boost::json::value to_json(T const& value);
/// Unknown keys are an error with the nearest name where people write, and no matter where newer programs do.
enum class UnknownKeys : u8 { refuse, ignore };
/// A key that is missing leaves its member as it is.
template <typename T>
Result<> from_json(boost::json::value const& json, std::string const& path, T& value,
                   UnknownKeys unknown = UnknownKeys::refuse);

namespace detail {
template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};
template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

inline std::unexpected<Error> expected(std::string const& path, std::string_view what) {
  return fail(Errc::invalid, fmt::format("{}: {} is expected", path, what));
}

template <typename T>
Result<> read_number(boost::json::value const& json, std::string const& path, T& value) {
  auto failure = std::error_code{};
  auto const number = json.to_number<T>(failure);
  if (failure)
    return expected(path, fmt::format("a whole number of at most {}", std::numeric_limits<T>::max()));
  value = number;
  return {};
}

template <typename T>
Result<> read_struct(boost::json::object const& json, std::string const& path, T& value, UnknownKeys unknown) {
  for (auto const& [key, member] : json) {
    auto const name = std::string{key};
    auto known = std::vector<std::string>{};
    auto result = std::optional<Result<>>{};
    T::fields(value, [&](char const* each, auto& field) {
      known.emplace_back(each);
      if (name == each) result = from_json(member, path + "." + name, field, unknown);
    });
    if (!result && unknown == UnknownKeys::ignore) continue;
    if (!result) {
      auto const hint = nearest(name, known);
      return fail(Errc::invalid,
                  hint.empty()
                      ? fmt::format("{}.{}: unknown key; known are: {}", path, name, fmt::join(known, ", "))
                      : fmt::format("{}.{}: unknown key; did you mean '{}'?", path, name, hint));
    }
    TRY(std::move(*result));
  }
  return {};
}
}  // namespace detail

template <typename T>
boost::json::value to_json(T const& value) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::string>) {
    return boost::json::value(value);
  } else if constexpr (std::is_unsigned_v<T>) {
    return boost::json::value(u64{value});
  } else if constexpr (detail::IsVector<T>::value) {
    auto list = boost::json::array{};
    for (auto const& each : value) list.push_back(to_json(each));
    return list;
  } else {
    auto object = boost::json::object{};
    T::fields(value, [&](char const* name, auto const& field) {
      if constexpr (detail::IsOptional<std::remove_cvref_t<decltype(field)>>::value) {
        if (field) object[name] = to_json(*field);
      } else {
        object[name] = to_json(field);
      }
    });
    return object;
  }
}

template <typename T>
Result<> from_json(boost::json::value const& json, std::string const& path, T& value, UnknownKeys unknown) {
  if constexpr (std::is_same_v<T, bool>) {
    if (!json.is_bool()) return detail::expected(path, "true or false");
    value = json.get_bool();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!json.is_string()) return detail::expected(path, "text");
    value = std::string{json.get_string()};
  } else if constexpr (std::is_unsigned_v<T>) {
    return detail::read_number(json, path, value);
  } else if constexpr (detail::IsOptional<T>::value) {
    return from_json(json, path, value.emplace(), unknown);
  } else if constexpr (detail::IsVector<T>::value) {
    if (!json.is_array()) return detail::expected(path, "a list");
    value.clear();
    for (auto const& each : json.get_array()) {
      auto const place = fmt::format("{}[{}]", path, value.size());
      TRY(from_json(each, place, value.emplace_back(), unknown));
    }
  } else {
    if (!json.is_object()) return detail::expected(path, "an object");
    return detail::read_struct(json.get_object(), path, value, unknown);
  }
  return {};
}

}  // namespace vireo::machine
