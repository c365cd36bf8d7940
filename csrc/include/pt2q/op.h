// The operator table: one row per ATen overload ("aten.conv2d.default"). The schema string declares
// the arguments; the row adds shape inference, a plain reference kernel and facts for quantizers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pt2q/schema.h"
#include "pt2q/value.h"

namespace pt2q {

struct OpDef;

// Arguments of one call, complete and in schema order, with typed access by position.
// Accessors throw TypeError naming the operator and the argument.
class Args {
 public:
  Args(const OpDef& op, const std::vector<Value>& values) : op_(op), values_(values) {}

  const OpDef& op() const { return op_; }
  size_t size() const { return values_.size(); }
  const Value& value(size_t i) const { return values_.at(i); }
  bool is_none(size_t i) const { return values_.at(i).is_none(); }

  // Run time (reference kernels).
  const Tensor& tensor(size_t i) const;
  Tensor optional_tensor(size_t i) const;  // undefined Tensor for None
  std::vector<Tensor> tensors(size_t i) const;

  // Shape inference: TensorMeta of a tensor argument.
  const TensorMeta& meta(size_t i) const;
  std::vector<TensorMeta> metas(size_t i) const;

  // Both.
  int64_t integer(size_t i) const;
  SymInt sym_int(size_t i) const;
  double number(size_t i) const;
  bool boolean(size_t i) const;
  const std::string& string(size_t i) const;
  DType dtype(size_t i, DType fallback) const;  // fallback for None
  std::vector<int64_t> integers(size_t i) const;
  SymShape sym_ints(size_t i) const;

 private:
  const OpDef& op_;
  const std::vector<Value>& values_;
};

// Both return a Tensor/TensorMeta, a scalar, or a List for several results.
using InferFn = std::function<Value(const Args&)>;
using KernelFn = std::function<Value(const Args&)>;

// What quantizers need to know of an operator: facts, not policy.
struct QuantFacts {
  enum class Output { Own, SharesInput, Fixed, Never };
  std::vector<int> activations;  // argument positions that are quantizable activations
  int weight = -1;
  int weight_channel_axis = 0;  // output-channel axis of the weight
  int bias = -1;
  Output output = Output::Never;
  double fixed_scale = 0.0;  // Output::Fixed: e.g. sigmoid 1/256, zero point 0
  int64_t fixed_zero_point = 0;
};

struct OpTraits {
  bool pointwise = false;  // elementwise with broadcasting
  bool commutative = false;
  bool view = false;      // output may alias input 0 (reshape, permute, slice ...)
  bool impure = false;    // random, asserts: never folded or removed
  bool identity = false;  // returns input 0 unchanged in eval mode (dropout, alias, detach)
  // Position of the bool argument that makes the operator draw random numbers or update running
  // statistics (dropout, batch norm); -1: none.
  int training_arg = -1;
};

// Throws RuntimeError when an in-place operator that computes `result` may not store it in a tensor
// of dtype `target` (torch.can_cast: no float into integers, nothing but bool into bool).
void check_storable(DType result, DType target);

struct OpDef {
  std::string name;  // "aten.relu.default"
  Schema schema;
  InferFn infer;
  KernelFn reference;
  QuantFacts quant;
  OpTraits traits;
  std::string functional;  // for an in-place row: the functional overload it becomes in graphs
  std::string post_op;     // "relu", "gelu" ...: may join the post-op chain of a compute operator

  std::string base_name() const;       // "relu"
  std::string overload() const;        // "default"
  std::string namespace_name() const;  // "aten"
  bool returns_list() const;           // several results, or one Tensor[]
};

// The process-wide table is made on first use, under a lock; reading it is thread-safe.
class OpTable {
 public:
  // Adds a row; throws ValueError when `name` exists.
  OpDef& define(const std::string& name, const std::string& schema);
  // In-place variant of `functional` ("aten.relu_.default" of "aten.relu.default"); same arguments.
  OpDef& define_inplace(const std::string& name, const std::string& functional);
  // The same for a view (squeeze_): the tensor itself becomes the view, in every handle of it.
  OpDef& define_inplace_view(const std::string& name, const std::string& functional);
  // Second name for an existing row with the same schema, infer and kernel.
  OpDef& define_alias(const std::string& name, const std::string& existing);

  const OpDef* find(const std::string& name) const;  // null when absent
  const OpDef& get(const std::string& name) const;   // throws NotImplementedError naming the op
  std::vector<std::string> names() const;            // sorted
  // Overloads of "aten.add": {"Tensor", "Scalar"}.
  std::vector<std::string> overloads(const std::string& packet) const;

 private:
  std::map<std::string, std::unique_ptr<OpDef>> ops_;
};

// The process-wide table, built on first use from csrc/ops/*.cpp.
const OpTable& op_table();

// Fills defaults, repeats ints for int[2] arguments, converts numbers, and checks kinds. `kwargs`
// may name any argument. Throws TypeError naming operator and argument.
std::vector<Value> normalize_args(const OpDef& op, std::vector<Value> args,
                                  const std::map<std::string, Value>& kwargs = {});

// Dispatch = capture: when an argument is being traced, infers and records a node and returns the
// traced result; else runs the reference kernel. `args` need not be normalized.
Value call(const OpDef& op, std::vector<Value> args,
           const std::map<std::string, Value>& kwargs = {});
Value call(const std::string& op, std::vector<Value> args,
           const std::map<std::string, Value>& kwargs = {});

}  // namespace pt2q
