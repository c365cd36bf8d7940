// run(): checks the inputs, finds or builds the plan for their signature, runs its steps.
#include "onednn/executor.h"

#include <omp.h>

#include <atomic>
#include <map>
#include <optional>

#include "base/parallel.h"
#include "base/strings.h"
#include "base/thread_limit.h"
#include "kernels/isa.h"
#include "onednn/compat.h"
#include "onednn/plan_builder.h"
#include "pt2q/error.h"
#include "pt2q/runtime.h"
#include "pt2q/xpu.h"

namespace pt2q {
namespace {

// oneDNN sizes its parallel regions by the calling thread's OpenMP setting.
class ThreadScope {
 public:
  ThreadScope() : saved_(omp_get_max_threads()) {
    if (saved_ != num_threads()) omp_set_num_threads(num_threads());
  }
  ~ThreadScope() {
    if (saved_ != omp_get_max_threads()) omp_set_num_threads(saved_);
  }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int saved_;
};

// Calls that run at the same time share the threads out; each such number has a plan of its own, so
// it is halved rather than divided. Models called by models, and callers with a limit, keep theirs.
class SharedThreads {
 public:
  SharedThreads() : outermost_(depth_++ == 0) {
    if (!outermost_) return;
    const int calls = running_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (calls < 2 || ThreadLimit::active()) return;
    int share = num_threads();
    for (int n = 1; n < calls && share > 1; n *= 2) share = (share + 1) / 2;
    limit_.emplace(share);
  }
  ~SharedThreads() {
    --depth_;
    if (outermost_) running_.fetch_sub(1, std::memory_order_relaxed);
  }
  SharedThreads(const SharedThreads&) = delete;
  SharedThreads& operator=(const SharedThreads&) = delete;

 private:
  static inline std::atomic<int> running_{0};
  static inline thread_local int depth_ = 0;
  bool outermost_;
  std::optional<ThreadLimit> limit_;
};

std::string dynamic_dims(const TensorMeta& meta) {
  std::vector<std::string> names;
  for (size_t d = 0; d < meta.sizes.size(); ++d) {
    if (!meta.sizes[d].is_constant()) names.push_back(cat(d, " (", meta.sizes[d], ")"));
  }
  return names.empty() ? "none" : join(names, ", ");
}

void check_tensor(const Node& input, const TensorMeta& meta, const Tensor& t,
                  std::map<std::string, int64_t>* symbols) {
  const std::string name = cat("input '", input.target(), "'");
  if (t.dtype() != meta.dtype) {
    throw TypeError(
        cat(name, ": expected dtype ", dtype_name(meta.dtype), ", got ", dtype_name(t.dtype())));
  }
  if (t.dim() != static_cast<int64_t>(meta.sizes.size())) {
    throw ValueError(cat(name, ": expected ", meta.sizes.size(), " dimensions ",
                         list_to_string(meta.sizes), ", got ", t.dim(), " ",
                         list_to_string(t.sizes())));
  }
  for (size_t d = 0; d < meta.sizes.size(); ++d) {
    const int64_t got = t.sizes()[d];
    const SymInt& expected = meta.sizes[d];
    int64_t wanted = got;
    std::string why;
    if (expected.is_constant()) {
      wanted = expected.hint();
    } else if (expected.expr()->kind == SymExpr::Kind::Symbol) {
      wanted = symbols->emplace(expected.expr()->symbol, got).first->second;
      why = cat(" (", expected, " = ", wanted, " elsewhere)");
    }
    if (wanted != got) {
      throw ValueError(cat(name, ": expected size ", wanted, " in dimension ", d, why, ", got ",
                           got, "; expected ", describe(meta), ", got ", describe(t),
                           "; dynamic dimensions: ", dynamic_dims(meta)),
                       "capture with dynamic_shapes to accept other sizes");
    }
  }
}

void check_inputs(const std::vector<Node*>& placeholders, const std::vector<Value>& inputs) {
  if (placeholders.size() != inputs.size()) {
    std::vector<std::string> names;
    for (const Node* p : placeholders) names.push_back(p->target());
    throw TypeError(cat("the model takes ", placeholders.size(),
                        placeholders.size() == 1 ? " input (" : " inputs (", join(names, ", "),
                        "), got ", inputs.size()));
  }
  std::map<std::string, int64_t> symbols;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& meta = placeholders[i]->meta.val;
    if (!meta.is<TensorMeta>()) continue;
    if (!inputs[i].is<Tensor>() || !inputs[i].as<Tensor>().defined()) {
      throw TypeError(cat("input '", placeholders[i]->target(), "': expected a Tensor ",
                          describe(meta.as<TensorMeta>()), ", got ", inputs[i].kind_name()));
    }
    check_tensor(*placeholders[i], meta.as<TensorMeta>(), inputs[i].as<Tensor>(), &symbols);
  }
}

void append_signature(const Value& v, std::string* out) {
  if (!v.is<Tensor>()) {
    out->append(v.to_string()).push_back(';');
    return;
  }
  const Tensor& t = v.as<Tensor>();
  out->push_back(static_cast<char>('a' + static_cast<int>(t.dtype())));
  out->push_back(t.is_contiguous() ? 'c' : 'n');
  for (const int64_t s : t.sizes()) out->append(std::to_string(s)).push_back(',');
  out->push_back(';');
}

// Tensors in a layout that plans take: contiguous or channels last.
std::vector<Value> accepted_layouts(const std::vector<Value>& inputs) {
  std::vector<Value> out = inputs;
  for (Value& v : out) {
    if (!v.is<Tensor>()) continue;
    const Tensor& t = v.as<Tensor>();
    if (t.is_contiguous()) continue;
    if (t.dim() == 4 && t.is_contiguous(MemoryFormat::ChannelsLast)) continue;
    v = t.contiguous();
  }
  return out;
}

void start(RunContext& ctx, const std::vector<Value>& inputs) {
  const Plan& plan = *ctx.plan;
  ctx.inputs.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    ctx.inputs[i] = inputs[i].is<Tensor>() ? inputs[i].as<Tensor>() : Tensor();
  for (const int id : plan.inputs) {
    const PlanValue& v = ctx.value(id);
    const Tensor& t = ctx.inputs[static_cast<size_t>(v.input_index)];
    ctx.pointers[static_cast<size_t>(id)] = const_cast<void*>(t.raw_data());
  }
  for (const int id : plan.outputs) {
    const PlanValue& v = ctx.value(id);
    ctx.hold(id, Tensor::empty(v.sizes, v.dtype));
  }
  for (const int id : plan.moving_views) {
    const PlanValue& v = ctx.value(id);
    ctx.pointers[static_cast<size_t>(id)] =
        static_cast<char*>(ctx.pointers[static_cast<size_t>(v.root)]) + v.view_offset;
  }
}

// Lets go of the caller's tensors and of everything kernels made.
void finish(RunContext& ctx) {
  for (Tensor& t : ctx.inputs) t = Tensor();
  for (Value& v : ctx.held) v = Value();
  for (const int id : ctx.plan->moving_views) ctx.views[static_cast<size_t>(id)] = Tensor();
}

Value run_steps(RunContext& ctx, std::vector<double>* seconds) {
  const Plan& plan = *ctx.plan;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (seconds == nullptr) {
      plan.steps[i]->run(ctx);
    } else {
      const double begin = omp_get_wtime();
      plan.steps[i]->run(ctx);
      (*seconds)[i] += omp_get_wtime() - begin;
    }
    for (const int id : plan.release[i]) ctx.held[static_cast<size_t>(id)] = Value();
  }
  return materialize(plan.result, ctx);
}

// Results of a model on a device say so.
void label(const Value& result, Device device) {
  if (result.is<Tensor>() && result.as<Tensor>().defined()) {
    Tensor(result.as<Tensor>()).set_device(device);
  } else if (result.is<Value::List>()) {
    for (const Value& item : result.list()) label(item, device);
  }
}

}  // namespace

// Captured on the device, or called with tensors of it.
Device device_of(const GraphModule& model, const std::vector<Value>& inputs) {
  for (const Node* n = model.graph().first(); n != nullptr; n = n->next()) {
    if (n->opcode() != OpCode::Placeholder) break;
    if (!n->meta.val.is<TensorMeta>()) continue;
    const Device device = n->meta.val.as<TensorMeta>().device;
    if (device.type == DeviceType::XPU) return device;
  }
  for (const Value& v : inputs) {
    if (v.is<Tensor>() && v.as<Tensor>().defined() &&
        v.as<Tensor>().device().type == DeviceType::XPU) {
      return v.as<Tensor>().device();
    }
  }
  return {};
}

std::shared_ptr<PlanEntry> plan_for(GraphModule& model, const std::vector<Value>& inputs) {
  const auto cache = ModelCache::of(model);
  const Device device = device_of(model, inputs);
  xpu::require(device);
  const bool gpu = device.type == DeviceType::XPU && onednn::gpu_engine() != nullptr;
  std::string signature =
      cat(num_threads(), kernels::isa_label(kernels::best_isa()), gpu ? "gpu:" : ":");
  for (const Value& v : inputs) append_signature(v, &signature);
  if (auto entry = cache->find(signature)) return entry;
  const std::lock_guard<std::mutex> lock(cache->build_mutex);
  if (auto entry = cache->find(signature)) return entry;
  const ThreadScope threads;
  std::optional<onednn::EngineScope> engine;
  if (gpu) engine.emplace(*onednn::gpu_engine());
  const size_t kept = cache->kept_alive.size();
  auto plan = PlanBuilder(model, inputs, *cache).build();
  // Packing one has brought neighbours back.
  if (cache->kept_alive.size() > kept) {
    for (const Tensor& t : cache->kept_alive) release_pages(t);
  }
  return cache->insert(
      std::make_shared<PlanEntry>(std::move(signature), std::move(plan), cache->workspaces()));
}

std::vector<Value> checked_inputs(GraphModule& model, const std::vector<Value>& inputs) {
  check_inputs(model.graph().placeholders(), inputs);
  return accepted_layouts(inputs);
}

Value run_timed(GraphModule& model, const std::vector<Value>& inputs,
                std::vector<double>* seconds) {
  const SharedThreads share;
  const std::vector<Value> accepted = checked_inputs(model, inputs);
  const auto entry = plan_for(model, accepted);
  const ThreadScope threads;
  auto ctx = entry->acquire();
  if (seconds != nullptr) seconds->resize(entry->plan()->steps.size(), 0.0);
  start(*ctx, accepted);
  Value result = run_steps(*ctx, seconds);  // a context that threw is not used again
  finish(*ctx);
  entry->give_back(std::move(ctx));
  const Device device = device_of(model, accepted);
  if (device.type == DeviceType::XPU) label(result, device);
  return result;
}

Value run(GraphModule& model, const std::vector<Value>& inputs) {
  return run_timed(model, inputs, nullptr);
}

}  // namespace pt2q
