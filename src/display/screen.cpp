#include "display/screen.h"

#include <array>

namespace vireo::display {
namespace {

// Code page 437 (IBM), as Unicode's CP437.TXT maps it; below 32 are the pictures that video cards show there.
constexpr std::array<std::string_view, 32> low{" ", "☺", "☻", "♥", "♦", "♣", "♠", "•", "◘", "○", "◙",
                                               "♂", "♀", "♪", "♫", "☼", "►", "◄", "↕", "‼", "¶", "§",
                                               "▬", "↨", "↑", "↓", "→", "←", "∟", "↔", "▲", "▼"};
constexpr std::array<std::string_view, 129> high{
    "⌂", "Ç", "ü", "é", "â", "ä", "à", "å", "ç", "ê", "ë", "è", "ï", "î", "ì", "Ä", "Å", "É", "æ",
    "Æ", "ô", "ö", "ò", "û", "ù", "ÿ", "Ö", "Ü", "¢", "£", "¥", "₧", "ƒ", "á", "í", "ó", "ú", "ñ",
    "Ñ", "ª", "º", "¿", "⌐", "¬", "½", "¼", "¡", "«", "»", "░", "▒", "▓", "│", "┤", "╡", "╢", "╖",
    "╕", "╣", "║", "╗", "╝", "╜", "╛", "┐", "└", "┴", "┬", "├", "─", "┼", "╞", "╟", "╚", "╔", "╩",
    "╦", "╠", "═", "╬", "╧", "╨", "╤", "╥", "╙", "╘", "╒", "╓", "╫", "╪", "┘", "┌", "█", "▄", "▌",
    "▐", "▀", "α", "ß", "Γ", "π", "Σ", "σ", "µ", "τ", "Φ", "Θ", "Ω", "δ", "∞", "φ", "ε", "∩", "≡",
    "±", "≥", "≤", "⌠", "⌡", "÷", "≈", "°", "∙", "·", "√", "ⁿ", "²", "■", " "};
constexpr std::string_view ascii{
    " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"};

}  // namespace

std::string_view utf8_of(u8 character) {
  if (character < 32) return low.at(character);
  if (character < 127) return ascii.substr(character - 32U, 1);
  return high.at(character - 127U);
}

std::string TextScreen::to_text() const {
  auto text = std::string{};
  for (auto row = u32{0}; row < rows; ++row) {
    auto line = std::string{};
    for (auto column = u32{0}; column < columns; ++column)
      line += utf8_of(characters.at(row * columns + column));
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace vireo::display
