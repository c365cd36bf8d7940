// A step that executes one oneDNN primitive, on the engine that is current when it is made.
//
// On a GPU its values have memory of their own there. What another GPU step made is used where it
// is; everything else is copied there first, and back when a step on the CPU, or the caller, reads
// it.
#pragma once

#include <string>
#include <vector>

#include "onednn/compat.h"
#include "onednn/plan_builder.h"

namespace pt2q {

class DnnlStep : public Step {
 public:
  explicit DnnlStep(onednn::Primitive primitive)
      : primitive_(std::move(primitive)),
        engine_(&onednn::current_engine()),
        gpu_(onednn::on_gpu()) {}

  // The primitive's argument `arg` (DNNL_ARG_SRC ...) is the value `id`.
  void bind(int arg, const dnnl::memory::desc& desc, int id);
  // ... is the value `id`, copied into the layout `wanted` at each run: weights that are computed.
  void bind_repacked(int arg, const dnnl::memory::desc& plain, int id,
                     const dnnl::memory::desc& wanted);
  // ... is memory kept by the step: packed weights, biases.
  void bind_constant(int arg, dnnl::memory memory);

  void prepare(RunContext& ctx) const override;
  void run(RunContext& ctx) const override;
  const onednn::Primitive& primitive() const { return primitive_; }
  // What reports call it: "onednn jit:avx512_core", "onednn gpu jit:gemm".
  std::string kernel() const { return (gpu_ ? "onednn gpu " : "onednn ") + primitive_.impl; }

 private:
  struct Binding {
    int arg;
    dnnl::memory::desc desc;
    int value;            // -1: constant
    dnnl::memory memory;  // constants
    dnnl::memory::desc wanted;
    bool repacked = false;
  };
  void prepare_gpu(RunContext& ctx) const;
  void run_gpu(RunContext& ctx) const;
  bool reads_on_gpu(int id, const dnnl::memory::desc& desc) const;
  bool needed_by_cpu(const Plan& plan, int id, const dnnl::memory::desc& desc) const;

  onednn::Primitive primitive_;
  const dnnl::engine* engine_;
  bool gpu_;
  std::vector<Binding> bindings_;
};

// Adds the step and makes the plan's scratchpad large enough.
Step& add_dnnl_step(PlanBuilder& builder, std::unique_ptr<DnnlStep> step, std::vector<int> inputs,
                    std::vector<int> outputs);

// `logical`, a view of the constant `key`, in the layout `wanted`; packed once per model. `form`
// tells different views of one constant apart.
dnnl::memory packed_weights(PlanBuilder& builder, const Tensor& key, const std::string& form,
                            const Tensor& logical, const dnnl::memory::desc& wanted);

dnnl::memory::desc desc_of_value(const PlanValue& v);

}  // namespace pt2q
