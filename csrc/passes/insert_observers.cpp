// Observers from annotations: creation, and insertion in PyTorch's order and under its names.
#include <unordered_map>

#include "base/strings.h"
#include "passes/derived_observer.h"
#include "passes/pt2e_passes.h"
#include "passes/sharing.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using ObserverPtr = std::shared_ptr<Observer>;

template <typename Spec>
KwArgs spec_kwargs(const Spec& spec) {
  KwArgs kwargs = {{"dtype", Value(spec.dtype)}, {"is_dynamic", Value(spec.is_dynamic)}};
  if (spec.quant_min) kwargs["quant_min"] = Value(*spec.quant_min);
  if (spec.quant_max) kwargs["quant_max"] = Value(*spec.quant_max);
  if (spec.qscheme) kwargs["qscheme"] = Value(qscheme_name(*spec.qscheme));
  return kwargs;
}

ObserverPtr make_fixed(const FixedQParamsQuantizationSpec& spec, bool is_qat) {
  KwArgs kwargs = spec_kwargs(spec);
  kwargs["scale"] = Value(spec.scale);
  kwargs["zero_point"] = Value(spec.zero_point);
  return observer_class(is_qat ? "FixedQParamsFakeQuantize" : "FixedQParamsObserver")(kwargs);
}

ObserverPtr make_plain(const QuantizationSpec& spec) {
  KwArgs kwargs = spec_kwargs(spec);
  const ObserverCtr& ctr = spec.observer_or_fake_quant_ctr;
  if (spec.ch_axis && ctr.class_name.find("PerChannel") != std::string::npos) {
    kwargs["ch_axis"] = Value(*spec.ch_axis);
  }
  return ctr(kwargs);
}

class ObserverFactory {
 public:
  ObserverFactory(const SpecTable& table, bool is_qat) : table_(table), is_qat_(is_qat) {}

  Quantizer::ObserverMap run() {
    const std::vector<size_t> groups = group_entries(table_);
    std::unordered_map<size_t, ObserverPtr> of_group;
    Quantizer::ObserverMap out;
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto& [key, spec] = table_.entries[i];
      auto it = of_group.find(groups[i]);
      if (it == of_group.end()) it = of_group.emplace(groups[i], make(key, spec)).first;
      made_[key] = it->second;
      out.emplace_back(key, it->second);
    }
    return out;
  }

 private:
  ObserverPtr existing(const EdgeOrNode& e) const {
    const auto it = made_.find(e);
    if (it == made_.end()) {
      throw AssertionError(cat("please make sure only refer to edge or node that has "
                               "observer/fake_quant inserted: '",
                               describe(e), "' has none yet"),
                           "refer to an edge or node that comes earlier in the graph");
    }
    return it->second;
  }

  // What a shared spec finally refers to; it is of the same group.
  SpecPtr resolved(const EdgeOrNode& key, SpecPtr spec) const {
    for (size_t steps = 0;; ++steps) {
      const auto* shared = dynamic_cast<const SharedQuantizationSpec*>(spec.get());
      if (shared == nullptr) return spec;
      if (steps > table_.entries.size()) throw circular_specs(key);
      spec = table_.spec(shared->edge_or_node);
    }
  }

  ObserverPtr make(const EdgeOrNode& key, const SpecPtr& own) const {
    const SpecPtr spec = resolved(key, own);
    if (!spec) return nullptr;
    if (const auto* s = dynamic_cast<const DerivedQuantizationSpec*>(spec.get())) {
      std::vector<ObserverPtr> sources;
      for (const EdgeOrNode& e : s->derived_from) sources.push_back(existing(e));
      return std::make_shared<DerivedObserver>(*s, std::move(sources));
    }
    if (const auto* s = dynamic_cast<const FixedQParamsQuantizationSpec*>(spec.get())) {
      return make_fixed(*s, is_qat_);
    }
    if (const auto* s = dynamic_cast<const QuantizationSpec*>(spec.get())) return make_plain(*s);
    throw AssertionError(
        cat("Expected QuantizationSpec got: ", spec->to_string(), " at ", describe(key)));
  }

  const SpecTable& table_;
  const bool is_qat_;
  EdgeMap<ObserverPtr> made_;
};

class Inserter {
 public:
  Inserter(GraphModule& module, const Quantizer::ObserverMap& observers) : module_(module) {
    for (const auto& [key, observer] : observers) observers_[key] = observer;
  }

  void run() {
    for (Node* node : module_.graph().nodes()) {
      if (node->meta.quantization_annotation) observe(node);
    }
  }

 private:
  ObserverPtr observer_for(const EdgeOrNode& e) const {
    const auto it = observers_.find(e);
    return it == observers_.end() ? nullptr : it->second;
  }

  // The observer a node calls; null for any other node.
  const Module* observer_called_by(const Node* node) const {
    const auto it = called_.find(node);
    return it == called_.end() ? nullptr : it->second;
  }

  Node* insert_after(Node* producer, const ObserverPtr& observer) {
    const std::string name = next_name();
    module_.set_module(name, observer);
    const auto point = module_.graph().inserting_after(producer);
    Node* node = module_.graph().call_module(name, {producer});
    node->meta.val = producer->meta.val;
    called_[node] = observer.get();
    return node;
  }

  // "activation_post_process_<i>" with the first unused number.
  std::string next_name() {
    std::string name;
    do {
      name = cat("activation_post_process_", next_number_++);
    } while (module_.modules().count(name) > 0 || module_.has_attr(name));
    return name;
  }

  Node* observed_input(Node* node, Node* arg) {
    Node* original = arg;
    while (observer_called_by(original) != nullptr) original = original->arg_node(0);
    const ObserverPtr observer = observer_for({original, node});
    if (!observer || observer_for(original) == observer) return arg;
    for (Node* user : arg->users()) {
      if (observer_called_by(user) == observer.get()) return user;
    }
    return insert_after(arg, observer);
  }

  Value observed_value(Node* node, const Value& value) {
    if (value.is<Node*>()) return Value(observed_input(node, value.as<Node*>()));
    if (!value.is<Value::List>()) return value;
    Value::List items;
    for (const Value& item : value.list()) items.push_back(observed_value(node, item));
    return Value(std::move(items));
  }

  void check_keywords(const Node* node) const {
    if (node->op_or_null() == nullptr) return;
    const Schema& schema = node->op().schema;
    for (size_t i = schema.positional_count(); i < schema.args.size(); ++i) {
      for_each_node(node->arg(i), [&](Node*) {
        throw AssertionError(cat("Kwarg '", schema.args[i].name,
                                 "' contained type Node which is not supported for annotation."))
            .at_node(node->name());
      });
    }
  }

  void observe(Node* node) {
    check_keywords(node);
    std::vector<Value> args;
    for (const Value& arg : node->args()) args.push_back(observed_value(node, arg));
    node->set_args(std::move(args));
    if (!node->meta.val.is<TensorMeta>()) return;  // only single tensors have an output observer
    const ObserverPtr observer = observer_for(node);
    if (!observer) return;
    Node* observed = insert_after(node, observer);
    node->replace_all_uses_with(observed, {observed});
  }

  GraphModule& module_;
  EdgeMap<ObserverPtr> observers_;
  std::unordered_map<const Node*, const Module*> called_;
  int next_number_ = 0;
};

}  // namespace

void insert_observers(GraphModule& module, Quantizer& quantizer, bool is_qat) {
  const SpecTable table = collect_specs(module.graph());
  Quantizer::ObserverMap observers = ObserverFactory(table, is_qat).run();
  quantizer.prepare_obs_or_fq_callback(module, observers);
  Inserter(module, observers).run();
}

}  // namespace pt2q
