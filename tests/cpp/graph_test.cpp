#include "pt2q/graph.h"

#include <gtest/gtest.h>

#include "pt2q/error.h"
#include "pt2q/schema.h"
#include "pt2q/symint.h"

namespace pt2q {
namespace {

TEST(Schema, ParsesDefaultsListsAndKeywordOnly) {
  const Schema s = parse_schema(
      "(Tensor input, Tensor? bias=None, SymInt[2] stride=1, *, ScalarType? dtype=None, float "
      "eps=1e-05) -> (Tensor, Tensor[])");
  ASSERT_EQ(s.args.size(), 5U);
  EXPECT_TRUE(s.args[1].optional);
  EXPECT_EQ(s.args[2].default_value.to_ints(), (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(s.positional_count(), 3U);
  EXPECT_DOUBLE_EQ(s.args[4].default_value.to_double(), 1e-5);
  EXPECT_TRUE(s.returns[1].is_list);
}

TEST(Schema, BadTextNamesThePosition) {
  EXPECT_THROW(parse_schema("(Tensor input"), ValueError);
  EXPECT_THROW(parse_schema("(Tensro input) -> Tensor"), ValueError);
}

TEST(Graph, UniqueNamesFollowFx) {
  Graph g;
  EXPECT_EQ(g.unique_name("conv2d"), "conv2d");
  EXPECT_EQ(g.unique_name("conv2d"), "conv2d_1");
  EXPECT_EQ(g.unique_name("conv2d_1"), "conv2d_2");
  EXPECT_EQ(g.unique_name("layer1.0.conv"), "layer1_0_conv");
}

TEST(Graph, UsersFollowEdits) {
  Graph g;
  Node* x = g.placeholder("x");
  Node* a = g.call_module("obs", {x});
  Node* b = g.call_module("obs2", {Value(Value::List{a, x})});
  g.output(b);
  EXPECT_EQ(x->users(), (std::vector<Node*>{a, b}));
  EXPECT_THROW(g.erase_node(a), ValueError);
  a->replace_all_uses_with(x);
  EXPECT_TRUE(a->users().empty());
  g.erase_node(a);
  EXPECT_TRUE(a->erased());
  g.lint();
  EXPECT_EQ(g.size(), 3U);
}

TEST(Graph, InsertionPointIsRestored) {
  Graph g;
  Node* x = g.placeholder("x");
  Node* out = g.output(x);
  {
    const auto point = g.inserting_before(out);
    Node* n = g.call_module("obs", {x});
    EXPECT_EQ(n->next(), out);
  }
  EXPECT_EQ(g.last(), out);
}

TEST(SymInt, AddedConstantsFold) {
  const SymInt n = SymInt::symbol("n", 8);
  const SymInt same = n + SymInt(2) - SymInt(3) + SymInt(1);  // a 3x3 convolution with padding 1
  EXPECT_EQ(same.to_string(), "n");
  EXPECT_EQ(same.hint(), 8);
  EXPECT_EQ((SymInt(3) + n + SymInt(-1)).to_string(), "(n + 2)");
  EXPECT_EQ((n + SymInt(4) + n).evaluate({{"n", 5}}), 14);
  const SymInt strided = floordiv(n + SymInt(2) - SymInt(3), SymInt(2)) + SymInt(1);
  EXPECT_EQ(strided, floordiv(n - SymInt(1), SymInt(2)) + SymInt(1));
}

}  // namespace
}  // namespace pt2q
