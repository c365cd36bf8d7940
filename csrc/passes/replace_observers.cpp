// Observers become quantize → dequantize (SPEC 5.1).
#include <cmath>

#include "base/strings.h"
#include "passes/constants.h"
#include "passes/pt2e_passes.h"
#include "pt2q/error.h"
#include "tensor/affine.h"

namespace pt2q {
namespace {

// min_val of an observer that has seen no data is infinite or empty.
bool has_seen_nothing(const Observer& observer) {
  for (const auto& [key, tensor] : observer.state_dict()) {
    if (!ends_with(key, "min_val")) continue;
    return tensor.numel() == 0 ||
           (tensor.numel() == 1 && std::isinf(tensor.to(DType::Float64).item()));
  }
  return false;
}

class Replacer {
 public:
  explicit Replacer(GraphModule& module)
      : module_(module), graph_(module.graph()), constants_(module) {}

  bool run() {
    bool changed = false;
    for (Node* node : graph_.nodes()) {
      if (node->opcode() != OpCode::CallModule) continue;
      const auto observer = std::dynamic_pointer_cast<Observer>(module_.module(node->target()));
      if (!observer) continue;
      observe_constant(node, *observer);
      if (observer->convert(module_, node)) {
        check_gone(*node, *observer);
      } else {
        replace(node, *observer);
      }
      changed = true;
    }
    graph_.eliminate_dead_code();
    return changed;
  }

 private:
  // The data of a constant is known without calibration.
  void observe_constant(const Node* node, Observer& observer) {
    const Node* input = node->arg_node(0);
    if (observer.is_dynamic() || !has_seen_nothing(observer) || !constants_.is_constant(input))
      return;
    observer.forward(constants_.value(input).as<Tensor>());
    constants_.release();
  }

  static void check_gone(const Node& node, const Observer& observer) {
    if (node.erased()) return;
    throw RuntimeError(cat(observer.type_name(), ".convert() left its node in the graph"),
                       "replace the uses of the observer's node and erase it")
        .at_node(node.name());
  }

  // Observers written by users may return anything.
  static QParams checked_qparams(Observer& observer, const Node& input, int64_t channels) {
    const QParams q = observer.calculate_qparams();
    const auto refuse = [&](const std::string& what) {
      throw ValueError(cat(observer.type_name(), ".calculate_qparams: ", what),
                       channels == 1 ? "return one scale and one zero point"
                                     : "return one scale and one zero point per channel")
          .at_node(input.name());
    };
    if (!q.scale.defined() || !q.zero_point.defined()) refuse("scale or zero point is missing");
    for (const auto& [name, t] :
         {std::pair("scale", q.scale), std::pair("zero point", q.zero_point)}) {
      if (t.numel() != 1 && t.numel() != channels) {
        refuse(cat(name, " has the shape [", list_to_string(t.sizes()), "], which does not fit ",
                   channels, channels == 1 ? " value" : " channels"));
      }
    }
    const Tensor scale = q.scale.to(DType::Float64).contiguous();
    for (int64_t i = 0; i < scale.numel(); ++i) {
      const double s = scale.data<double>()[i];
      if (!std::isfinite(s) || s <= 0.0) refuse(cat("the scale ", s, " is not a positive number"));
    }
    return q;
  }

  void replace(Node* node, Observer& observer) {
    const auto point = graph_.inserting_before(node);
    const DType dtype = storage_dtype(observer.dtype());
    Node* input = node->arg_node(0);
    // Any other dtype, and two values in a byte: the observer goes without a trace, as in PyTorch.
    Node* result = input;
    if (observer.is_dynamic()) {
      result = dynamic_pair(input, observer, dtype);
    } else if (is_quantized_storage(dtype) && observer.dtype() != DType::QUInt4x2) {
      result = is_per_channel(observer.qscheme()) ? per_channel_pair(input, observer, dtype)
                                                  : per_tensor_pair(input, observer, dtype);
    } else if (dtype == DType::Float16) {
      Node* half =
          make("quantized_decomposed.convert_element_type.no_fuse", {input, Value(DType::Float16)});
      result =
          make("quantized_decomposed.convert_element_type.no_fuse", {half, Value(DType::Float32)});
    }
    node->replace_all_uses_with(result);
    graph_.erase_node(node);
  }

  Node* make(const std::string& op, std::vector<Value> args,
             const std::map<std::string, Value>& kwargs = {}) {
    Node* node = graph_.call_function(op, std::move(args), kwargs);
    node->meta.val = infer_node(*node);
    return node;
  }

  Node* dequantize(const std::string& op, Node* input, std::vector<Value> args) {
    std::map<std::string, Value> kwargs;
    const Value& val = input->meta.val;
    if (val.is<TensorMeta>() && val.as<TensorMeta>().dtype != DType::Float32) {
      kwargs["out_dtype"] = Value(val.as<TensorMeta>().dtype);
    }
    return make(op, std::move(args), kwargs);
  }

  static QuantRange range_of(const Observer& observer, DType dtype) {
    const QuantRange bounds = quant_bounds(dtype);
    return {observer.quant_min().value_or(bounds.min), observer.quant_max().value_or(bounds.max)};
  }

  Node* per_tensor_pair(Node* input, Observer& observer, DType dtype) {
    const QParams qparams = checked_qparams(observer, *input, 1);
    const QuantRange range = range_of(observer, dtype);
    std::vector<Value> args = {input,
                               Value(qparams.scale.to(DType::Float64).item()),
                               Value(qparams.zero_point.to(DType::Int64).item_int()),
                               Value(range.min),
                               Value(range.max),
                               Value(dtype)};
    Node* q = make("quantized_decomposed.quantize_per_tensor.default", args);
    args[0] = q;
    return dequantize("quantized_decomposed.dequantize_per_tensor.default", input, args);
  }

  // Length of the channel axis; 1 when the tensor is not described.
  static int64_t channels_of(const Observer& observer, const Node& input) {
    if (!input.meta.val.is<TensorMeta>()) return 1;
    const SymShape& sizes = input.meta.val.as<TensorMeta>().sizes;
    const int64_t axis =
        wrap_dim(observer.ch_axis().value_or(0), static_cast<int64_t>(sizes.size()));
    return sizes[static_cast<size_t>(axis)].hint();
  }

  Node* per_channel_pair(Node* input, Observer& observer, DType dtype) {
    const QParams qparams = checked_qparams(observer, *input, channels_of(observer, *input));
    const QuantRange range = range_of(observer, dtype);
    const std::string prefix = buffer_prefix(input);
    Node* scale = buffer(prefix + "_scale_", qparams.scale);
    Node* zero_point = buffer(prefix + "_zero_point_", qparams.zero_point);
    std::vector<Value> args = {input,
                               scale,
                               zero_point,
                               Value(observer.ch_axis().value_or(0)),
                               Value(range.min),
                               Value(range.max),
                               Value(dtype)};
    Node* q = make("quantized_decomposed.quantize_per_channel.default", args);
    args[0] = q;
    return dequantize("quantized_decomposed.dequantize_per_channel.default", input, args);
  }

  // The last part of the path of the module that computes the observed tensor; "" for constants.
  static std::string buffer_prefix(const Node* input) {
    const auto& stack = input->meta.nn_module_stack;
    if (stack.empty() || input->opcode() == OpCode::GetAttr) return "";
    const std::string& path = stack.back().path;
    return path.substr(path.rfind('.') + 1);
  }

  Node* buffer(const std::string& prefix, const Tensor& value) {
    const std::string name = module_.unique_attr(prefix);
    module_.set_attr(name, value.clone(), AttrKind::Buffer);
    Node* node = graph_.get_attr(name);
    node->meta.val = TensorMeta{to_sym(value.sizes()), value.dtype(), value.device()};
    return node;
  }

  Node* dynamic_pair(Node* input, Observer& observer, DType dtype) {
    if (dtype != DType::UInt8 && dtype != DType::Int8) {
      throw AssertionError(
          "only uint8 and int8 are supported in reference flow for dynamic quantization right now")
          .at_node(input->name());
    }
    const QuantRange range = range_of(observer, dtype);
    const char* choose = is_symmetric(observer.qscheme())
                             ? "quantized_decomposed.choose_qparams_symmetric.tensor"
                             : "quantized_decomposed.choose_qparams.tensor";
    Node* qparams = make(
        choose, {input, Value(range.min), Value(range.max), Value(observer.eps()), Value(dtype)});
    Node* scale = make("_operator.getitem", {qparams, Value(0)});
    Node* zero_point = make("_operator.getitem", {qparams, Value(1)});
    std::vector<Value> args = {input,       scale, zero_point, Value(range.min), Value(range.max),
                               Value(dtype)};
    Node* q = make("quantized_decomposed.quantize_per_tensor.tensor", args);
    args[0] = q;
    return dequantize("quantized_decomposed.dequantize_per_tensor.tensor", input, args);
  }

  GraphModule& module_;
  Graph& graph_;
  ConstantValues constants_;
};

}  // namespace

bool replace_observers(GraphModule& module) { return Replacer(module).run(); }

}  // namespace pt2q
