#include "machine/control/verb_table.h"

#include <gtest/gtest.h>

namespace vireo::machine {
namespace {

struct Order {
  std::string dish;
  u32 count{1};
  bool hot{};
  std::vector<std::string> extras;
  std::optional<u64> price;
  static void fields(auto&& s, auto&& f) {
    f("dish", s.dish);
    f("count", s.count);
    f("hot", s.hot);
    f("extras", s.extras);
    f("price", s.price);
  }
};

class VerbTableTest : public ::testing::Test {
 protected:
  VerbTableTest() {
    verbs.add<Order>("order", "bring food", [](Order const& order) -> Result<Order> {
      if (order.dish == "nothing") return fail(Errc::not_found, "there is no such dish");
      return order;
    });
  }
  VerbTable verbs;
};

TEST_F(VerbTableTest, AnswersWithTheRequestsId) {
  EXPECT_EQ(verbs.answer(R"({"id":"x7","verb":"order","arguments":{"dish":"soup","hot":true,"extras":["a"]}})"),
            R"({"id":"x7","result":{"dish":"soup","count":1,"hot":true,"extras":["a"]}})");
}

TEST_F(VerbTableTest, NeedsNoArguments) {
  EXPECT_EQ(verbs.answer(R"({"verb":"order"})"), R"({"result":{"dish":"","count":1,"hot":false,"extras":[]}})");
}

TEST_F(VerbTableTest, GivesTheErrorOfTheVerb) {
  EXPECT_EQ(verbs.answer(R"({"id":1,"verb":"order","arguments":{"dish":"nothing"}})"),
            R"({"id":1,"error":{"code":"not_found","message":"there is no such dish"}})");
}

TEST_F(VerbTableTest, NamesTheNearestVerbAndKey) {
  EXPECT_EQ(verbs.answer(R"({"verb":"ordr"})"),
            R"({"error":{"code":"invalid","message":"unknown verb 'ordr'; did you mean 'order'?"}})");
  EXPECT_EQ(verbs.answer(R"({"verb":"order","arguments":{"dsh":"soup"}})"),
            R"({"error":{"code":"invalid","message":"arguments.dsh: unknown key; did you mean 'dish'?"}})");
  EXPECT_EQ(
      verbs.answer(R"({"verb":"order","argments":{}})"),
      R"({"error":{"code":"invalid","message":"argments: unknown key; known are: id, verb, arguments"}})");
}

TEST_F(VerbTableTest, RefusesValuesOfOtherKinds) {
  auto const answers = [&](std::string_view arguments) {
    return verbs.answer(fmt::format(R"({{"verb":"order","arguments":{}}})", arguments));
  };
  EXPECT_NE(answers(R"({"count":-1})").find("arguments.count: a whole number"), std::string::npos);
  EXPECT_NE(answers(R"({"count":4294967296})").find("arguments.count"), std::string::npos);
  EXPECT_NE(answers(R"({"count":1.5})").find("arguments.count"), std::string::npos);
  EXPECT_NE(answers(R"({"hot":1})").find("arguments.hot: true or false"), std::string::npos);
  EXPECT_NE(answers(R"({"extras":[1]})").find("arguments.extras[0]: text"), std::string::npos);
  EXPECT_NE(answers("[]").find("arguments: an object"), std::string::npos);
}

TEST_F(VerbTableTest, AnswersWhatIsNoRequest) {
  EXPECT_NE(verbs.answer("").find("not JSON"), std::string::npos);
  EXPECT_NE(verbs.answer(std::string(100'000, '[')).find("not JSON"), std::string::npos);
  EXPECT_NE(verbs.answer("7").find("an object is expected"), std::string::npos);
  EXPECT_NE(verbs.answer(R"({"verb":7})").find("verb: text is expected"), std::string::npos);
}

TEST_F(VerbTableTest, TellsItsVerbsAndTheirArguments) {
  auto const help = verbs.help();
  ASSERT_EQ(help.verbs.size(), 1U);
  EXPECT_EQ(help.verbs[0].verb, "order");
  EXPECT_EQ(help.verbs[0].arguments, (std::vector<std::string>{"dish", "count", "hot", "extras", "price"}));
}

}  // namespace
}  // namespace vireo::machine
