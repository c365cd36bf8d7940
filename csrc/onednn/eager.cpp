#include "onednn/eager.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <optional>

#include "base/strings.h"
#include "ir/call_with.h"
#include "onednn/executor.h"
#include "onednn/step_makers.h"
#include "pt2q/error.h"
#include "pt2q/runtime.h"
#include "pt2q/trace.h"

namespace pt2q {
namespace {

// Below this many elements in all arguments, looking for a plan takes longer than plain loops.
constexpr int64_t kMinElements = 1 << 14;
constexpr size_t kMaxEntries = 128;

// A small graph of one operator. All tensors are inputs: parameters may change between calls.
struct Entry {
  std::string key;
  std::shared_ptr<GraphModule> module;  // null: the reference kernel is what a plan would run
};

class Entries {
 public:
  std::optional<Entry> find(const std::string& key) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = std::find_if(entries_.begin(), entries_.end(),
                                 [&](const Entry& e) { return e.key == key; });
    if (it == entries_.end()) return std::nullopt;
    entries_.splice(entries_.begin(), entries_, it);
    return entries_.front();
  }
  void add(Entry entry) {
    const std::lock_guard<std::mutex> lock(mutex_);
    entries_.push_front(std::move(entry));
    if (entries_.size() > kMaxEntries) entries_.pop_back();
  }
  const std::shared_ptr<WorkspacePool>& workspaces() const { return workspaces_; }

 private:
  std::mutex mutex_;
  std::list<Entry> entries_;  // most recent first
  std::shared_ptr<WorkspacePool> workspaces_ = std::make_shared<WorkspacePool>();
};

Entries& entries() {
  static auto* known = new Entries();  // lives until the process ends
  return *known;
}

template <typename Fn>
void for_each_tensor(const std::vector<Value>& values, Fn&& fn) {
  for (const Value& v : values) {
    if (v.is<Tensor>()) fn(v.as<Tensor>());
    if (v.is<Value::List>()) for_each_tensor(v.list(), fn);
  }
}

// Pointwise operators keep the layout of their input, where plans give row-major results.
bool is_plain(const Tensor& t, const OpDef& op) {
  return t.node() == nullptr && t.device().type == DeviceType::CPU &&
         (t.is_contiguous() || !op.traits.pointwise);
}

const OpDef& functional_of(const OpDef& op) {
  return op.functional.empty() ? op : op_table().get(op.functional);
}

bool is_candidate(const OpDef& op, const std::vector<Value>& args) {
  if (op.traits.impure || op.traits.view || step_makers().count(op.name) == 0) return false;
  const int training = op.traits.training_arg;
  if (training >= 0 && args.at(static_cast<size_t>(training)).to_bool()) return false;
  int64_t elements = 0;
  bool plain = true;
  for_each_tensor(args, [&](const Tensor& t) {
    plain = plain && (!t.defined() || is_plain(t, op));
    if (plain && t.defined()) elements += t.numel();
  });
  return plain && elements >= kMinElements;
}

void append_key(const std::vector<Value>& values, std::string* key) {
  for (const Value& v : values) {
    if (v.is<Tensor>() && v.as<Tensor>().defined()) {
      *key += dtype_name(v.as<Tensor>().dtype());
      for (const int64_t size : v.as<Tensor>().sizes()) *key += "," + std::to_string(size);
    } else if (v.is<Value::List>()) {
      *key += '[';
      append_key(v.list(), key);
      *key += ']';
    } else {
      *key += v.to_string();
    }
    *key += ';';
  }
}

Value::List traced(const std::vector<Value>& values, Tracer& tracer, int* next) {
  Value::List out;
  for (const Value& v : values) {
    if (v.is<Tensor>() && v.as<Tensor>().defined()) {
      const Tensor& t = v.as<Tensor>();
      out.emplace_back(
          tracer.add_input(cat("x", (*next)++), TensorMeta{to_sym(t.sizes()), t.dtype(), {}}));
    } else if (v.is<Value::List>()) {
      out.emplace_back(traced(v.list(), tracer, next));
    } else {
      out.push_back(v);
    }
  }
  return out;
}

std::shared_ptr<GraphModule> graph_of(const OpDef& op, const std::vector<Value>& args) {
  auto module = std::make_shared<GraphModule>();
  Tracer tracer(*module);
  const Tracer::Scope scope(&tracer);
  int next = 0;
  tracer.finish(tracer.record(op, traced(args, tracer, &next)));
  ModelCache::of(*module)->share(entries().workspaces());
  return module;
}

std::vector<Value> inputs_of(const std::vector<Value>& args) {
  std::vector<Value> out;
  for_each_tensor(args, [&](const Tensor& t) {
    if (t.defined()) out.emplace_back(t);
  });
  return out;
}

bool all_fast(const Plan& plan) {
  return std::none_of(plan.steps.begin(), plan.steps.end(),
                      [](const auto& step) { return step->info.reference; });
}

Entry entry_for(const OpDef& op, const std::vector<Value>& args) {
  std::string key = op.name + ":";
  append_key(args, &key);
  if (auto known = entries().find(key)) return *known;
  Entry entry{std::move(key), nullptr};
  try {
    entry.module = graph_of(op, args);
    if (!all_fast(*plan_for(*entry.module, inputs_of(args))->plan())) entry.module = nullptr;
  } catch (const Error&) {
    entry.module = nullptr;  // the reference kernel says what is wrong
  }
  entries().add(entry);
  return entry;
}

Value run_planned(const OpDef& op, const std::vector<Value>& args) {
  const OpDef& functional = functional_of(op);
  const bool in_place = &functional != &op;
  if (!is_candidate(functional, args)) return op.reference(Args(op, args));
  const Entry entry = entry_for(functional, args);
  if (!entry.module) return op.reference(Args(op, args));
  Value result = run(*entry.module, inputs_of(args));
  if (!in_place) return result;
  Tensor self = args.at(0).as<Tensor>();
  const Tensor& values = result.as<Tensor>();
  if (values.sizes() != self.sizes() || values.dtype() != self.dtype())
    return op.reference(Args(op, args));  // says what is wrong, or converts
  self.copy_(values);
  return args[0];
}

}  // namespace

Value call_planned(const OpDef& op, std::vector<Value> args,
                   const std::map<std::string, Value>& kwargs) {
  return call_with(run_planned, op, std::move(args), kwargs);
}

bool is_planned(const OpDef& op, const std::vector<Value>& args) {
  const OpDef& functional = functional_of(op);
  return is_candidate(functional, args) && entry_for(functional, args).module != nullptr;
}

}  // namespace pt2q
