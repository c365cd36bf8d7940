// FX-shaped graph: placeholders, get_attr, call_function, call_module (observers), output.
// Nodes have stable addresses; erased nodes are unlinked at once and freed with the graph, so a
// handle never dangles. Not thread-safe while it is being changed.
#pragma once

#include <any>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "pt2q/op.h"
#include "pt2q/value.h"

namespace pt2q {

class Graph;
struct QuantizationAnnotation;  // quantizer.h

enum class OpCode { Placeholder, GetAttr, CallFunction, CallModule, Output };
const char* opcode_name(OpCode opcode);  // "placeholder", "get_attr", "call_function", ...

// One level of the module hierarchy a node was captured in; outermost first.
struct ModuleStackEntry {
  std::string path;  // "layer1.0.conv1"; "" for the root
  std::string type;  // "pt2q.nn.modules.conv.Conv2d"
};

// The node of an exported program that a node stands for, through all rewrites.
struct NodeSource {
  std::string name;      // "" for nodes that were added later
  int64_t graph_id = 0;  // one number per exported program
  explicit operator bool() const { return !name.empty(); }
};

struct NodeMeta {
  Value val;  // TensorMeta, SymInt/int, or a List of them; None when unknown
  std::vector<ModuleStackEntry> nn_module_stack;
  std::string source_fn;    // "conv2d", "relu_": what the user called
  std::string stack_trace;  // "File "...", line N, in forward"
  NodeSource origin;
  std::shared_ptr<QuantizationAnnotation> quantization_annotation;
  std::map<std::string, Value> custom;  // small facts: "numeric_debug_handle", "quantization_tag"
  std::map<std::string, std::any>
      extras;  // objects of other layers (the bindings keep Python ones)
};

class Node {
 public:
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  Graph& graph() const { return *graph_; }
  OpCode opcode() const { return opcode_; }
  bool is_call(const std::string& op_name) const;  // call_function of that overload
  const OpDef& op() const;                         // call_function only, else TypeError
  const OpDef* op_or_null() const { return op_; }
  // call_function: overload name; get_attr/call_module: dotted path; placeholder: argument name.
  const std::string& target() const { return target_; }
  void set_target(const std::string& target);  // get_attr, call_module
  const std::string& name() const { return name_; }

  // call_function: complete, in schema order. call_module: inputs. output: one Value (nested).
  const std::vector<Value>& args() const { return args_; }
  const Value& arg(size_t i) const { return args_.at(i); }
  Node* arg_node(size_t i) const;  // null when that argument is no node
  void set_arg(size_t i, Value value);
  void set_args(std::vector<Value> args);

  const std::vector<Node*>& users() const { return users_; }  // in order of first use, no repeats
  std::vector<Node*> input_nodes() const;                     // nodes in args, in order, no repeats
  void replace_input_with(Node* old_input, Node* new_input);
  // All users (except those in `keep`) use `other` instead.
  void replace_all_uses_with(Node* other, const std::unordered_set<Node*>& keep = {});

  // Draws random numbers, writes memory or checks something: never folded, removed or merged.
  bool is_impure() const;

  Node* next() const { return next_; }  // null after the last node
  Node* prev() const { return prev_; }
  bool erased() const { return erased_; }
  // True when this node stands before `other` in the graph (O(n)).
  bool before(const Node* other) const;

  NodeMeta meta;

 private:
  friend class Graph;
  Node() = default;

  Graph* graph_ = nullptr;
  OpCode opcode_ = OpCode::CallFunction;
  const OpDef* op_ = nullptr;
  std::string target_;
  std::string name_;
  std::vector<Value> args_;
  std::vector<Node*> users_;
  Node* prev_ = nullptr;
  Node* next_ = nullptr;
  bool erased_ = false;
};

// NodeMeta::custom: the number by which the numeric debugger knows an operator.
inline constexpr const char* kNumericDebugHandle = "numeric_debug_handle";

// `node` computes what `original` did: origin and debug handle become those of `original`.
void stands_for(Node* node, const Node& original);

// Shared ownership (enable_shared_from_this) lets a handle of another language keep the graph of a
// node alive.
class Graph : public std::enable_shared_from_this<Graph> {
 public:
  Graph();
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // New nodes go before the insertion point (default: the end). An empty name is derived as FX
  // does: the target's last part, or "conv2d" for "aten.conv2d.default" — `unique_name` makes it
  // unique.
  Node* placeholder(const std::string& target, const std::string& name = "");
  Node* get_attr(const std::string& target, const std::string& name = "");
  Node* call_function(const std::string& op, std::vector<Value> args,
                      const std::map<std::string, Value>& kwargs = {},
                      const std::string& name = "");
  Node* call_module(const std::string& target, std::vector<Value> args,
                    const std::string& name = "");
  Node* output(Value result, const std::string& name = "output");
  // A copy of `node` of another (or this) graph, with nodes in args mapped.
  Node* copy_node(const Node& node, const std::unordered_map<const Node*, Node*>& mapping);
  // Throws ValueError when the node still has users.
  void erase_node(Node* node);

  // Insertion point, as FX's `with graph.inserting_before(n)`.
  class InsertPoint {
   public:
    ~InsertPoint();
    InsertPoint(const InsertPoint&) = delete;
    InsertPoint& operator=(const InsertPoint&) = delete;

   private:
    friend class Graph;
    InsertPoint(Graph* graph, Node* before) : graph_(graph), saved_(before) {}
    Graph* graph_;
    Node* saved_;
  };
  [[nodiscard]] InsertPoint inserting_before(Node* node);
  [[nodiscard]] InsertPoint inserting_after(Node* node);  // null: at the front
  void move_before(Node* node, Node* target);

  Node* first() const { return first_; }
  Node* last() const { return last_; }
  std::vector<Node*> nodes() const;  // snapshot in order
  std::vector<Node*> placeholders() const;
  Node* output_node() const;                  // throws when there is none
  Node* find(const std::string& name) const;  // null when absent
  size_t size() const { return size_; }
  // Plans are keyed by both: the id no other graph of the process has or had, and the version,
  // which changes with every edit.
  uint64_t id() const { return id_; }
  uint64_t version() const { return version_; }
  void touch() { ++version_; }

  std::string unique_name(const std::string& wanted);
  // Gives `node` a name no living node has (that of an erased one, for its replacement).
  void rename(Node* node, const std::string& name);
  // Gives every operator without an origin itself as origin: called once for a new program.
  void record_origins();
  // Removes pure call_function/get_attr nodes without users; true when something went.
  bool eliminate_dead_code();
  // Throws InternalError naming the node when users, order, arity or targets are inconsistent.
  void lint() const;
  // FX-like text; parse_graph (text.h) reads it back.
  std::string to_string() const;

 private:
  friend class Node;
  Node* append(std::unique_ptr<Node> node);
  void link_before(Node* node, Node* before);  // before == null: at the end
  void unlink(Node* node);
  void add_uses(Node* node, bool is_new = false);
  void remove_uses(Node* node);

  std::vector<std::unique_ptr<Node>> storage_;
  Node* first_ = nullptr;
  Node* last_ = nullptr;
  Node* insert_before_ = nullptr;  // null: append
  size_t size_ = 0;
  const uint64_t id_;
  uint64_t version_ = 0;
  std::unordered_map<std::string, Node*> by_name_;
  std::unordered_map<std::string, int> name_counters_;
};

}  // namespace pt2q
