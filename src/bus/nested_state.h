#pragma once

#include <cstring>

#include "state/saved.h"

namespace vireo::bus {

/// Puts `inner` into `outer`: its schema as field `base`, its fields from `base` + 1. `inner` has ids below
/// 999.
inline void nest(state::Saved& outer, u32 base, state::Saved const& inner) {
  auto const name = std::as_bytes(std::span{inner.schema});
  outer.fields[base].assign(name.begin(), name.end());
  for (auto const& [id, bytes] : inner.fields) outer.fields[base + 1 + id] = bytes;
}

/// Takes out what nest() put in, leaving the rest in `outer`. Without it: an empty schema.
inline state::Saved unnest(state::Saved& outer, u32 base) {
  auto inner = state::Saved{};
  auto const first = outer.fields.lower_bound(base);
  auto const last = outer.fields.lower_bound(base + 1000);
  for (auto it = first; it != last; ++it) {
    if (it->first != base) {
      inner.fields[it->first - base - 1] = std::move(it->second);
      continue;
    }
    inner.schema.resize(it->second.size());
    std::memcpy(inner.schema.data(), it->second.data(), it->second.size());
  }
  outer.fields.erase(first, last);
  return inner;
}

}  // namespace vireo::bus
