#include "display/keys.h"

#include <gtest/gtest.h>

#include "display/screen.h"

namespace vireo::display {
namespace {

TEST(Keys, ArePressedInOrderAndLetGoInReverse) {
  EXPECT_EQ(press({"ctrl", "alt", "delete"}).value(),
            (ScanCodes{0x1D, 0x38, 0xE0, 0x53, 0xE0, 0xD3, 0xB8, 0x9D}));
}

TEST(Keys, TypeLettersDigitsAndWhatNeedsShift) {
  EXPECT_EQ(type("a~\n").value(),
            (std::vector<ScanCodes>{{0x1E, 0x9E}, {0x2A, 0x29, 0xA9, 0xAA}, {0x1C, 0x9C}}));
  EXPECT_EQ(type("Q").value().front(), (ScanCodes{0x2A, 0x10, 0x90, 0xAA}));
}

TEST(Keys, HaveACodeForEveryPrintableCharacter) {
  for (auto character = ' '; character <= '~'; ++character) {
    EXPECT_TRUE(type(std::string(1, character))) << character;
  }
}

TEST(Keys, NameTheNearestOfAnUnknownOne) {
  EXPECT_EQ(press({"crtl"}).error().what(), "unknown key 'crtl'; did you mean 'ctrl'?");
  EXPECT_EQ(type("\x01").error().code(), Errc::invalid);
}

TEST(TextScreen, BecomesLinesWithoutBlanksAtTheirEnds) {
  auto const screen =
      TextScreen{.columns = 4, .rows = 2, .characters = {'A', ' ', 0xC4, ' ', ' ', ' ', ' ', ' '}};
  EXPECT_EQ(screen.to_text(), "A ─\n\n");
}

TEST(TextScreen, HasACharacterForEachByte) {
  for (auto i = 0; i < 256; ++i) EXPECT_FALSE(utf8_of(static_cast<u8>(i)).empty()) << i;
  EXPECT_EQ(utf8_of('~'), "~");
  EXPECT_EQ(utf8_of(0xB3), "│");
  EXPECT_EQ(utf8_of(0xFE), "■");
}

}  // namespace
}  // namespace vireo::display
