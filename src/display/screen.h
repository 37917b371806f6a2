#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vocab/integers.h"

namespace vireo::display {

/// A screen of characters, as in VGA's text modes.
struct TextScreen {
  u32 columns{}, rows{};
  std::vector<u8> characters;  // code page 437, row by row
  std::vector<u8> attributes;  // foreground in bits 3..0, background above
  std::optional<u32> cursor;   // an index into the characters; nothing: it is off

  /// Rows as UTF-8 without blanks at their ends.
  std::string to_text() const;
};

/// A picture of a screen: 0x00RRGGBB, row by row.
struct Picture {
  u32 width{}, height{};
  std::vector<u32> pixels;
};

/// What a display device shows at the moment. Executor only.
class Screen {
 public:
  virtual ~Screen() = default;
  /// Nothing: it shows a picture that is not made of characters.
  virtual std::optional<TextScreen> text() const = 0;
  virtual Picture picture() const = 0;
};

/// A character of code page 437 as UTF-8.
std::string_view utf8_of(u8 character);

}  // namespace vireo::display
