#pragma once

#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::state {

/// One device's saved state: field id -> little-endian bytes. `schema` names its meaning for ever.
struct Saved {
  std::string schema;
  std::map<u32, std::vector<std::byte>> fields;
  bool operator==(Saved const&) const = default;
};

/// A state struct has `static constexpr std::string_view schema` and one list of its fields:
///
///   static void fields(auto&& s, auto&& f) { f(1, "ier", s.ier); f(2, "lcr", s.lcr); }
///
/// Ids are never reused, the list is append-only. Field types: integers, bool, enums, std::array and trivially
/// copyable aggregates without padding or pointers, std::vector of those.
template <typename State>
Saved save(State const& state);

/// Missing fields keep the value that `state` has (its reset value); unknown ids and wrong sizes are errors
/// (Errc::corrupt) that name schema and field, and leave `state` as it was.
template <typename State>
Result<> restore(Saved const& saved, State& state);

}  // namespace vireo::state

#include "state/saved_inl.h"
