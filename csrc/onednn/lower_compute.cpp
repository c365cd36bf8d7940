// Root and post-op chain fusion: int8 and float convolution and linear.
#include <algorithm>

#include "base/strings.h"
#include "onednn/lower.h"
#include "passes/constants.h"
#include "passes/qdq.h"

namespace pt2q {
namespace {

// A convolution or linear node in one form.
struct Root {
  bool conv = false;
  Node* node = nullptr;
  Node* x = nullptr;
  Node* weight = nullptr;
  bool weight_transposed = false;  // addmm, mm: the weight is [K, N]
  Value bias;                      // Node* or None
  Value stride, padding, dilation, groups;
  size_t spatial = 0;
};

std::optional<Root> read_root(Node* n) {
  Root r;
  r.node = n;
  const std::string& op = n->target();
  if (op == "aten.conv1d.default" || op == "aten.conv2d.default" || op == "aten.conv3d.default") {
    r.conv = true;
    r.spatial = static_cast<size_t>(op[9] - '0');
    r.groups = n->arg(6);
  } else if (op == "aten.convolution.default" && n->arg(6) == Value(false)) {
    r.conv = true;
    r.groups = n->arg(8);
    const auto shape = shape_of(n->arg_node(1));
    r.spatial = shape ? shape->size() - 2 : 0;
  } else if (op == "aten.linear.default") {
    r.bias = n->arg(2);
  } else if (op == "aten.addmm.default" && n->arg(3).to_double() == 1.0 &&
             n->arg(4).to_double() == 1.0) {
    const auto bias = shape_of(n->arg_node(0));
    if (!bias || bias->size() != 1) return std::nullopt;
    r.bias = n->arg(0);
    r.x = n->arg_node(1);
    r.weight = n->arg_node(2);
    r.weight_transposed = true;
    return r;
  } else if (op == "aten.mm.default") {
    r.weight_transposed = true;
  } else {
    return std::nullopt;
  }
  r.x = n->arg_node(0);
  r.weight = n->arg_node(1);
  if (r.conv) {
    r.bias = n->arg(2);
    r.stride = n->arg(3);
    r.padding = n->arg(4);
    r.dilation = n->arg(5);
  }
  return r;
}

// --- int8 ----------------------------------------------------------------------------------------

struct Int8Weight {
  Tensor values;  // int8 [OC, ...]
  Tensor scale;   // float32 [OC] or [1]
};

bool is_transpose(const Node* n) {
  if (n->is_call("aten.t.default") || n->is_call("aten.numpy_T.default")) return true;
  if (n->is_call("aten.permute.default")) return n->arg(1) == Value(Value::List{1, 0});
  return n->is_call("aten.transpose.int") && ((n->arg(1) == Value(0) && n->arg(2) == Value(1)) ||
                                              (n->arg(1) == Value(1) && n->arg(2) == Value(0)));
}

bool all_zero(const Tensor& t) {
  const Tensor c = t.to(DType::Float32).contiguous();
  return std::all_of(c.data<float>(), c.data<float>() + c.numel(),
                     [](float v) { return v == 0.0F; });
}

// The int8 weight behind `root`, or why there is none.
std::optional<Int8Weight> read_weight(const GraphModule& module, ConstantValues& constants,
                                      const Root& root, std::string* why) {
  Node* n = root.weight;
  bool transposed = root.weight_transposed;
  while (is_transpose(n)) {
    transposed = !transposed;
    n = n->arg_node(0);
  }
  if (!is_dequantize(n)) {
    *why = "the weight is not quantized";
    return std::nullopt;
  }
  if (!constants.is_constant(n->arg_node(0))) {
    *why = "the weight is not constant";
    return std::nullopt;
  }
  Int8Weight w;
  w.values = constants.value(n->arg_node(0)).as<Tensor>();
  if (w.values.dtype() != DType::Int8) {
    *why = cat("the weight is ", dtype_name(w.values.dtype()), ", not int8");
    return std::nullopt;
  }
  int64_t axis = 0;
  if (const auto q = read_dequantize(module, n)) {
    w.scale = Tensor::full({1}, q->scale);
    if (q->zero_point != 0) *why = "the weight has a zero point";
  } else if (starts_with(n->target(), "quantized_decomposed.dequantize_per_channel") &&
             n->arg_node(1) != nullptr && constants.is_constant(n->arg_node(1))) {
    w.scale = constants.value(n->arg_node(1)).as<Tensor>().to(DType::Float32).contiguous();
    axis = wrap_dim(n->arg(3).to_int(), w.values.dim());
    Node* zero_points = n->arg_node(2);
    if (zero_points != nullptr && (!constants.is_constant(zero_points) ||
                                   !all_zero(constants.value(zero_points).as<Tensor>()))) {
      *why = "the weight has zero points";
    }
  } else {
    *why = "the weight's quantization parameters are not constant";
  }
  if (!why->empty()) return std::nullopt;
  if (transposed) {
    w.values = w.values.transpose(0, 1).contiguous();
    if (w.scale.numel() > 1) axis = 1 - axis;
  }
  if (w.scale.numel() > 1 && axis != 0) {
    *why = "the weight is not quantized per output channel";
    return std::nullopt;
  }
  return w;
}

// The largest value (of int8: plus 128) that `x` can hold: what its quantize node clamps to.
// Tensors from outside may hold anything.
int64_t largest_value(const GraphModule& module, const TensorQuant& x) {
  Node* source = x.input;
  while (source->op_or_null() != nullptr && source->op().traits.view) source = source->arg_node(0);
  std::optional<TensorQuant> q = read_quantize(module, source);
  int64_t top = 255;
  if (q) {
    top = q->quant_max + (q->dtype == DType::Int8 ? 128 : 0);
  } else if (source->op_or_null() != nullptr && source->op().namespace_name() == "pt2q") {
    const int at = source->op().schema.index_of("out_max");
    if (at >= 0 && dtype_of(source) == x.dtype) {
      top = source->arg(static_cast<size_t>(at)).to_int() + (x.dtype == DType::Int8 ? 128 : 0);
    }
  } else if (source->is_call("aten.max_pool2d.default")) {
    TensorQuant inner = x;
    inner.input = source->arg_node(0);
    return largest_value(module, inner);
  }
  return std::min<int64_t>(255, std::max<int64_t>(1, top));
}

bool is_dynamic(const Node* n) {
  return n->is_call("pt2q.dequantize_dynamic.default") &&
         n->arg_node(0)->is_call("_operator.getitem");
}

// The largest code that the quantize_dynamic behind `codes` gives.
int64_t largest_code(const Node* codes) {
  const Node* quantize = codes->arg_node(0);
  return quantize->arg(2).to_int() + (quantize->arg(4) == Value(DType::Int8) ? 128 : 0);
}

class Int8Fuser {
 public:
  explicit Int8Fuser(GraphModule& module)
      : module_(module), graph_(module.graph()), constants_(module) {}

  bool run() {
    bool changed = false;
    for (Node* n : graph_.nodes()) {
      if (n->erased() || n->opcode() != OpCode::CallFunction) continue;
      auto root = read_root(n);
      if (!root || root->x == nullptr || root->weight == nullptr) continue;
      // Casts of dequantized operands to bfloat16 lose nothing when they are not computed.
      if (is_dequantize(behind_cast(root->x)) || is_dequantize(behind_cast(root->weight))) {
        root->x = behind_cast(root->x);
        root->weight = behind_cast(root->weight);
      }
      const auto x = read_input(*root);
      if (!x) {
        if (is_dequantize(root->weight))
          refuse(n, "the activation is not quantized per tensor to 8 bits");
        continue;
      }
      std::string why;
      if (fuse(*root, *x, &why)) {
        changed = true;
      } else {
        refuse(n, why);
      }
    }
    return graph_.eliminate_dead_code() || changed;
  }

 private:
  // With parameters from run time, `input` is the dequantize.
  std::optional<TensorQuant> read_input(const Root& root) const {
    if (root.conv || !is_dynamic(root.x)) return read_dequantize(module_, root.x);
    TensorQuant q;
    q.input = root.x;
    return q;
  }

  bool fuse(const Root& root, const TensorQuant& x, std::string* why) {
    if (root.conv && root.spatial != 1 && root.spatial != 2) {
      *why = cat(root.spatial, "-D convolution has no int8 kernel");
      return false;
    }
    const auto shape = shape_of(root.node);
    if (root.conv && (!shape || shape->size() != root.spatial + 2)) {
      *why = "an input without batch dimension";
      return false;
    }
    const auto weight = read_weight(module_, constants_, root, why);
    if (!weight) return false;
    Value bias;
    if (root.bias.is<Node*>()) {
      Node* b = behind_cast(root.bias.as<Node*>());
      if (!constants_.is_constant(b)) {
        *why = "the bias is not constant";
        return false;
      }
      bias = Value(constants_.value(b).as<Tensor>().to(DType::Float32).contiguous());
    }
    Chain chain = walk_chain(root.node, true);
    std::optional<TensorQuant> other;
    if (chain.other != nullptr) other = read_dequantize(module_, chain.other);
    std::optional<TensorQuant> out;
    Node* last = chain.last;
    if (last->users().size() == 1) {
      out = read_quantize(module_, last->users()[0]);
      if (out) last = last->users()[0];
    }
    replace(root, x, *weight, bias, chain, other, out, last);
    return true;
  }

  void replace(const Root& root, const TensorQuant& x, const Int8Weight& weight, const Value& bias,
               const Chain& chain, const std::optional<TensorQuant>& other,
               const std::optional<TensorQuant>& out, Node* last) {
    const auto point = graph_.inserting_before(last);
    const bool dynamic = is_dynamic(x.input);
    std::vector<Value> args = {
        dynamic ? x.input->arg(0) : Value(x.input),
        constant_node(module_, "_weight", weight.values),
        constant_node(module_, "_weight_scale", weight.scale),
        bias.is_none() ? Value() : Value(constant_node(module_, "_bias", bias.as<Tensor>())),
        dynamic ? x.input->arg(1) : Value(x.scale),
        dynamic ? x.input->arg(2) : Value(x.zero_point)};
    if (root.conv) {
      for (const Value& v : {root.stride, root.padding, root.dilation, root.groups})
        args.push_back(v);
    }
    std::map<std::string, Value> tail;
    tail["post_ops"] = Value(join(chain.post_ops, ", "));
    if (chain.other != nullptr) {
      tail["other"] = other ? other->input : chain.other;
      if (other) {
        tail["other_scale"] = other->scale;
        tail["other_zero_point"] = other->zero_point;
      }
    }
    if (out) {
      tail["out_scale"] = out->scale;
      tail["out_zero_point"] = out->zero_point;
      tail["out_min"] = out->quant_min;
      tail["out_max"] = out->quant_max;
      tail["out_dtype"] = out->dtype;
    } else if (dtype_of(last) == DType::BFloat16) {
      tail["out_dtype"] = DType::BFloat16;
    }
    tail["x_max"] = dynamic ? largest_code(x.input->arg_node(0)) : largest_value(module_, x);
    const char* op = root.conv ? "pt2q.qconv.default"
                     : dynamic ? "pt2q.qlinear_dynamic.default"
                               : "pt2q.qlinear.default";
    Node* fused = graph_.call_function(op, std::move(args), tail);
    fused->meta = root.node->meta;
    fused->meta.val = infer_node(*fused);
    gives_value_of(fused, last);
    last->replace_all_uses_with(fused);
  }

  GraphModule& module_;
  Graph& graph_;
  ConstantValues constants_;
};

// --- float ---------------------------------------------------------------------------------------

bool is_float_constant(ConstantValues& constants, Node* n, DType dtype) {
  return constants.is_constant(n) && dtype_of(n) == dtype;
}

bool fuse_float_root(GraphModule& module, ConstantValues& constants, const Root& root) {
  const DType dtype = dtype_of(root.node);
  if (root.weight_transposed || (dtype != DType::Float32 && dtype != DType::BFloat16) ||
      !is_float_constant(constants, root.weight, dtype)) {
    return false;
  }
  if (root.bias.is<Node*>() && !is_float_constant(constants, root.bias.as<Node*>(), dtype))
    return false;
  const auto shape = shape_of(root.node);
  if (root.conv && (!shape || shape->size() != root.spatial + 2 || root.groups.is<Node*>()))
    return false;
  const Chain chain = walk_chain(root.node);
  if (chain.post_ops.empty()) return false;
  Graph& graph = module.graph();
  const auto point = graph.inserting_before(chain.last);
  std::vector<Value> args = {root.x, root.weight, root.bias};
  if (root.conv) {
    for (const Value& v : {root.stride, root.padding, root.dilation, root.groups})
      args.push_back(v);
  }
  args.push_back(chain.other == nullptr ? Value() : Value(chain.other));
  args.push_back(Value(join(chain.post_ops, ", ")));
  Node* fused = graph.call_function(root.conv ? "onednn.conv.default" : "onednn.linear.default",
                                    std::move(args));
  fused->meta = root.node->meta;
  fused->meta.val = infer_node(*fused);
  gives_value_of(fused, chain.last);
  chain.last->replace_all_uses_with(fused);
  return true;
}

}  // namespace

bool fuse_int8_compute(GraphModule& module) { return Int8Fuser(module).run(); }

bool fuse_float_compute(GraphModule& module) {
  Graph& graph = module.graph();
  ConstantValues constants(module);
  bool changed = false;
  for (Node* n : graph.nodes()) {
    if (n->erased() || n->opcode() != OpCode::CallFunction || n->users().empty()) continue;
    const auto root = read_root(n);
    if (!root || root->x == nullptr || root->weight == nullptr) continue;
    changed = fuse_float_root(module, constants, *root) || changed;
  }
  return graph.eliminate_dead_code() || changed;
}

}  // namespace pt2q
