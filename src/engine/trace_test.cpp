#include "engine/trace.h"

#include <gtest/gtest.h>

namespace vireo::engine {
namespace {

TEST(Trace, ReadsAListOfWords) {
  EXPECT_EQ(parse_trace("blocks,tlb,exits").value(), trace_blocks | trace_tlb | trace_exits);
  EXPECT_EQ(parse_trace("counters").value(), u32{trace_counters});
  EXPECT_EQ(parse_trace("").value(), 0u);
}

TEST(Trace, RefusesAWordThatItDoesNotKnow) {
  auto const parsed = parse_trace("blocks,exit");

  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().what(), "'exit' is not one of blocks, tlb, exits, exceptions, registers, counters");
}

}  // namespace
}  // namespace vireo::engine
