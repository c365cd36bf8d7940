// Capture: while a Tracer is active on this thread, calls on traced tensors become graph nodes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "pt2q/graph_module.h"

namespace pt2q {

// Belongs to one thread: the one whose calls it records.
class Tracer {
 public:
  // Traces into `module`'s graph.
  explicit Tracer(GraphModule& module) : module_(module) {}
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  GraphModule& module() { return module_; }

  // A new model input. Symbolic sizes make dynamic dimensions.
  Tensor add_input(const std::string& name, const TensorMeta& meta);
  // Makes `tensor` known as attribute `path`: uses become get_attr nodes. Aliases keep the first
  // path.
  void add_attribute(const std::string& path, const Tensor& tensor, AttrKind kind);

  // Records one call and returns the traced result (Tensor, SymInt node, scalar or List).
  // In-place overloads are recorded as their functional form, and the written tensor afterwards
  // stands for the result.
  Value record(const OpDef& op, std::vector<Value> args);
  // Finishes the graph: output node, dead code removed, checked.
  void finish(const Value& result);

  // Records a call of an observer, which becomes a sub-module of the traced model.
  Tensor record_module(const std::string& path, const std::shared_ptr<Module>& module,
                       const Tensor& input);
  // True for tensors that stand for a graph value: results, inputs, attributes, and constants that
  // an in-place operator has changed.
  bool is_traced(const Tensor& tensor) const;

  // While set, recorded nodes take source, stack trace and custom facts from it (see replay.h).
  const NodeMeta* inherited_meta = nullptr;
  // The current module hierarchy and source line, copied into every recorded node.
  std::vector<ModuleStackEntry> module_stack;
  std::function<std::string()> source_location;  // may be empty

  // The node a tensor stands for; constants become get_attr nodes ("_tensor_constant0" when
  // unnamed).
  Node* node_for(const Tensor& tensor);

  // The tracer active on this thread, or null. Scope makes one active.
  static Tracer* current();
  class Scope {
   public:
    explicit Scope(Tracer* tracer);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Tracer* saved_;
  };

 private:
  Value wrap(Node* node);  // traced value(s) of a node, with getitem nodes for several results
  Value lower_value(const Value& value);
  void describe_origin(Node* node, const std::string& source_fn) const;
  Node* keep_dtype(Node* node, DType wanted, const std::string& source_fn);
  // In-place writes. Nodes that view one another form a family; each has the value that its memory
  // has now. own_node: the node a tensor was made by, or reads its attribute with.
  Node* own_node(const Tensor& tensor);
  void note_alias(Node* node);
  Node* present(Node* own);  // the value of its memory; throws when that cannot be told
  void set_present(Node* own, Node* value);
  void write(Node* own, Node* value);
  Node* add_like(const Node& model, const std::string& op, std::vector<Value> args);
  void refuse_stale_constant(const Tensor& tensor) const;
  void refuse_buffer_writes() const;

  GraphModule& module_;
  std::unordered_map<const void*, std::string> attribute_paths_;  // Tensor::id → path
  std::unordered_map<const void*, Node*> attribute_nodes_;
  std::unordered_map<const void*, Node*> reshaped_;  // tensors that squeeze_ and its kin changed
  std::unordered_map<const Node*, Node*> present_;   // values other than the node itself
  std::unordered_map<const Node*, Node*> owner_;     // the inverse
  std::unordered_map<const Node*, Node*> viewed_;    // view → what it is a view of
  std::unordered_map<const Node*, std::vector<Node*>> views_;
  std::unordered_set<const Node*> stale_;    // the view must be taken again
  std::unordered_set<const Node*> unknown_;  // copy or view: nobody can tell
  std::unordered_set<std::string> written_attributes_;
  std::vector<Tensor> written_constants_;
  std::vector<Tensor> kept_alive_;
};

}  // namespace pt2q
