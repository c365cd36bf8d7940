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

struct GpuState {
  struct Transfer {
    dnnl::memory memory;
    int value;
  };
  std::vector<Transfer> uploads, downloads;
  std::vector<std::pair<size_t, dnnl::memory>> repacked;  // binding, its memory
  std::vector<dnnl::memory> owned;
  std::vector<dnnl_exec_arg_t> args;
};

// One stream per context and engine.
dnnl::stream& stream_of(RunContext& ctx, const dnnl::engine& engine, bool gpu) {
  std::shared_ptr<void>& slot = gpu ? ctx.gpu_stream : ctx.stream;
  if (!slot) slot = std::make_shared<dnnl::stream>(engine);
  return *static_cast<dnnl::stream*>(slot.get());
}

void execute(const dnnl::primitive& primitive, dnnl::stream& stream,
             const std::vector<dnnl_exec_arg_t>& args) {
  dnnl::error::wrap_c_api(dnnl_primitive_execute(primitive.get(), stream.get(),
                                                 static_cast<int>(args.size()), args.data()),
                          "could not execute a primitive");
}

bool holds(const Bound& bound, int id) {
  if (bound.kind == Bound::Kind::Tensor) return bound.value == id;
  return std::any_of(bound.items.begin(), bound.items.end(),
                     [id](const Bound& item) { return holds(item, id); });
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
  if (gpu_) {
    prepare_gpu(ctx);
    return;
  }
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
    state->memories.emplace_back(primitive_.scratchpad, onednn::cpu_engine(), nullptr);
    state->args.push_back({DNNL_ARG_SCRATCHPAD, state->memories.back().get()});
  }
  ctx.step_state[static_cast<size_t>(index)] = state;
  stream_of(ctx, *engine_, false);
}

bool DnnlStep::reads_on_gpu(int id, const dnnl::memory::desc& desc) const {
  return gpu_ && std::any_of(bindings_.begin(), bindings_.end(), [&](const Binding& b) {
           return b.value == id && b.desc == desc && !b.repacked;
         });
}

bool DnnlStep::needed_by_cpu(const Plan& plan, int id, const dnnl::memory::desc& desc) const {
  if (plan.values[static_cast<size_t>(id)].storage == Storage::Output || holds(plan.result, id))
    return true;
  for (const auto& step : plan.steps) {
    for (const int read : step->inputs) {
      if (plan.values[static_cast<size_t>(read)].root !=
          plan.values[static_cast<size_t>(id)].root) {
        continue;
      }
      const auto* other = dynamic_cast<const DnnlStep*>(step.get());
      if (read != id || other == nullptr || !other->reads_on_gpu(id, desc)) return true;
    }
  }
  return false;
}

// Contexts prepare their steps in order, so what earlier steps make is known.
void DnnlStep::prepare_gpu(RunContext& ctx) const {
  auto state = std::make_shared<GpuState>();
  for (size_t i = 0; i < bindings_.size(); ++i) {
    const Binding& b = bindings_[i];
    if (b.value < 0) {
      state->args.push_back({b.arg, b.memory.get()});
      continue;
    }
    if (b.repacked) {
      state->repacked.emplace_back(i, dnnl::memory(b.wanted, *engine_));
      state->args.push_back({b.arg, state->repacked.back().second.get()});
      continue;
    }
    std::shared_ptr<void>& there = ctx.gpu_values[b.value];
    const bool made = std::find(outputs.begin(), outputs.end(), b.value) != outputs.end();
    dnnl::memory memory;
    if (there && static_cast<dnnl::memory*>(there.get())->get_desc() == b.desc) {
      memory = *static_cast<dnnl::memory*>(there.get());
    } else {
      memory = dnnl::memory(b.desc, *engine_);
      if (!made) state->uploads.push_back({memory, b.value});
    }
    if (made) {
      there = std::make_shared<dnnl::memory>(memory);
      if (needed_by_cpu(*ctx.plan, b.value, b.desc)) state->downloads.push_back({memory, b.value});
    }
    state->owned.push_back(memory);
    state->args.push_back({b.arg, memory.get()});
  }
  if (primitive_.scratchpad.get_size() > 0) {
    state->owned.emplace_back(primitive_.scratchpad, *engine_);
    state->args.push_back({DNNL_ARG_SCRATCHPAD, state->owned.back().get()});
  }
  ctx.step_state[static_cast<size_t>(index)] = state;
}

void DnnlStep::run_gpu(RunContext& ctx) const {
  auto& state = *static_cast<GpuState*>(ctx.step_state[static_cast<size_t>(index)].get());
  dnnl::stream& stream = stream_of(ctx, *engine_, true);
  for (auto& t : state.uploads) onednn::upload(ctx.data(t.value), &t.memory);
  for (auto& [binding, memory] : state.repacked)
    onednn::repack(bindings_[binding].desc, ctx.data(bindings_[binding].value), memory);
  execute(primitive_.primitive, stream, state.args);
  if (state.downloads.empty()) return;
  stream.wait();
  for (const auto& t : state.downloads) onednn::download(t.memory, ctx.data(t.value));
}

void DnnlStep::run(RunContext& ctx) const {
  if (gpu_) {
    run_gpu(ctx);
    return;
  }
  auto& state = *static_cast<DnnlState*>(ctx.step_state[static_cast<size_t>(index)].get());
  for (size_t i = 0; i < state.values.size(); ++i)
    state.memories[i].set_data_handle(ctx.data(state.values[i]));
  if (state.memories.size() > state.values.size())  // the last is the scratchpad
    state.memories.back().set_data_handle(ctx.scratchpad);
  for (auto& [binding, memory] : state.repacked)
    onednn::repack(bindings_[binding].desc, ctx.data(bindings_[binding].value), memory);
  execute(primitive_.primitive, stream_of(ctx, *engine_, false), state.args);
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
  std::any& slot =
      builder.cache().packed[{key.id(), (onednn::on_gpu() ? "gpu:" : "onednn:") + form}];
  if (!slot.has_value()) {
    slot = Forms();
    builder.cache().kept_alive.push_back(key);
  }
  Forms& forms = *std::any_cast<Forms>(&slot);
  for (const dnnl::memory& m : forms) {
    if (m.get_desc() == wanted) return m;
  }
  const auto plain = onednn::desc_of(logical.sizes(), logical.strides(), logical.dtype());
  if (plain == wanted && !onednn::on_gpu()) {  // in place; `key` keeps it
    forms.emplace_back(wanted, onednn::current_engine(), const_cast<void*>(logical.raw_data()));
    return forms.back();
  }
  forms.push_back(onednn::pack(plain, logical.raw_data(), wanted));
  release_pages(key);
  return forms.back();
}

dnnl::memory::desc desc_of_value(const PlanValue& v) {
  return onednn::desc_of(v.sizes, v.strides, v.dtype);
}

}  // namespace pt2q
