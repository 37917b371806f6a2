#include "engine/soft/code_memory.h"

#include <gtest/gtest.h>

namespace vireo::engine::soft {
namespace {

constexpr u8 return_seven[]{0xb8, 7, 0, 0, 0, 0xc3};  // mov eax, 7; ret

TEST(CodeMemory, RunsWhatWasAdded) {
  auto memory = CodeMemory{1024 * 1024};

  auto const code = memory.add(std::as_bytes(std::span{return_seven}));

  ASSERT_TRUE(code.has_value());
  EXPECT_TRUE(memory.contains(*code));
  // SOUND: the six bytes above are a complete function.
  EXPECT_EQ(reinterpret_cast<int (*)()>(reinterpret_cast<std::uintptr_t>(*code))(), 7);
}

TEST(CodeMemory, RefusesToGrowPastItsLimit) {
  auto memory = CodeMemory{256 * 1024};
  ASSERT_TRUE(memory.reserve(256 * 1024).has_value());

  auto const code = memory.add(std::as_bytes(std::span{return_seven}));

  ASSERT_FALSE(code.has_value());
  EXPECT_EQ(code.error().code(), Errc::no_space);
}

TEST(CodeMemory, SlotsAreSeenThroughBothViews) {
  auto memory = CodeMemory{256 * 1024};
  auto const slot = memory.reserve(16);
  ASSERT_TRUE(slot.has_value());

  slot->writable[3] = 0x5a;

  EXPECT_EQ(slot->executable[3], 0x5a);
  EXPECT_FALSE(memory.contains(slot->writable));
}

}  // namespace
}  // namespace vireo::engine::soft
