#include "passes/sharing.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

// What two specs must have in common to share an observer without being told to. An absent
// attribute equals only an absent one.
struct SpecFacts {
  std::optional<DType> dtype;
  std::optional<bool> is_dynamic;
  std::optional<std::optional<int64_t>> quant_min;
  std::optional<std::optional<int64_t>> quant_max;
  std::optional<std::optional<QScheme>> qscheme;
  std::optional<std::optional<int64_t>> ch_axis;
  std::optional<double> scale;
  std::optional<int64_t> zero_point;

  bool operator==(const SpecFacts& o) const {
    return dtype == o.dtype && is_dynamic == o.is_dynamic && quant_min == o.quant_min &&
           quant_max == o.quant_max && qscheme == o.qscheme && ch_axis == o.ch_axis &&
           scale == o.scale && zero_point == o.zero_point;
  }
};

template <typename Spec>
SpecFacts common_facts(const Spec& s) {
  SpecFacts f;
  f.dtype = s.dtype;
  f.is_dynamic = s.is_dynamic;
  f.quant_min = s.quant_min;
  f.quant_max = s.quant_max;
  f.qscheme = s.qscheme;
  return f;
}

SpecFacts facts_of(const SpecPtr& spec) {
  if (const auto* q = dynamic_cast<const QuantizationSpec*>(spec.get())) {
    SpecFacts f = common_facts(*q);
    f.ch_axis = q->ch_axis;
    return f;
  }
  if (const auto* q = dynamic_cast<const DerivedQuantizationSpec*>(spec.get())) {
    SpecFacts f = common_facts(*q);
    f.ch_axis = q->ch_axis;
    return f;
  }
  if (const auto* q = dynamic_cast<const FixedQParamsQuantizationSpec*>(spec.get())) {
    SpecFacts f = common_facts(*q);
    f.scale = q->scale;
    f.zero_point = q->zero_point;
    return f;
  }
  return {};
}

const SharedQuantizationSpec* as_shared(const SpecPtr& spec) {
  return dynamic_cast<const SharedQuantizationSpec*>(spec.get());
}

class Grouping {
 public:
  explicit Grouping(const SpecTable& table) : table_(table), parent_(table.entries.size()) {
    std::iota(parent_.begin(), parent_.end(), size_t{0});
  }

  std::vector<size_t> run() {
    for (size_t i = 0; i < table_.entries.size(); ++i) {
      const auto& [key, spec] = table_.entries[i];
      if (key.is_edge() && key.consumer->meta.quantization_annotation->allow_implicit_sharing) {
        share_implicitly(i);
      }
      if (const auto* shared = as_shared(spec)) unite(index_of(shared->edge_or_node), i);
    }
    return number_groups();
  }

 private:
  size_t index_of(const EdgeOrNode& e) const {
    const auto it = table_.index.find(e);
    if (it == table_.index.end()) {
      throw AssertionError(cat("please make sure only refer to edge or node that has "
                               "observer/fake_quant inserted: '",
                               describe(e), "' has no quantization spec"),
                           "annotate the edge or node that the SharedQuantizationSpec refers to");
    }
    return it->second;
  }

  size_t root(size_t i) {
    while (parent_[i] != i) {
      parent_[i] = parent_[parent_[i]];
      i = parent_[i];
    }
    return i;
  }

  // The order matters: the first member of a group decides which spec its observer is made from.
  void unite(size_t parent, size_t child) {
    const size_t root_parent = root(parent);
    const size_t root_child = root(child);
    const auto* shared = as_shared(table_.entries[root_parent].second);
    if (shared != nullptr && shared->edge_or_node == table_.entries[root_child].first) {
      parent_[root_parent] = root_child;
    } else {
      parent_[root_child] = root_parent;
    }
  }

  // Follows shared specs to one that says how to quantize; null for "not quantized".
  SpecPtr resolved(size_t i) {
    SpecPtr spec = table_.entries[i].second;
    for (size_t steps = 0; const auto* shared = as_shared(spec); ++steps) {
      if (steps > table_.entries.size()) {
        throw circular_specs(table_.entries[i].first);
      }
      spec = table_.entries[root(index_of(shared->edge_or_node))].second;
    }
    return spec;
  }

  // An edge observes the same tensor as the producer's output and its other consumers.
  void share_implicitly(size_t i) {
    const EdgeOrNode edge = table_.entries[i].first;
    const SpecFacts facts = facts_of(resolved(i));
    for (Node* user : edge.producer->users()) {
      if (user != edge.consumer) share_with({edge.producer, user}, i, facts);
    }
    share_with(edge.producer, i, facts);
  }

  void share_with(const EdgeOrNode& other, size_t i, const SpecFacts& facts) {
    const auto it = table_.index.find(other);
    if (it == table_.index.end()) return;
    const SpecPtr spec = resolved(it->second);
    if (spec && facts_of(spec) == facts) unite(it->second, i);
  }

  std::vector<size_t> number_groups() {
    std::vector<size_t> groups(parent_.size());
    std::unordered_map<size_t, size_t> numbers;
    for (size_t i = 0; i < parent_.size(); ++i) {
      groups[i] = numbers.emplace(root(i), numbers.size()).first->second;
    }
    return groups;
  }

  const SpecTable& table_;
  std::vector<size_t> parent_;
};

}  // namespace

ValueError circular_specs(const EdgeOrNode& at) {
  return ValueError(cat("the shared quantization specs around ", describe(at),
                        " refer to each other in a circle"),
                    "one of them must say how to quantize");
}

namespace {

// Annotations are written by users: a node they name must be one of this graph.
void check_node(const Graph& graph, const Node* named, const Node* annotated) {
  if (named != nullptr && &named->graph() == &graph && !named->erased()) return;
  const std::string name = named == nullptr ? "None" : named->name();
  const bool gone = named != nullptr && &named->graph() == &graph;
  throw ValueError(
      cat("the quantization annotation of '", annotated->name(), "' names '", name,
          gone ? "', which was erased from the graph" : "', which is a node of another graph"),
      "annotate with nodes of the model that annotate() receives")
      .at_node(annotated->name());
}

void check_references(const Graph& graph, const SpecPtr& spec, const Node* annotated) {
  const auto check = [&](const EdgeOrNode& e) {
    check_node(graph, e.producer, annotated);
    if (e.is_edge()) check_node(graph, e.consumer, annotated);
  };
  if (const auto* shared = as_shared(spec)) check(shared->edge_or_node);
  if (const auto* derived = dynamic_cast<const DerivedQuantizationSpec*>(spec.get())) {
    for (const EdgeOrNode& e : derived->derived_from) check(e);
  }
}

void check_annotation(const Graph& graph, const Node* node) {
  const QuantizationAnnotation& annotation = *node->meta.quantization_annotation;
  const std::vector<Node*> inputs = node->input_nodes();
  for (const auto& [input, spec] : annotation.input_qspec_map) {
    check_node(graph, input, node);
    if (std::find(inputs.begin(), inputs.end(), input) == inputs.end()) {
      throw ValueError(cat("the quantization annotation of '", node->name(),
                           "' has an input_qspec_map entry for '", input->name(), "', but '",
                           input->name(), "' is not an input of '", node->name(), "'"),
                       "input_qspec_map takes the nodes in node.args")
          .at_node(node->name());
    }
    check_references(graph, spec, node);
  }
  check_references(graph, annotation.output_qspec, node);
}

}  // namespace

SpecTable collect_specs(const Graph& graph) {
  SpecTable table;
  const auto add = [&table](const EdgeOrNode& key, const SpecPtr& spec) {
    const auto [it, added] = table.index.emplace(key, table.entries.size());
    if (added) {
      table.entries.emplace_back(key, spec);
    } else {
      table.entries[it->second].second = spec;
    }
  };
  for (Node* n = graph.first(); n != nullptr; n = n->next()) {
    const auto& annotation = n->meta.quantization_annotation;
    if (!annotation) continue;
    check_annotation(graph, n);
    for (const auto& [input, spec] : annotation->input_qspec_map) add({input, n}, spec);
    if (annotation->output_qspec) add(n, annotation->output_qspec);
  }
  return table;
}

std::vector<size_t> group_entries(const SpecTable& table) { return Grouping(table).run(); }

}  // namespace pt2q
