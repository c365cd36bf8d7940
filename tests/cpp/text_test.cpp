#include "ir/text.h"

#include <gtest/gtest.h>

#include "pt2q/error.h"
#include "pt2q/graph.h"

namespace pt2q {
namespace {

void expect_round_trip(const std::string& source) {
  const auto graph = parse_graph(source);
  graph->lint();
  EXPECT_EQ(graph->to_string(), source);
}

TEST(GraphText, RoundTripOfModulesAttributesAndMeta) {
  expect_round_trip(
      "graph(s0=4):\n"
      "    %x : float32[s0, 3] = placeholder[x]\n"
      "    %conv1_weight : float32[8, 3] = get_attr[layer1.0.conv.weight]\n"
      "    %obs : float32[s0, 3] = call_module[activation_post_process_0](%x)\n"
      "    %other : (int64[2], None, float32[(2*s0 + 1)]@xpu) = call_module[m](%obs)\n"
      "    %size : int(s0) = call_module[sym](%obs, [%x, %obs])\n"
      "    return [%obs, [%size, %conv1_weight]]\n");
}

TEST(GraphText, RoundTripOfEveryLiteral) {
  expect_round_trip(
      "graph(s0=4, s1=9):\n"
      "    %x : float32[s0, s1] = placeholder[x]\n"
      "    %a = call_module[m](%x, 1, -2, 0.5, 1e-05, inf, -inf, True, False, None, float32, "
      "quint8, "
      "channels_last, strided, device(xpu:1), [1, 2], [], [[1.0], %x], \"a \\\"b\\\"\\n\", "
      "max((s0//2), (s1%3)), s0*s1)\n"
      "    return %a\n");
}

TEST(GraphText, SymbolHintsSurvive) {
  const auto graph =
      parse_graph("graph(s0=6):\n    %x : float32[s0*2] = placeholder[x]\n    return %x\n");
  const auto& meta = graph->find("x")->meta.val.as<TensorMeta>();
  EXPECT_EQ(meta.sizes[0].hint(), 12);
  EXPECT_EQ(meta.sizes[0].evaluate({{"s0", 5}}), 10);
}

TEST(GraphText, NamesAreKeptWhereTheyDifferFromTargets) {
  expect_round_trip(
      "graph():\n"
      "    %arg0_1 = placeholder[output]\n"
      "    %output = call_module[obs](%arg0_1)\n"
      "    %output_1 = output(%output)\n");
}

TEST(GraphText, CommentsAndFreeLayout) {
  const auto graph = parse_graph(
      "# a comment\n\n%x = placeholder[x]  # the input\n%y = call_module[m](%x,\n   [1,\n 2])\n"
      "return %y\n");
  EXPECT_EQ(graph->size(), 3U);
  EXPECT_EQ(graph->find("y")->arg(1).to_ints(), (std::vector<int64_t>{1, 2}));
}

TEST(GraphText, ErrorsNameTheLine) {
  const auto message = [](const std::string& source) -> std::string {
    try {
      parse_graph(source);
    } catch (const ValueError& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_NE(message("%x = placeholder[x]\n%y = call_module[m](%z)\nreturn %y").find("line 2"),
            std::string::npos);
  EXPECT_NE(message("%x = placeholder[x]\n%x = placeholder[x]\n").find("line 2"),
            std::string::npos);
  EXPECT_NE(message("%x : float32[s0] = placeholder[x]").find("s0"), std::string::npos);
  EXPECT_NE(message("%x = placeholder[x").find("unclosed"), std::string::npos);
  EXPECT_NE(message("%x = call_module[m](\"abc)").find("unclosed string"), std::string::npos);
  EXPECT_NE(message("%x = call_module[m](99999999999999999999)").find("bad number"),
            std::string::npos);
  EXPECT_NE(message("%x = call_module[m](_)").find("patterns only"), std::string::npos);
  EXPECT_THROW(parse_graph("%x = aten.no_such_op.default()\n"), NotImplementedError);
}

}  // namespace
}  // namespace pt2q
