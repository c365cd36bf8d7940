// A graph with its parameters, buffers and observers: what capture, import, prepare and convert
// exchange.
#pragma once

#include <any>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pt2q/graph.h"

namespace pt2q {

// Something a call_module node calls: an observer or fake-quantize. forward() may be called by one
// thread at a time per instance.
class Module {
 public:
  virtual ~Module() = default;
  virtual Tensor forward(const Tensor& input) = 0;
  // forward() returns its input itself, unchanged (observers): plans then keep using the input,
  // with constants staying constants.
  virtual bool passes_through() const { return false; }
  virtual std::string type_name() const = 0;  // "HistogramObserver"
  virtual std::string repr() const = 0;
  virtual std::map<std::string, Tensor> state_dict() const { return {}; }
  virtual void load_state_dict(const std::map<std::string, Tensor>& state);
};

enum class AttrKind { Parameter, Buffer, NonPersistentBuffer, Constant };

struct Attr {
  Tensor tensor;
  AttrKind kind = AttrKind::Parameter;
};

// run() takes one from several threads unless it holds observers; changing it needs it alone.
class GraphModule {
 public:
  GraphModule() : graph_(std::make_shared<Graph>()) {}
  GraphModule(const GraphModule&) = delete;
  GraphModule& operator=(const GraphModule&) = delete;

  Graph& graph() { return *graph_; }
  const Graph& graph() const { return *graph_; }
  void set_graph(std::shared_ptr<Graph> graph) { graph_ = std::move(graph); }
  std::unique_ptr<GraphModule> deep_copy()
      const;  // tensors and modules are shared copies-on-request:
              // tensors cloned, modules shared

  // Attributes by dotted path, in insertion order of first definition.
  const std::vector<std::string>& attr_names() const { return attr_order_; }
  bool has_attr(const std::string& name) const { return attrs_.count(name) > 0; }
  const Attr& attr(const std::string& name) const;  // throws KeyError
  void set_attr(const std::string& name, Tensor tensor, AttrKind kind);
  void delete_attr(const std::string& name);
  std::string unique_attr(const std::string& prefix);  // prefix + first unused number: "_scale_0"
  Tensor attr_of(const Node& get_attr_node) const;

  // Sub-modules (observers) by name.
  const std::map<std::string, std::shared_ptr<Module>>& modules() const { return modules_; }
  std::shared_ptr<Module> module(const std::string& name) const;  // throws KeyError
  void set_module(const std::string& name, std::shared_ptr<Module> module);
  void delete_module(const std::string& name);
  // Drops attributes and modules no node refers to (parameters of the original model included).
  void delete_unused();

  // Parameters and persistent buffers, plus "<observer>.<key>" of observers.
  std::map<std::string, Tensor> state_dict() const;
  void load_state_dict(const std::map<std::string, Tensor>& state, bool strict = true);

  // Infers meta.val of every node again from the placeholders' meta.val.
  void propagate_shapes();

  bool exported = false;  // train()/eval() are refused as PyTorch refuses them (SPEC §1.2)
  bool training = false;
  bool prepared = false;  // holds observers: convert_pt2e may be called
  std::vector<std::string> input_names;
  std::map<std::string, std::any> extras;  // what other layers keep here: pytree specs, ranges
  std::shared_ptr<void> run_cache;         // the executor's plans; not part of a copy

 private:
  std::shared_ptr<Graph> graph_;
  std::vector<std::string> attr_order_;
  std::map<std::string, Attr> attrs_;
  std::map<std::string, std::shared_ptr<Module>> modules_;
};

// Result description of one call_function node from its inputs' meta; None when an input is
// unknown.
Value infer_node(const Node& node);

}  // namespace pt2q
