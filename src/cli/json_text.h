#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vocab/integers.h"

namespace vireo::cli {

/// A JSON value on its way to a terminal: members stay in the order in which they were added.
class JsonText {
 public:
  JsonText(bool value) : text_{value ? "true" : "false"} {}
  JsonText(u64 value) : text_{std::to_string(value)} {}
  JsonText(u32 value) : JsonText{u64{value}} {}
  JsonText(std::string_view value) : text_{quoted(value)} {}
  JsonText(std::string const& value) : JsonText{std::string_view{value}} {}
  JsonText(char const* value) : JsonText{std::string_view{value}} {}
  static JsonText object() { return JsonText{Kind::object}; }
  static JsonText array() { return JsonText{Kind::array}; }

  JsonText& add(std::string_view key, JsonText value) {
    members_.emplace_back(key, std::move(value));
    return *this;
  }
  JsonText& add(JsonText value) { return add({}, std::move(value)); }

  /// Indented by four, as qemu-img prints.
  std::string dump(std::size_t indent = 0) const;
  static std::string quoted(std::string_view text);

 private:
  enum class Kind : u8 { plain, object, array };
  explicit JsonText(Kind kind) : kind_{kind} {}
  Kind kind_{};
  std::string text_{};
  std::vector<std::pair<std::string, JsonText>> members_{};
};

}  // namespace vireo::cli
