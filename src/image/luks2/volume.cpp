#include "image/luks2/volume.h"

#include <fmt/format.h>

#include "image/key_ring.h"
#include "image/luks2/keyslot.h"

namespace vireo::image::luks2 {

Result<luks::Cipher> unlock(Header const& header, luks::ReadHeader const& read, std::string const& path) {
  auto const passphrases = offered_passphrases();
  if (passphrases.empty())
    return fail(Errc::denied, fmt::format("{}: is encrypted; give its passphrase: --key-file FILE", path));
  auto const& segment = header.metadata.segment;
  for (auto const& passphrase : passphrases) {
    auto key = TRY_IN(path, find_key(header.metadata, read, std::as_bytes(std::span{passphrase})));
    if (!key) continue;
    return luks::Cipher::create(segment.cipher, segment.mode, *std::move(key),
                                {.bytes = segment.sector, .first = segment.first_number});
  }
  return fail(Errc::denied, fmt::format("{}: is encrypted, and the passphrase is wrong", path));
}

std::vector<Fact> describe_header(Header const& header) {
  auto const& metadata = header.metadata;
  auto facts = std::vector<Fact>{{"version", u64{2}}, {"uuid", header.uuid}};
  if (!header.label.empty()) facts.push_back({"label", header.label});
  if (!header.subsystem.empty()) facts.push_back({"subsystem", header.subsystem});
  facts.push_back({"sequence", header.sequence});
  facts.push_back({"cipher", metadata.segment.cipher + "-" + metadata.segment.mode});
  facts.push_back({"sector size", metadata.segment.sector});
  facts.push_back({"payload offset", metadata.segment.start});
  auto slots = FactList{{}, true};
  for (auto const& [number, slot] : metadata.keyslots) {
    auto const& how = slot.derivation;
    auto each = FactList{{{"number", u64{number}}, {"pbkdf", how.kind}}, false};
    if (how.kind == "pbkdf2") {
      each.facts.push_back({"iters", u64{how.rounds}});
      each.facts.push_back({"hash", how.hash});
    } else {
      each.facts.push_back({"time", u64{how.rounds}});
      each.facts.push_back({"memory", u64{how.memory_kib}});
      each.facts.push_back({"threads", u64{how.lanes}});
    }
    each.facts.push_back({"key offset", slot.area});
    slots.facts.push_back({"", std::move(each)});
  }
  facts.push_back({"slots", std::move(slots)});
  facts.push_back({"first header copy", header.first_fault.empty() ? "whole" : header.first_fault});
  facts.push_back({"second header copy", header.second_fault.empty() ? "whole" : header.second_fault});
  return facts;
}

}  // namespace vireo::image::luks2
