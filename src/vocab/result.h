#pragma once

#include <cstdint>
#include <expected>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

namespace vireo {

/// What went wrong, for callers that branch on it. Part of the API: append only.
enum class Errc : std::uint8_t { invalid, corrupt, unsupported, busy, no_space, io, denied, gone, not_found };

/// An error with the text that people read. Nothing parses the text; branch on code().
class [[nodiscard]] Error {
 public:
  Error(Errc code, std::string what, std::source_location at = std::source_location::current())
      : code_{code}, what_{std::move(what)}, at_{at} {}

  /// Says where it happened, outermost first: "disk0: qcow2: bad L2 entry".
  Error&& in(std::string_view where) && {
    what_.insert(0, std::string{where} + ": ");
    return std::move(*this);
  }
  Errc code() const { return code_; }
  std::string const& what() const { return what_; }
  std::source_location const& origin() const { return at_; }

 private:
  Errc code_;
  std::string what_;
  std::source_location at_;
};

template <typename T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Errc code, std::string what,
                                   std::source_location at = std::source_location::current()) {
  return std::unexpected{Error{code, std::move(what), at}};
}

}  // namespace vireo

/// Yields the value of a Result, or returns its error from the enclosing function.
#define TRY(expression)                                         \
  __extension__({                                               \
    auto&& result_of_try = (expression);                        \
    if (!result_of_try) [[unlikely]] {                          \
      return std::unexpected{std::move(result_of_try).error()}; \
    }                                                           \
    *std::move(result_of_try);                                  \
  })
/// The same, and adds where it happened.
#define TRY_IN(where, expression)                                         \
  __extension__({                                                         \
    auto&& result_of_try = (expression);                                  \
    if (!result_of_try) [[unlikely]] {                                    \
      return std::unexpected{std::move(result_of_try).error().in(where)}; \
    }                                                                     \
    *std::move(result_of_try);                                            \
  })
