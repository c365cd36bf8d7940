#include "ir/view_inverse.h"

#include <set>

#include "pt2q/op.h"

namespace pt2q {
namespace {

Value argument(const Node& node, size_t i, Value otherwise = Value()) {
  return i < node.args().size() ? node.args()[i] : std::move(otherwise);
}

// What permute(dims) is undone by.
Value inverse_order(const Value& dims) {
  const auto order = dims.to_ints();
  const auto rank = static_cast<int64_t>(order.size());
  std::vector<int64_t> inverse(order.size());
  for (int64_t i = 0; i < rank; ++i) {
    const int64_t d = order[static_cast<size_t>(i)];
    inverse[static_cast<size_t>(d < 0 ? d + rank : d)] = i;
  }
  return Value(inverse);
}

}  // namespace

std::optional<ViewInverse> undo_view(const Node& view, Node* whole, Node* part) {
  const std::string& op = view.target();
  const auto is = [&](const std::set<std::string>& names) { return names.count(op) > 0; };
  if (op == "aten.slice.Tensor") {
    return ViewInverse{"aten.slice_scatter.default",
                       {whole, part, argument(view, 1, int64_t{0}), argument(view, 2),
                        argument(view, 3), argument(view, 4, int64_t{1})}};
  }
  if (op == "aten.select.int") {
    return ViewInverse{"aten.select_scatter.default",
                       {whole, part, argument(view, 1), argument(view, 2)}};
  }
  if (is({"aten.transpose.int", "aten.swapaxes.default", "aten.swapdims.default", "aten.t.default",
          "aten.numpy_T.default"})) {
    std::vector<Value> args = view.args();
    args.at(0) = Value(part);
    return ViewInverse{op, std::move(args)};
  }
  if (op == "aten.permute.default") {
    return ViewInverse{op, {part, inverse_order(argument(view, 1))}};
  }
  if (is({"aten.view.default", "aten._unsafe_view.default", "aten.view_as.default",
          "aten.unflatten.int", "aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims",
          "aten.unsqueeze.default"})) {
    return ViewInverse{"aten.view_as.default", {part, whole}};
  }
  return std::nullopt;
}

}  // namespace pt2q
