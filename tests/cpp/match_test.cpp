#include "ir/match.h"

#include <gtest/gtest.h>

#include "ir/text.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

const char* kGraph = R"(graph():
    %x : float32[2, 3] = placeholder[x]
    %y : float32[2, 3] = placeholder[y]
    %add : float32[2, 3] = aten.add.Tensor(%x, %y)
    %relu : float32[2, 3] = aten.relu.default(%add)
    %add_1 : float32[2, 3] = aten.add.Tensor(%relu, %add)
    %relu_1 : float32[2, 3] = aten.relu.default(%add_1)
    return %relu_1
)";

TEST(Pattern, MatchesWhatIsUsedInsideOnly) {
  const auto graph = parse_graph(kGraph);
  const Pattern pattern("%s = aten.add.Tensor(%a, %b)\n%r = aten.relu.default(%s)\nreturn %r");
  const auto matches = pattern.find_all(*graph);
  ASSERT_EQ(matches.size(), 1U);  // %add has a second user
  EXPECT_EQ(matches[0].root()->name(), "relu_1");
  EXPECT_EQ(matches[0].node("a")->name(), "relu");
  EXPECT_EQ(matches[0].node("b")->name(), "add");
}

TEST(Pattern, SecondResultMayBeUsedOutside) {
  const auto graph = parse_graph(kGraph);
  const Pattern pattern("%s = aten.add.Tensor(%a, %b)\n%r = aten.relu.default(%s)\nreturn %r, %s");
  EXPECT_EQ(pattern.find_all(*graph).size(), 2U);
}

TEST(Pattern, CommutativeOperatorsMatchInBothOrders) {
  const auto graph = parse_graph(kGraph);
  const Pattern pattern("%r = aten.relu.default(%s)\n%t = aten.add.Tensor(%s, %r)\nreturn %t, %r");
  const auto matches = pattern.find_all(*graph);
  ASSERT_EQ(matches.size(), 1U);
  EXPECT_EQ(matches[0].node("s")->name(), "add");
}

TEST(Pattern, VariablesBindOnceAndDefaultsMustHold) {
  const auto graph = parse_graph(R"(
    %x : float32[2, 3] = placeholder[x]
    %a = aten.transpose.int(%x, 0, 1)
    %b = aten.transpose.int(%a, 0, 1)
    %c = aten.transpose.int(%b, 1, 0)
    %d = aten.add.Tensor(%c, %c, alpha=2)
    return %d
)");
  const Pattern same(
      "%p = aten.transpose.int(%x, $i, $j)\n%q = aten.transpose.int(%p, $i, $j)\nreturn %q");
  const auto matches = same.find_all(*graph);
  ASSERT_EQ(matches.size(), 1U);
  EXPECT_EQ(matches[0].root()->name(), "b");
  EXPECT_EQ(matches[0].value("j").to_int(), 1);
  EXPECT_THROW(matches[0].value("k"), KeyError);
  EXPECT_FALSE(Pattern("%d = aten.add.Tensor(%a, %a)\nreturn %d").match_at(graph->find("d")));
  EXPECT_TRUE(Pattern("%d = aten.add.Tensor(%a, %a, ...)\nreturn %d").match_at(graph->find("d")));
  EXPECT_TRUE(
      Pattern("%d = aten.add.Tensor(%a, %a, alpha=$k)\nreturn %d").match_at(graph->find("d")));
}

TEST(Pattern, OptionalNodesAndAlternatives) {
  const auto graph = parse_graph(R"(
    %x : float32[2, 3] = placeholder[x]
    %w : float32[4, 3] = get_attr[w]
    %l = aten.linear.default(%x, %w)
    %t = aten.tanh.default(%l)
    return %t
)");
  const Pattern pattern(
      "%w = get_attr\n%l = aten.linear.default(%x, %w, %b?)\n"
      "%u = aten.{relu,tanh}.default(%l)\nreturn %u");
  const auto match = pattern.match_at(graph->find("t"));
  ASSERT_TRUE(match);
  EXPECT_EQ(match->node_or_null("b"), nullptr);
  EXPECT_TRUE(match->value("b").is_none());
  EXPECT_EQ(match->interior.size(), 3U);
}

TEST(Pattern, MistakesAreNamed) {
  EXPECT_THROW(Pattern("%a = aten.relu.default(%x)"), ValueError);  // no return
  EXPECT_THROW(Pattern("return %a"), ValueError);                   // not defined
  EXPECT_THROW(Pattern("%a = aten.relu.default(%x, 1, 2)\nreturn %a"), ValueError);
  EXPECT_THROW(Pattern("%a = aten.relu.default(wrong=%x)\nreturn %a"), ValueError);
  EXPECT_THROW(Pattern("%a = aten.nothing.default(%x)\nreturn %a"), NotImplementedError);
}

TEST(Replacement, RewritesAndCleansUp) {
  const auto graph = parse_graph(kGraph);
  const Pattern pattern("%s = aten.add.Tensor(%a, %b)\n%r = aten.relu.default(%s)\nreturn %r");
  const Replacement replacement("%m = aten.mul.Tensor(%b, %a)\nreturn %m");
  const auto matches = pattern.find_all(*graph);
  ASSERT_EQ(matches.size(), 1U);
  replacement.apply(*graph, matches[0]);
  graph->lint();
  EXPECT_EQ(graph->to_string(), R"(graph():
    %x : float32[2, 3] = placeholder[x]
    %y : float32[2, 3] = placeholder[y]
    %add : float32[2, 3] = aten.add.Tensor(%x, %y)
    %relu : float32[2, 3] = aten.relu.default(%add)
    %mul_tensor : float32[2, 3] = aten.mul.Tensor(%add, %relu)
    return %mul_tensor
)");
}

}  // namespace
}  // namespace pt2q
