// Running graphs: every GraphModule runs through a plan built per input signature; compile() lowers
// first, so that the plan consists of fused int8 and float kernels.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "pt2q/graph_module.h"

namespace pt2q {

struct Plan;

// Runs `model` on `inputs` (one Value per placeholder) and returns what its output node returns.
// Plans are cached on the model per input signature. Throws ValueError/TypeError naming the input
// for a wrong number, dtype, rank or shape. May be called from several threads unless the model
// holds observers.
Value run(GraphModule& model, const std::vector<Value>& inputs);

// The threads kernels use, for the whole process. Throws ValueError for n < 1.
void set_num_threads(int n);
int num_threads();

// What integer kernels use, "AMX", "AVX512_VNNI", "AVX512", "AVX2" or "BASELINE": the best that
// this machine has, up to the environment variable PT2Q_MAX_ISA. Throws ValueError when that names
// none.
std::string isa_name();
// Whether float kernels compute in bfloat16 with instructions for it (AVX512-BF16 or AMX).
bool native_bfloat16();

// How the variant of an int8 kernel is chosen that runs a layer; results do not depend on it.
enum class Tuning {
  Model,    // by a cost model
  Measure,  // by short measurements when a plan is built, kept in a cache on disk (README)
};

struct CompileOptions {
  // Throw RuntimeError when a convolution or linear with quantized operands would run in float.
  bool strict = false;
  // Passes to leave out, by name (see CompiledModel::passes).
  std::set<std::string> disabled_passes;
  // int8-mixed-bf16: convolutions and matrix products give bfloat16 where no quantize follows, and
  // take it where no dequantize stands in front; what lies between inherits. Without native
  // bfloat16 the results are rounded alike, at float32's speed, and a warning says so once. Also on
  // while autocast is (autocast.h).
  bool bfloat16 = false;
  Tuning tuning = Tuning::Model;
  // Measure: seconds a plan may spend on it; layers that come later are modelled. Not negative.
  double tuning_seconds = 2.0;
  // Where the graph is written after each pass; "": nowhere.
  std::string dump_dir;
};

// Why the integer sums of an int8 layer cannot saturate.
enum class Saturation {
  NotInt8,     // no convolution or linear on int8
  Impossible,  // the instructions add in 32 bits (VNNI, AMX, plain C++)
  Bounded,     // pairs of products are added in 16 bits, and weights and inputs prove that they fit
  ExactRoute,  // products are widened before they are added
};

// One step of a plan, or one node that kept a slower route.
struct StepReport {
  std::string node;    // graph node; "" for glue such as layout changes
  std::string op;      // "pt2q.qconv.default"
  std::string kernel;  // "pt2q amx expanded 3x3 64->64", "onednn brgconv:avx512_core", "reference"
  std::string dtype;   // "uint8 -> uint8"
  std::string layout;  // "nhwc", "contiguous", ...
  std::string note;    // "exact", or why no int8 route was taken
  std::string tuning;  // int8 layers: "modelled", "measured" or "measured earlier" (from the cache)
  Saturation saturation = Saturation::NotInt8;
  int64_t max_pair_sum = -1;  // largest possible magnitude of such a pair; -1: not needed
  std::string verdict;        // the two above in words; "" for NotInt8
  double flops = 0.0;         // 2 * multiply-adds; 0 where that means nothing
  double seconds = 0.0;       // profile only: mean time
};

// How many int8 layers have which verdict.
struct SaturationSummary {
  int layers = 0;
  int impossible = 0;
  int bounded = 0;
  int exact_route = 0;
  std::string to_string() const;
};
SaturationSummary saturation_summary(const std::vector<StepReport>& steps);

// Bytes that one run works in, beside weights, inputs and outputs.
struct MemoryReport {
  int64_t activations = 0;  // values between the steps
  int64_t alive = 0;        // of these at the fullest step: activations cannot be less
  int64_t scratch = 0;      // within steps
};

struct PassReport {
  std::string name;
  double seconds = 0.0;
  bool changed = false;
};

// A lowered model. Calls may come from several threads at once.
class CompiledModel {
 public:
  explicit CompiledModel(std::shared_ptr<GraphModule> lowered, std::vector<PassReport> passes);

  Value operator()(const std::vector<Value>& inputs) { return run(*module_, inputs); }

  // The lowered graph; editing it drops the plans.
  GraphModule& module() { return *module_; }
  const std::shared_ptr<GraphModule>& shared_module() const { return module_; }
  const std::vector<PassReport>& passes() const { return passes_; }

  // Builds the plan for the shapes of the capture, which else the first call does.
  void build_plan() { usual_steps(); }

  // Every step that runs for these inputs, in order.
  std::vector<StepReport> steps(const std::vector<Value>& inputs);
  // The same with mean times over `repeats` runs (after one to warm up).
  std::vector<StepReport> profile(const std::vector<Value>& inputs, int repeats = 10);
  // For these inputs.
  MemoryReport memory(const std::vector<Value>& inputs);
  // Nodes with quantized operands that run in float; `note` says why.
  std::vector<StepReport> refused() const;

  // The verdicts counted, for these inputs or (see explain) without.
  SaturationSummary saturation(const std::vector<Value>& inputs) {
    return saturation_summary(steps(inputs));
  }
  SaturationSummary saturation() { return saturation_summary(usual_steps()); }

  // Text forms. explain and print_tabular without inputs describe the plan used last, or the one
  // for the shapes the model was captured with.
  std::string explain();
  std::string explain(const std::vector<Value>& inputs);
  std::string print_tabular();
  std::string graph_for(const std::vector<Value>& inputs);
  std::string profile_text(const std::vector<Value>& inputs, int repeats = 10);

 private:
  std::vector<Value> example_inputs() const;
  std::vector<StepReport> reports_of(const Plan& plan) const;
  std::vector<StepReport> usual_steps();
  std::string explain_steps(const std::vector<StepReport>& steps) const;

  std::shared_ptr<GraphModule> module_;
  std::vector<PassReport> passes_;
};

// Lowers a copy of `model`: int8 kernels where its quantize/dequantize nodes allow, fused float
// kernels elsewhere. `model` may be captured or converted, not prepared (ValueError).
std::unique_ptr<CompiledModel> compile(const GraphModule& model,
                                       const CompileOptions& options = {});

// What compile() made of `source`, in five stages: alias and mutation reduction, graph passing,
// partitioning (with names such as conv_relu, conv_sum_relu), graph rewriting (the lowered graph)
// and layout propagation (the steps that run for these inputs).
std::string stage_report(const GraphModule& source, CompiledModel& compiled,
                         const std::vector<Value>& inputs);

}  // namespace pt2q
