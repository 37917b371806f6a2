#include "vocab/base64.h"

#include <gtest/gtest.h>

namespace vireo {
namespace {

std::span<u8 const> bytes_of(std::string_view text) {
  // SOUND: characters seen as bytes.
  return {reinterpret_cast<u8 const*>(text.data()), text.size()};
}

TEST(Base64, GivesTheVectorsOfItsSpecification) {  // RFC 4648, chapter 10
  EXPECT_EQ(to_base64(bytes_of("")), "");
  EXPECT_EQ(to_base64(bytes_of("f")), "Zg==");
  EXPECT_EQ(to_base64(bytes_of("fo")), "Zm8=");
  EXPECT_EQ(to_base64(bytes_of("foobar")), "Zm9vYmFy");
}

TEST(Base64, ReadsWhatItWrites) {
  for (auto length = std::size_t{0}; length < 70; ++length) {
    auto bytes = std::vector<u8>(length);
    for (auto i = std::size_t{0}; i < length; ++i) bytes[i] = static_cast<u8>(i * 37 + length);
    EXPECT_EQ(from_base64(to_base64(bytes)).value(), bytes);
  }
}

TEST(Base64, RefusesOtherText) {
  for (auto const* const text : {"Zg=", "Z===", "Zg==Zg==", "Zm9*", "====", "Zg=a"})
    EXPECT_FALSE(from_base64(text)) << text;
}

}  // namespace
}  // namespace vireo
