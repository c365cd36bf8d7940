#include "onednn/dnnl_step.h"

#include <algorithm>

#include "base/strings.h"

namespace pt2q {
namespace {

struct DnnlState {
  std::vector<dnnl::memory> memories;  // those with a handle to set, in binding order
  std::vector<int> values;
  std::vector<std::pair<size_t, dnnl::memory>> repacked;  // binding, its memory
  std::vector<dnnl_exec_arg_t> args;
};

dnnl::stream& stream_of(RunContext& ctx) {
  if (!ctx.stream) ctx.stream = std::make_shared<dnnl::stream>(onednn::cpu_engine());
  return *static_cast<dnnl::stream*>(ctx.stream.get());
}

}  // namespace

void DnnlStep::bind(int arg, const dnnl::memory::desc& desc, int id) {
  bindings_.push_back({arg, desc, id, {}, {}, false});
}

void DnnlStep::bind_repacked(int arg, const dnnl::memory::desc& plain, int id,
                             const dnnl::memory::desc& wanted) {
  bindings_.push_back({arg, plain, id, {}, wanted, true});
}

void DnnlStep::bind_constant(int arg, dnnl::memory memory) {
  bindings_.push_back({arg, {}, -1, std::move(memory), {}, false});
}

void DnnlStep::prepare(RunContext& ctx) const {
  auto state = std::make_shared<DnnlState>();
  for (size_t i = 0; i < bindings_.size(); ++i) {
    const Binding& b = bindings_[i];
    if (b.repacked) {
      state->repacked.emplace_back(i, dnnl::memory(b.wanted, onednn::cpu_engine()));
      state->args.push_back({b.arg, state->repacked.back().second.get()});
      continue;
    }
    if (b.value < 0) {
      state->args.push_back({b.arg, b.memory.get()});
      continue;
    }
    state->memories.emplace_back(b.desc, onednn::cpu_engine(), nullptr);
    state->values.push_back(b.value);
    state->args.push_back({b.arg, state->memories.back().get()});
  }
  if (primitive_.scratchpad.get_size() > 0) {
    state->memories.emplace_back(primitive_.scratchpad, onednn::cpu_engine(), ctx.scratchpad.get());
    state->args.push_back({DNNL_ARG_SCRATCHPAD, state->memories.back().get()});
  }
  ctx.step_state[static_cast<size_t>(index)] = state;
  stream_of(ctx);
}

void DnnlStep::run(RunContext& ctx) const {
  auto& state = *static_cast<DnnlState*>(ctx.step_state[static_cast<size_t>(index)].get());
  for (size_t i = 0; i < state.values.size(); ++i)
    state.memories[i].set_data_handle(ctx.data(state.values[i]));
  for (auto& [binding, memory] : state.repacked)
    onednn::repack(bindings_[binding].desc, ctx.data(bindings_[binding].value), memory);
  dnnl::error::wrap_c_api(
      dnnl_primitive_execute(primitive_.primitive.get(), stream_of(ctx).get(),
                             static_cast<int>(state.args.size()), state.args.data()),
      "could not execute a primitive");
}

Step& add_dnnl_step(PlanBuilder& builder, std::unique_ptr<DnnlStep> step, std::vector<int> inputs,
                    std::vector<int> outputs) {
  Plan& plan = builder.plan();
  plan.scratchpad_bytes = std::max(plan.scratchpad_bytes, step->primitive().scratchpad.get_size());
  return builder.add(std::move(step), std::move(inputs), std::move(outputs));
}

dnnl::memory packed_weights(PlanBuilder& builder, const Tensor& key, const std::string& form,
                            const Tensor& logical, const dnnl::memory::desc& wanted) {
  using Forms = std::vector<dnnl::memory>;
  std::any& slot = builder.cache().packed[{key.id(), "onednn:" + form}];
  if (!slot.has_value()) {
    slot = Forms();
    builder.cache().kept_alive.push_back(key);
  }
  Forms& forms = *std::any_cast<Forms>(&slot);
  for (const dnnl::memory& m : forms) {
    if (m.get_desc() == wanted) return m;
  }
  forms.push_back(onednn::pack(onednn::desc_of(logical.sizes(), logical.strides(), logical.dtype()),
                               logical.raw_data(), wanted));
  return forms.back();
}

dnnl::memory::desc desc_of_value(const PlanValue& v) {
  return onednn::desc_of(v.sizes, v.strides, v.dtype);
}

}  // namespace pt2q
