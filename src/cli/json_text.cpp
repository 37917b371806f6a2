#include "cli/json_text.h"

#include <fmt/format.h>

namespace vireo::cli {

std::string JsonText::quoted(std::string_view text) {
  auto result = std::string{"\""};
  for (auto const letter : text) {
    if (letter == '"' || letter == '\\') result += '\\';
    if (static_cast<unsigned char>(letter) < 0x20)
      result += fmt::format("\\u{:04x}", letter);
    else
      result += letter;
  }
  return result + "\"";
}

std::string JsonText::dump(std::size_t indent) const {
  if (kind_ == Kind::plain) return text_;
  auto const object = kind_ == Kind::object;
  auto result = std::string{object ? "{" : "["};
  for (auto index = std::size_t{0}; index < members_.size(); ++index) {
    auto const& [key, value] = members_[index];
    result += index == 0 ? "\n" : ",\n";
    result += std::string((indent + 1) * 4, ' ');
    if (object) result += quoted(key) + ": ";
    result += value.dump(indent + 1);
  }
  return result + "\n" + std::string(indent * 4, ' ') + (object ? "}" : "]");
}

}  // namespace vireo::cli
