#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "base/cpu.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/isa.h"
#include "onednn/executor.h"
#include "onednn/lower.h"
#include "onednn/plan_builder.h"
#include "onednn/tuning.h"
#include "pt2q/autocast.h"
#include "pt2q/error.h"
#include "pt2q/runtime.h"
#include "pt2q/xpu.h"

namespace pt2q {
namespace {

Saturation verdict_kind(kernels::Saturation::Kind kind) {
  switch (kind) {
    case kernels::Saturation::Kind::bounded:
      return Saturation::Bounded;
    case kernels::Saturation::Kind::exact_route:
      return Saturation::ExactRoute;
    default:
      return Saturation::Impossible;
  }
}

StepReport report_of(const StepInfo& info) {
  StepReport r;
  r.node = info.node;
  r.op = info.op;
  r.kernel = info.kernel;
  r.dtype = info.dtype;
  r.layout = info.layout;
  r.note = info.note;
  r.tuning = info.tuning;
  r.flops = info.flops;
  if (info.saturation) {
    r.saturation = verdict_kind(info.saturation->kind);
    r.max_pair_sum = info.saturation->max_pair_sum;
    r.verdict = info.saturation->text();
  }
  return r;
}

// Columns as wide as their widest cell.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width;
  for (const auto& row : rows) {
    width.resize(std::max(width.size(), row.size()), 0);
    for (size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], row[c].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c)
      line += row[c] + std::string(width[c] - row[c].size() + 2, ' ');
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string fixed(double v, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, v);
  return text;
}

void warn_once_without_bfloat16() {
  static std::once_flag once;
  std::call_once(once, [] {
    warn(
        "autocast: this CPU has no native bfloat16 (AVX512-BF16 or AMX): results are rounded to "
        "bfloat16, but computed in float32, which gains no speed");
  });
}

// Weights are packed, not changed: the copy needs none of its own. What a run writes, it does.
std::unique_ptr<GraphModule> copy_sharing_weights(const GraphModule& model) {
  auto copy = std::make_unique<GraphModule>();
  std::unordered_map<const Node*, Node*> mapping;
  for (const Node* n : model.graph().nodes()) mapping[n] = copy->graph().copy_node(*n, mapping);
  const auto written = written_attrs(model.graph());
  for (const std::string& name : model.attr_names()) {
    const Attr& a = model.attr(name);
    copy->set_attr(
        name, a.tensor.defined() && written.count(name) > 0 ? a.tensor.clone() : a.tensor, a.kind);
  }
  for (const auto& [name, module] : model.modules()) copy->set_module(name, module);
  copy->exported = model.exported;
  copy->training = model.training;
  copy->input_names = model.input_names;
  copy->extras = model.extras;
  return copy;
}

// Weights mapped from a file that the passes have read.
void release_weights(const GraphModule& model) {
  for (const std::string& name : model.attr_names()) {
    const Tensor& t = model.attr(name).tensor;
    if (t.defined()) release_pages(t);
  }
}

}  // namespace

std::string isa_name() { return kernels::isa_title(kernels::best_isa()); }

bool native_bfloat16() {
  const CpuFeatures& f = cpu_features();
  return (f.avx512bf16 || f.amx_bf16) && kernels::best_isa() >= kernels::Isa::avx512_vnni;
}

CompiledModel::CompiledModel(std::shared_ptr<GraphModule> lowered, std::vector<PassReport> passes)
    : module_(std::move(lowered)), passes_(std::move(passes)) {}

std::string SaturationSummary::to_string() const {
  return cat("saturation, int8 layers: ", layers, " (instruction cannot saturate: ", impossible,
             ", bound proven: ", bounded, ", exact route: ", exact_route, ")");
}

SaturationSummary saturation_summary(const std::vector<StepReport>& steps) {
  SaturationSummary out;
  for (const StepReport& s : steps) {
    out.layers += s.saturation != Saturation::NotInt8 ? 1 : 0;
    out.impossible += s.saturation == Saturation::Impossible ? 1 : 0;
    out.bounded += s.saturation == Saturation::Bounded ? 1 : 0;
    out.exact_route += s.saturation == Saturation::ExactRoute ? 1 : 0;
  }
  return out;
}

std::vector<StepReport> CompiledModel::reports_of(const Plan& plan) const {
  std::vector<StepReport> out;
  for (const auto& step : plan.steps) {
    out.push_back(report_of(step->info));
    const Node* node = step->info.node.empty() ? nullptr : module_->graph().find(step->info.node);
    if (node == nullptr) continue;
    const auto why = node->meta.custom.find(kRefusedKey);
    if (why == node->meta.custom.end()) continue;
    std::string& note = out.back().note;
    note = cat("not int8: ", why->second.as<std::string>(), note.empty() ? "" : "; ", note);
  }
  return out;
}

std::vector<StepReport> CompiledModel::steps(const std::vector<Value>& inputs) {
  return reports_of(*plan_for(*module_, checked_inputs(*module_, inputs))->plan());
}

MemoryReport CompiledModel::memory(const std::vector<Value>& inputs) {
  const auto executor = plan_for(*module_, checked_inputs(*module_, inputs));
  const Plan& plan = *executor->plan();
  return {plan.arena_bytes, alive_bytes(plan), static_cast<int64_t>(plan.scratchpad_bytes)};
}

// Of the plan used last; before the first run, of the one for the shapes of the capture.
std::vector<StepReport> CompiledModel::usual_steps() {
  if (const auto latest = ModelCache::of(*module_)->latest()) return reports_of(*latest->plan());
  return steps(example_inputs());
}

std::vector<StepReport> CompiledModel::profile(const std::vector<Value>& inputs, int repeats) {
  if (repeats < 1) throw ValueError(cat("profile: repeats must be positive, got ", repeats));
  std::vector<StepReport> out = steps(inputs);
  run(*module_, inputs);
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) run_timed(*module_, inputs, &seconds);
  for (size_t i = 0; i < out.size(); ++i) out[i].seconds = seconds[i] / repeats;
  return out;
}

std::vector<StepReport> CompiledModel::refused() const {
  std::vector<StepReport> out;
  for (const Node* n : module_->graph().nodes()) {
    const auto why = n->meta.custom.find(kRefusedKey);
    if (why == n->meta.custom.end()) continue;
    StepReport r;
    r.node = n->name();
    r.op = n->target();
    r.note = why->second.as<std::string>();
    out.push_back(std::move(r));
  }
  return out;
}

std::vector<Value> CompiledModel::example_inputs() const {
  std::vector<Value> out;
  for (const Node* n : module_->graph().placeholders()) {
    if (n->meta.val.is<TensorMeta>()) {
      const auto& m = n->meta.val.as<TensorMeta>();
      out.push_back(Tensor::zeros(hints(m.sizes), m.dtype).set_device(m.device));
    } else if (n->meta.val.is<SymInt>()) {
      out.push_back(n->meta.val.as<SymInt>().hint());
    } else {
      throw RuntimeError(cat("the shape of input '", n->target(), "' is not known"), "pass inputs");
    }
  }
  return out;
}

std::string CompiledModel::explain_steps(const std::vector<StepReport>& steps) const {
  std::vector<std::vector<std::string>> rows{
      {"node", "operator", "kernel", "dtype", "layout", "saturation", "note"}};
  for (const StepReport& s : steps)
    rows.push_back({s.node, s.op, s.kernel, s.dtype, s.layout, s.verdict,
                    s.tuning.empty() ? s.note : cat(s.note, ", ", s.tuning)});
  const kernels::Isa used = kernels::best_isa();
  const std::string cap =
      used == kernels::native_isa() ? "" : cat(" (limited to ", kernels::isa_label(used), ")");
  std::string out =
      cat("instruction set: ", kernels::isa_title(kernels::native_isa()), cap,
          ", threads: ", num_threads(), "\n", saturation_summary(steps).to_string(), "\n");
  if (device_of(*module_, {}).type == DeviceType::XPU)
    out += cat("device: xpu, ", xpu::engine_name(), "\n");
  out += table(rows);
  const auto kept_float = refused();
  if (kept_float.empty()) return out;
  out += "\nquantized operands, float computation:\n";
  for (const StepReport& r : kept_float) out += cat("  ", r.node, " (", r.op, "): ", r.note, "\n");
  return out;
}

std::string CompiledModel::explain() { return explain_steps(usual_steps()); }

std::string CompiledModel::explain(const std::vector<Value>& inputs) {
  return explain_steps(steps(inputs));
}

std::string CompiledModel::print_tabular() {
  const std::vector<StepReport> steps = usual_steps();
  std::vector<std::vector<std::string>> rows{
      {"opcode", "name", "target", "args", "kernel", "saturation", "note"}};
  for (const Node* n : module_->graph().nodes()) {
    std::vector<std::string> args;
    for (const Value& v : n->args()) args.push_back(v.to_string());
    rows.push_back({opcode_name(n->opcode()), n->name(), n->target(), join(args, ", ")});
    const auto step = std::find_if(steps.begin(), steps.end(),
                                   [&](const StepReport& s) { return s.node == n->name(); });
    if (step != steps.end())
      rows.back().insert(rows.back().end(), {step->kernel, step->verdict, step->note});
  }
  return table(rows);
}

std::string CompiledModel::graph_for(const std::vector<Value>& inputs) {
  return module_->graph().to_string() + "\n" + explain(inputs);
}

std::string CompiledModel::profile_text(const std::vector<Value>& inputs, int repeats) {
  const auto steps = profile(inputs, repeats);
  double total = 0.0;
  for (const StepReport& s : steps) total += s.seconds;
  std::vector<std::vector<std::string>> rows{
      {"node", "operator", "kernel", "dtype", "us", "share", "GOP/s"}};
  for (const StepReport& s : steps) {
    rows.push_back({s.node, s.op, s.kernel, s.dtype, fixed(s.seconds * 1e6, 1),
                    fixed(100.0 * s.seconds / std::max(total, 1e-12), 1) + "%",
                    s.flops > 0 ? fixed(s.flops / std::max(s.seconds, 1e-12) * 1e-9, 1) : ""});
  }
  rows.push_back({"total", "", "", "", fixed(total * 1e6, 1), "", ""});
  return table(rows);
}

std::unique_ptr<CompiledModel> compile(const GraphModule& model, const CompileOptions& options) {
  if (model.prepared) {
    throw ValueError("compile: the model holds observers", "call convert_pt2e first");
  }
  std::shared_ptr<GraphModule> lowered = copy_sharing_weights(model);
  PassOptions pass_options = PassOptions::from_environment();
  if (!options.dump_dir.empty()) pass_options.dump_dir = options.dump_dir;
  pass_options.disabled.insert(options.disabled_passes.begin(), options.disabled_passes.end());
  lowered->propagate_shapes();
  std::vector<PassReport> passes;
  const DeviceType device = device_of(*lowered, {}).type;
  const bool bfloat16 = options.bfloat16 || autocast_enabled(device);
  if (bfloat16 && !native_bfloat16()) warn_once_without_bfloat16();
  for (const PassRecord& r : run_passes(*lowered, lowering_passes(bfloat16, device), pass_options))
    passes.push_back({r.name, r.seconds, r.changed});
  release_weights(model);
  if (options.tuning == Tuning::Measure) {
    if (!(options.tuning_seconds >= 0)) {
      throw ValueError(
          cat("compile: tuning_seconds must not be negative, got ", options.tuning_seconds));
    }
    lowered->extras[kTuningSeconds] = options.tuning_seconds;
  }
  auto compiled = std::make_unique<CompiledModel>(std::move(lowered), std::move(passes));
  if (options.strict) {
    for (const StepReport& r : compiled->refused()) {
      throw RuntimeError(cat("compile(strict=True): ", r.op,
                             " has quantized operands but would run "
                             "in float: ",
                             r.note))
          .at_op(r.op)
          .at_node(r.node);
    }
  }
  if (options.tuning == Tuning::Measure) compiled->build_plan();
  return compiled;
}

}  // namespace pt2q
