#pragma once

#include "state/saved.h"

namespace vireo::bus {

/// Puts a part's saved state (a PCI function's configuration space, say) into its owner's, at ids from `base`.
inline void embed_state(state::Saved& owner, u32 base, state::Saved const& part) {
  for (auto const& [id, bytes] : part.fields) owner.fields[base + id] = bytes;
}

/// Takes it out again: what remains in `owner` is the owner's own.
inline state::Saved extract_state(state::Saved& owner, u32 base, std::string_view schema) {
  auto part = state::Saved{.schema = std::string{schema}, .fields = {}};
  auto const first = owner.fields.lower_bound(base);
  for (auto at = first; at != owner.fields.end(); ++at) part.fields[at->first - base] = at->second;
  owner.fields.erase(first, owner.fields.end());
  return part;
}

inline constexpr u32 config_state_base{0x1000};
inline constexpr std::string_view config_state_schema{"pci.config"};

}  // namespace vireo::bus
