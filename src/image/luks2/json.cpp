#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "image/luks2/base64.h"
#include "image/luks2/metadata.h"
#include "image/luks2/spec.h"
#include "vocab/numbers.h"

namespace vireo::image::luks2 {
namespace {

namespace json = boost::json;

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(Errc::corrupt, fmt::format("LUKS2 header: {}", what));
}
std::unexpected<Error> unsupported(std::string_view what) {
  return fail(Errc::unsupported, fmt::format("LUKS2: {} is not supported", what));
}
std::string text_of(json::string const& text) { return {text.data(), text.size()}; }

Result<u64> number_in(std::string_view text, std::string_view name) {
  auto number = u64{0};
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && end == text.data() + text.size()) return number;
  return corrupt(fmt::format("{} is '{}'", name, text.substr(0, 40)));
}

/// A JSON object with the name that errors give it.
class Node {
 public:
  Node(json::object const& object, std::string name) : object_{&object}, name_{std::move(name)} {}

  Result<Node> child(std::string_view key) const {
    auto const* const found = find(key);
    if (found == nullptr || !found->is_object()) return missing(key);
    return Node{found->get_object(), name_of(key)};
  }
  Result<std::string> text(std::string_view key) const {
    auto const* const found = find(key);
    if (found == nullptr || !found->is_string()) return missing(key);
    return text_of(found->get_string());
  }
  /// JSON numbers, and LUKS2's 64-bit ones, which are strings.
  Result<u64> number(std::string_view key, u64 most) const {
    auto const* const found = find(key);
    if (found == nullptr) return missing(key);
    auto value = u64{0};
    if (found->is_string()) {
      value = TRY(number_in(text_of(found->get_string()), name_of(key)));
    } else if (found->is_int64() && found->get_int64() >= 0) {
      value = static_cast<u64>(found->get_int64());
    } else if (found->is_uint64()) {
      value = found->get_uint64();
    } else {
      return missing(key);
    }
    if (value <= most) return value;
    return corrupt(fmt::format("{} is {}, more than {}", name_of(key), value, most));
  }
  Result<std::vector<std::byte>> bytes(std::string_view key) const {
    auto decoded = from_base64(TRY(text(key)));
    if (decoded && !decoded->empty() && decoded->size() <= 512) return *std::move(decoded);
    return missing(key);
  }
  Result<std::vector<u32>> numbers(std::string_view key) const {
    auto const* const found = find(key);
    if (found == nullptr || !found->is_array()) return missing(key);
    auto all = std::vector<u32>{};
    for (auto const& each : found->get_array()) {
      if (!each.is_string()) return missing(key);
      auto const value = TRY(number_in(text_of(each.get_string()), name_of(key)));
      if (value >= 1024) return missing(key);
      all.push_back(static_cast<u32>(value));
    }
    return all;
  }
  json::value const* find(std::string_view key) const { return object_->if_contains({key.data(), key.size()}); }
  json::object const& object() const { return *object_; }
  std::string const& name() const { return name_; }

 private:
  std::string name_of(std::string_view key) const { return fmt::format("{}.{}", name_, key); }
  std::unexpected<Error> missing(std::string_view key) const {
    return corrupt(name_of(key) + " is missing or wrong");
  }
  json::object const* object_;
  std::string name_;
};

Result<std::pair<std::string, std::string>> cipher_named(std::string const& encryption) {
  auto const dash = encryption.find('-');
  if (dash == std::string::npos || encryption.size() > 64)
    return unsupported("encryption '" + encryption.substr(0, 64) + "'");
  return std::pair{encryption.substr(0, dash), encryption.substr(dash + 1)};
}

Result<Derivation> parse_derivation(Node const& node) {
  auto result = Derivation{.kind = TRY(node.text("type")), .salt = TRY(node.bytes("salt"))};
  if (result.kind == "pbkdf2") {
    result.hash = TRY(node.text("hash"));
    result.rounds = static_cast<u32>(TRY(node.number("iterations", 64'000'000)));
    if (result.rounds == 0) return corrupt(node.name() + " has no iterations");
    return result;
  }
  if (result.kind != "argon2i" && result.kind != "argon2id")
    return unsupported("key derivation '" + result.kind.substr(0, 32) + "'");
  result.rounds = static_cast<u32>(TRY(node.number("time", ~u32{0})));
  result.memory_kib = static_cast<u32>(TRY(node.number("memory", ~u32{0})));
  result.lanes = static_cast<u32>(TRY(node.number("cpus", most_lanes)));
  auto const asks_little =
      result.memory_kib <= most_memory_kib && u64{result.rounds} * result.memory_kib <= most_kib_passes;
  if (result.rounds == 0 || result.lanes == 0 || result.memory_kib < 8 * result.lanes || !asks_little ||
      result.salt.size() < 8) {
    return corrupt(fmt::format(
        "{} asks for {} passes over {} KiB by {} threads; the most are {} KiB and {} KiB x "
        "passes",
        node.name(), result.rounds, result.memory_kib, result.lanes, most_memory_kib, most_kib_passes));
  }
  return result;
}

Result<Keyslot> parse_keyslot(Node const& node, u64 first, u64 end) {
  if (auto const type = TRY(node.text("type")); type != "luks2")
    return unsupported("key slot type '" + type.substr(0, 32) + "'");
  auto const split = TRY(node.child("af"));
  auto const area = TRY(node.child("area"));
  if (TRY(split.text("type")) != "luks1" || TRY(split.number("stripes", 4000)) != 4000)
    return unsupported(split.name() + " other than luks1 with 4000 stripes");
  if (TRY(area.text("type")) != "raw") return unsupported(area.name() + " other than raw");
  auto const encryption = TRY(area.text("encryption"));
  auto [cipher, mode] = TRY(cipher_named(encryption));
  auto const kdf = TRY(node.child("kdf"));
  auto keyslot = Keyslot{.key_bytes = static_cast<u32>(TRY(node.number("key_size", 64))),
                         .split_hash = TRY(split.text("hash")),
                         .cipher = std::move(cipher),
                         .mode = std::move(mode),
                         .area_key_bytes = static_cast<u32>(TRY(area.number("key_size", 64))),
                         .area = TRY(area.number("offset", most_payload)),
                         .area_bytes = TRY(area.number("size", most_payload)),
                         .derivation = TRY(parse_derivation(kdf))};
  if (node.find("priority") != nullptr) keyslot.priority = static_cast<u32>(TRY(node.number("priority", 2)));
  auto const material = align_up(u64{4000} * keyslot.key_bytes, 512);
  auto const inside = keyslot.area >= first && keyslot.area <= end && keyslot.area_bytes <= end - keyslot.area;
  if (keyslot.key_bytes >= 16 && material <= keyslot.area_bytes && inside) return keyslot;
  return corrupt(fmt::format("{} has a key of {} bytes and its area of {} bytes at offset {:#x}", node.name(),
                             keyslot.key_bytes, keyslot.area_bytes, keyslot.area));
}

Result<Segment> parse_segment(Node const& segments, u64 first) {
  if (segments.object().size() != 1) return unsupported(fmt::format("{} segments", segments.object().size()));
  auto const key = std::string{segments.object().begin()->key()};
  auto const node = TRY(segments.child(key));
  if (key != "0") return corrupt("the segment is not number 0");
  if (auto const type = TRY(node.text("type")); type != "crypt")
    return unsupported("segment type '" + type.substr(0, 32) + "'");
  if (node.find("integrity") != nullptr) return unsupported("integrity of sectors");
  auto const encryption = TRY(node.text("encryption"));
  auto [cipher, mode] = TRY(cipher_named(encryption));
  auto segment = Segment{.start = TRY(node.number("offset", most_payload)),
                         .first_number = TRY(node.number("iv_tweak", u64{1} << 60)),
                         .cipher = std::move(cipher),
                         .mode = std::move(mode),
                         .sector = TRY(node.number("sector_size", 4096))};
  auto const* const size = node.find("size");
  auto const dynamic = size != nullptr && size->is_string() && size->get_string() == "dynamic";
  if (!dynamic) {
    segment.bytes = TRY(node.number("size", u64{1} << 60));
    if (segment.bytes == 0) return corrupt(node.name() + ".size is 0");
  }
  if (segment.sector != 512 && segment.sector != 1024 && segment.sector != 2048 && segment.sector != 4096)
    return corrupt(fmt::format("{}.sector_size is {}", node.name(), segment.sector));
  if (segment.start < first || segment.start % 512 != 0 || segment.bytes % segment.sector != 0)
    return corrupt(fmt::format("the disk at offset {:#x}", segment.start));
  return segment;
}

Result<Digest> parse_digest(Node const& digests) {
  for (auto const& [key, value] : digests.object()) {
    auto const node = TRY(digests.child(std::string{key}));
    auto const segments = TRY(node.numbers("segments"));
    if (std::ranges::find(segments, 0u) == segments.end()) continue;
    if (auto const type = TRY(node.text("type")); type != "pbkdf2")
      return unsupported("digest type '" + type.substr(0, 32) + "'");
    auto digest = Digest{.hash = TRY(node.text("hash")),
                         .iterations = static_cast<u32>(TRY(node.number("iterations", 64'000'000))),
                         .salt = TRY(node.bytes("salt")),
                         .value = TRY(node.bytes("digest")),
                         .keyslots = TRY(node.numbers("keyslots"))};
    if (digest.iterations == 0) return corrupt(node.name() + " has no iterations");
    return digest;
  }
  return corrupt("no digest is the disk's");
}

/// Reencryption under way names itself here.
Result<> check_requirements(Node const& config) {
  if (config.find("requirements") == nullptr) return {};
  auto const requirements = TRY(config.child("requirements"));
  auto const* const mandatory = requirements.find("mandatory");
  if (mandatory == nullptr || !mandatory->is_array() || mandatory->get_array().empty()) return {};
  auto const& first = mandatory->get_array().front();
  auto const name = first.is_string() ? text_of(first.get_string()).substr(0, 40) : std::string{"unknown"};
  if (name.starts_with("online-reencrypt"))
    return unsupported("a disk whose reencryption is under way (" + name +
                       "; finish it: cryptsetup reencrypt)");
  return unsupported("requirement '" + name + "'");
}

/// Trying all slots must end in a bearable time.
Result<> check_cost(Metadata const& metadata) {
  auto kib_passes = u64{0};
  auto iterations = u64{0};
  for (auto const& [number, slot] : metadata.keyslots) {
    kib_passes += u64{slot.derivation.rounds} * slot.derivation.memory_kib;
    iterations += metadata.digest.iterations;
    if (slot.derivation.kind == "pbkdf2") iterations += slot.derivation.rounds;
  }
  if (kib_passes <= most_kib_passes_of_all && iterations <= most_iterations_of_all) return {};
  return corrupt(fmt::format("its key slots ask for {} KiB x passes and {} iterations; the most are {} and {}",
                             kib_passes, iterations, most_kib_passes_of_all, most_iterations_of_all));
}

Result<json::object> parse_object(std::string_view text) {
  auto error = json::error_code{};
  auto value = json::parse({text.data(), text.size()}, error);
  if (error || !value.is_object()) return corrupt("its JSON cannot be read");
  return std::move(value.get_object());
}

json::object write_keyslot(Keyslot const& slot) {
  auto const& how = slot.derivation;
  auto kdf = json::object{{"type", how.kind}};
  if (how.kind == "pbkdf2") {
    kdf["hash"] = how.hash;
    kdf["iterations"] = how.rounds;
  } else {
    kdf["time"] = how.rounds;
    kdf["memory"] = how.memory_kib;
    kdf["cpus"] = how.lanes;
  }
  kdf["salt"] = to_base64(how.salt);
  auto area = json::object{{"type", "raw"},
                           {"offset", std::to_string(slot.area)},
                           {"size", std::to_string(slot.area_bytes)},
                           {"encryption", slot.cipher + "-" + slot.mode},
                           {"key_size", slot.area_key_bytes}};
  return {{"type", "luks2"},
          {"key_size", slot.key_bytes},
          {"af", {{"type", "luks1"}, {"stripes", 4000}, {"hash", slot.split_hash}}},
          {"area", std::move(area)},
          {"kdf", std::move(kdf)}};
}

std::string serialized(json::object const& object) { return json::serialize(object); }

json::array* array_in(json::value& value, char const* key) {
  auto* const found = value.is_object() ? value.get_object().if_contains(key) : nullptr;
  return found != nullptr && found->is_array() ? &found->get_array() : nullptr;
}
bool holds(json::array const& all, std::string_view word) {
  return std::ranges::any_of(all, [&](json::value const& each) {
    return each.is_string() && std::string_view{each.get_string().data(), each.get_string().size()} == word;
  });
}
json::array without(json::array const& all, std::string_view word) {
  auto left = json::array{};
  for (auto const& each : all) {
    if (!holds({each}, word)) left.push_back(each);
  }
  return left;
}

}  // namespace

Result<Metadata> parse_metadata(std::string_view text, u64 area_bytes) {
  auto const object = TRY(parse_object(text));
  auto const root = Node{object, "header"};
  auto const config = TRY(root.child("config"));
  TRY(check_requirements(config));
  auto metadata = Metadata{.keyslots_bytes = TRY(config.number("keyslots_size", most_keyslots_bytes))};
  auto const first = 2 * area_bytes;
  if (TRY(config.number("json_size", largest_area)) != area_bytes - binary_bytes)
    return corrupt("config.json_size is not that of the binary header");
  auto const segments = TRY(root.child("segments"));
  metadata.segment = TRY(parse_segment(segments, first));
  if (metadata.keyslots_bytes > metadata.segment.start - first)
    return corrupt("the key slots reach into the disk");
  auto const digests = TRY(root.child("digests"));
  metadata.digest = TRY(parse_digest(digests));
  auto const keyslots = TRY(root.child("keyslots"));
  if (keyslots.object().size() > slot_count) return corrupt("more than 32 key slots");
  for (auto const& [key, value] : keyslots.object()) {
    auto const number = TRY(number_in(std::string{key}, "a key slot's number"));
    if (number >= slot_count) return corrupt(fmt::format("key slot {}", number));
    auto const slot = TRY(keyslots.child(std::string{key}));
    metadata.keyslots[static_cast<u32>(number)] =
        TRY(parse_keyslot(slot, first, first + metadata.keyslots_bytes));
  }
  TRY(check_cost(metadata));
  return metadata;
}

std::string write_metadata(Metadata const& metadata, u64 area_bytes) {
  auto keyslots = json::object{};
  auto numbers = json::array{};
  for (auto const& [number, slot] : metadata.keyslots) {
    keyslots[std::to_string(number)] = write_keyslot(slot);
    numbers.push_back(json::string{std::to_string(number)});
  }
  auto const& segment = metadata.segment;
  auto const& digest = metadata.digest;
  auto segments = json::object{{"0",
                                {{"type", "crypt"},
                                 {"offset", std::to_string(segment.start)},
                                 {"size", "dynamic"},
                                 {"iv_tweak", std::to_string(segment.first_number)},
                                 {"encryption", segment.cipher + "-" + segment.mode},
                                 {"sector_size", segment.sector}}}};
  auto digests = json::object{};
  digests["0"] = json::object{{"type", "pbkdf2"},
                              {"keyslots", std::move(numbers)},
                              {"segments", json::array{"0"}},
                              {"hash", digest.hash},
                              {"iterations", digest.iterations},
                              {"salt", to_base64(digest.salt)},
                              {"digest", to_base64(digest.value)}};
  return serialized({{"keyslots", std::move(keyslots)},
                     {"tokens", json::object{}},
                     {"segments", std::move(segments)},
                     {"digests", std::move(digests)},
                     {"config",
                      {{"json_size", std::to_string(area_bytes - binary_bytes)},
                       {"keyslots_size", std::to_string(metadata.keyslots_bytes)}}}});
}

Result<std::string> with_keyslot(std::string const& text, u32 number, Keyslot const& keyslot) {
  auto object = TRY(parse_object(text));
  auto const name = std::to_string(number);
  auto* const keyslots = object.if_contains("keyslots");
  auto* const digests = object.if_contains("digests");
  if (keyslots == nullptr || !keyslots->is_object() || digests == nullptr || !digests->is_object())
    return corrupt("no key slots or digests");
  keyslots->get_object()[name] = write_keyslot(keyslot);
  for (auto& [key, digest] : digests->get_object()) {
    auto const* const segments = array_in(digest, "segments");
    auto* const users = array_in(digest, "keyslots");
    if (segments == nullptr || users == nullptr || !holds(*segments, "0")) continue;
    users->push_back(json::string{name});
    return serialized(object);
  }
  return corrupt("no digest is the disk's");
}

Result<std::string> without_keyslot(std::string const& text, u32 number) {
  auto object = TRY(parse_object(text));
  auto const name = std::to_string(number);
  if (auto* const keyslots = object.if_contains("keyslots"); keyslots != nullptr && keyslots->is_object())
    keyslots->get_object().erase(name);
  for (auto const* const group : {"digests", "tokens"}) {
    auto* const found = object.if_contains(group);
    if (found == nullptr || !found->is_object()) continue;
    for (auto& [key, each] : found->get_object()) {
      if (auto* const users = array_in(each, "keyslots")) *users = without(*users, name);
    }
  }
  return serialized(object);
}

}  // namespace vireo::image::luks2
