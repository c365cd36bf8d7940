#include "io/pt2_program.h"

#include <algorithm>

#include "base/strings.h"
#include "io/io.h"
#include "io/pt2_codes.h"
#include "io/pt2_spec.h"
#include "io/pt2_values.h"
#include "pt2q/error.h"
#include "pt2q/op.h"

namespace pt2q {
namespace {

// What torch 2.13 writes.
constexpr int kSchemaMinor = 20;
constexpr int kAtenOpset = 10;
constexpr const char* kTorchVersion = "2.13.0";
constexpr int kPositional = 1;
constexpr int kKeyword = 2;

std::string torch_target(const OpDef& op) {
  const std::string space = op.namespace_name();
  if (space == "aten" || space == "quantized_decomposed" || space == "torchao") {
    return "torch.ops." + op.name;
  }
  if (space == "_operator" || space == "math" || space == "torch") return op.name;
  throw ValueError(cat("operator ", op.name, " exists only in compiled models"),
                   "save the model before compile(); compiled code is specific to a machine");
}

class ProgramWriter {
 public:
  ProgramWriter(const GraphModule& model, const std::vector<SavedAttr>& attributes)
      : model_(model), attributes_(attributes) {
    for (const SavedAttr& a : attributes_) inputs_of_[a.name] = a.input;
  }

  Json write() {
    write_inputs();
    for (Node* n : model_.graph().nodes()) {
      try {
        write_node(n);
      } catch (Error& e) {
        e.at_node(n->name());
        throw;
      }
    }
    Json graph = {{"inputs", inputs_},
                  {"outputs", outputs_},
                  {"nodes", nodes_},
                  {"tensor_values", tensors_},
                  {"sym_int_values", sizes_},
                  {"sym_bool_values", bools_},
                  {"is_single_tensor_return", false},
                  {"custom_obj_values", Json::object()},
                  {"sym_float_values", Json::object()}};
    Json module = {{"graph", std::move(graph)},
                   {"signature", {{"input_specs", input_specs_}, {"output_specs", output_specs_}}},
                   {"module_call_graph", Json::array({call_entry()})},
                   {"metadata", Json::object()},
                   {"treespec_namedtuple_fields", namedtuple_fields()}};
    return {{"graph_module", std::move(module)},
            {"opset_version", {{"aten", kAtenOpset}}},
            {"range_constraints", range_constraints()},
            {"schema_version", {{"major", kSchemaMajor}, {"minor", kSchemaMinor}}},
            {"verifiers", {"TRAINING"}},
            {"torch_version", kTorchVersion},
            {"guards_code", Json::array()}};
  }

 private:
  // --- inputs ----------------------------------------------------------------------------------
  void write_inputs() {
    for (const SavedAttr& a : attributes_) {
      const Json argument = {{"name", a.input}};
      inputs_.push_back(tensor_argument(a.input));
      switch (a.kind) {
        case AttrKind::Parameter:
          input_specs_.push_back({{"parameter", {{"arg", argument}, {"parameter_name", a.name}}}});
          break;
        case AttrKind::Constant:
          input_specs_.push_back(
              {{"tensor_constant", {{"arg", argument}, {"tensor_constant_name", a.name}}}});
          break;
        default:
          input_specs_.push_back({{"buffer",
                                   {{"arg", argument},
                                    {"buffer_name", a.name},
                                    {"persistent", a.kind == AttrKind::Buffer}}}});
      }
      tensors_[a.input] = tensor_meta_json(
          to_sym(a.tensor.sizes()), to_sym(a.tensor.strides()), a.tensor.storage_offset(),
          a.tensor.dtype(), a.kind == AttrKind::Parameter && is_floating_point(a.tensor.dtype()));
    }
    for (const Node* n : model_.graph().placeholders()) write_user_input(*n);
  }

  void write_user_input(const Node& node) {
    const auto constant = node.meta.custom.find("constant_input");
    if (constant != node.meta.custom.end()) {
      const Json literal = argument(SchemaArg{}, constant->second);
      inputs_.push_back(literal);
      input_specs_.push_back({{"constant_input", {{"name", node.name()}, {"value", literal}}}});
      return;
    }
    const Json value = value_argument(node.name(), node.meta.val);
    inputs_.push_back(value);
    input_specs_.push_back({{"user_input", {{"arg", value}}}});
    note_symbols(node);
  }

  // Where each symbol can be read from: "the size of dimension d of input x".
  void note_symbols(const Node& node) {
    if (!node.meta.val.is<TensorMeta>()) return;
    const SymShape& sizes = node.meta.val.as<TensorMeta>().sizes;
    for (size_t d = 0; d < sizes.size(); ++d) {
      if (sizes[d].is_constant() || sizes[d].expr()->kind != SymExpr::Kind::Symbol) continue;
      symbol_source_.emplace(sizes[d].expr()->symbol, std::make_pair(node.name(), d));
      symbol_hints_.emplace(sizes[d].expr()->symbol, sizes[d].hint());
    }
  }

  // --- values ----------------------------------------------------------------------------------
  // Records what is known of the value `name` and returns the argument that refers to it.
  Json value_argument(const std::string& name, const Value& meta) {
    if (meta.is<TensorMeta>()) {
      tensors_[name] = meta_json(meta.as<TensorMeta>());
      return tensor_argument(name);
    }
    if (meta.is<SymInt>() || meta.is<int64_t>()) {
      sizes_[name] = size_json(meta.to_sym_int());
      return {{"as_sym_int", {{"as_name", name}}}};
    }
    if (meta.is<bool>()) {
      bools_[name] = {{"as_bool", meta.as<bool>()}};
      return {{"as_sym_bool", {{"as_name", name}}}};
    }
    throw ValueError(cat("the shape of '", name, "' is not known"),
                     "run propagate_shapes() on the module first");
  }

  const std::string& name_of(const Node* node) const {
    if (node->opcode() == OpCode::GetAttr) {
      const auto it = inputs_of_.find(node->target());
      if (it == inputs_of_.end())
        throw KeyError(cat("the module has no attribute '", node->target(), "'"));
      return it->second;
    }
    const auto it = item_names_.find(node);
    return it == item_names_.end() ? node->name() : it->second;
  }

  Json reference(const Node* node) const {
    const Value& val = node->meta.val;
    if (val.is<SymInt>() || val.is<int64_t>())
      return {{"as_sym_int", {{"as_name", name_of(node)}}}};
    if (val.is<bool>()) return {{"as_sym_bool", {{"as_name", name_of(node)}}}};
    return tensor_argument(name_of(node));
  }

  Json argument(const SchemaArg& arg, const Value& value) {
    if (value.is_none()) return {{"as_none", true}};
    if (value.is<Node*>()) return reference(value.as<Node*>());
    if (value.is<SymInt>())
      return {{"as_sym_int", {{"as_name", emit(*value.as<SymInt>().expr())}}}};
    if (value.is<bool>()) return {{"as_bool", value.as<bool>()}};
    if (value.is<int64_t>()) {
      if (arg.type == ArgType::Float) return {{"as_float", float_json(value.to_double())}};
      return {{"as_int", value.as<int64_t>()}};
    }
    if (value.is<double>()) return {{"as_float", float_json(value.as<double>())}};
    if (value.is<std::string>()) return {{"as_string", value.as<std::string>()}};
    if (value.is<DType>()) return {{"as_scalar_type", code_of_dtype(value.as<DType>())}};
    if (value.is<MemoryFormat>())
      return {{"as_memory_format", code_of_memory_format(value.as<MemoryFormat>())}};
    if (value.is<Layout>()) return {{"as_layout", kStridedLayout}};
    if (value.is<Device>()) return {{"as_device", {{"type", "cpu"}, {"index", nullptr}}}};
    if (value.is<Value::List>()) return list_argument(arg, value.list());
    throw ValueError(
        cat("argument '", arg.name, "' of kind ", value.kind_name(), " cannot be saved"));
  }

  Json list_argument(const SchemaArg& arg, const Value::List& items) {
    const auto any = [&](auto&& test) { return std::any_of(items.begin(), items.end(), test); };
    Json out = Json::array();
    if (arg.type == ArgType::Tensor) {
      const bool optional = any([](const Value& v) { return v.is_none(); });
      for (const Value& item : items) {
        const Json one = argument(arg, item);
        out.push_back(optional ? one : one.at("as_tensor"));
      }
      return {{optional ? "as_optional_tensors" : "as_tensors", out}};
    }
    if (any([](const Value& v) { return v.is<Node*>() || v.is<SymInt>(); })) {
      for (const Value& item : items) {
        const Json one = argument(arg, item);
        out.push_back(one.contains("as_sym_int") ? one.at("as_sym_int") : one);
      }
      return {{"as_sym_ints", out}};
    }
    if (arg.type == ArgType::Float || any([](const Value& v) { return v.is<double>(); })) {
      for (const Value& item : items) out.push_back(float_json(item.to_double()));
      return {{"as_floats", out}};
    }
    if (arg.type == ArgType::Bool) {
      for (const Value& item : items) out.push_back(item.to_bool());
      return {{"as_bools", out}};
    }
    for (const Value& item : items) out.push_back(item.to_int());
    return {{"as_ints", out}};
  }

  // Nodes that compute a symbolic size that the graph holds as an expression; returns the name.
  std::string emit(const SymExpr& e) {
    const SymInt value(std::make_shared<SymExpr>(e), 0);
    const auto known = emitted_.find(value.to_string());
    if (known != emitted_.end()) return known->second;
    Json node;
    if (e.kind == SymExpr::Kind::Symbol) {
      const auto source = symbol_source_.find(e.symbol);
      if (source == symbol_source_.end())
        throw ValueError(cat("no input has the dynamic size '", e.symbol, "'"));
      node = {{"target", "torch.ops.aten.sym_size.int"},
              {"inputs",
               {{{"name", "self"}, {"arg", tensor_argument(source->second.first)}, {"kind", 1}},
                {{"name", "dim"}, {"arg", {{"as_int", source->second.second}}}, {"kind", 1}}}}};
    } else {
      static constexpr const char* kTargets[] = {"",
                                                 "",
                                                 "_operator.add",
                                                 "_operator.mul",
                                                 "_operator.floordiv",
                                                 "_operator.mod",
                                                 "torch.sym_max",
                                                 "torch.sym_min"};
      Json operands = Json::array();
      for (size_t i = 0; i < e.operands.size(); ++i) {
        const SymExpr& operand = *e.operands[i];
        const Json one = operand.kind == SymExpr::Kind::Constant
                             ? Json{{"as_int", operand.value}}
                             : Json{{"as_sym_int", {{"as_name", emit(operand)}}}};
        operands.push_back({{"name", i == 0 ? "a" : "b"}, {"arg", one}, {"kind", 1}});
      }
      node = {{"target", kTargets[static_cast<size_t>(e.kind)]}, {"inputs", operands}};
    }
    std::string name = cat("sym_", emitted_.size());
    while (model_.graph().find(name) != nullptr) name += "_";
    sizes_[name] = size_json(SymInt(value.expr(), value.evaluate(symbol_hints_)));
    node["outputs"] = Json::array({{{"as_sym_int", {{"as_name", name}}}}});
    node["metadata"] = Json::object();
    node["is_hop_single_tensor_return"] = nullptr;
    node["name"] = name;
    nodes_.push_back(node);
    emitted_[value.to_string()] = name;
    return name;
  }

  // --- nodes -----------------------------------------------------------------------------------
  void write_node(Node* n) {
    switch (n->opcode()) {
      case OpCode::CallModule:
        throw ValueError(
            cat("'", n->target(), "' is an observer; a prepared model cannot be saved"),
            "call convert_pt2e first");
      case OpCode::CallFunction:
        if (n->meta.val.is_none() && n->op().infer) n->meta.val = infer_node(*n);
        if (!n->is_call("_operator.getitem")) write_call(*n);
        break;
      case OpCode::Output:
        write_outputs(n->arg(0));
        break;
      default:
        break;
    }
  }

  Json inputs_json(const Node& n) {
    const Schema& schema = n.op().schema;
    Json out = Json::array();
    bool skipped = false;  // after an argument left at its default the others go by name
    for (size_t i = 0; i < schema.args.size(); ++i) {
      const SchemaArg& arg = schema.args[i];
      if (arg.has_default && arg.default_value == n.arg(i)) {
        skipped = true;
        continue;
      }
      if (arg.type == ArgType::Generator && n.arg(i).is_none()) continue;
      const int kind = skipped || arg.kwarg_only ? kKeyword : kPositional;
      out.push_back({{"name", arg.name}, {"arg", argument(arg, n.arg(i))}, {"kind", kind}});
    }
    return out;
  }

  // Results of an operator with several: the file names them as its getitem nodes.
  Json list_outputs(const Node& n) {
    const Value& val = n.meta.val;
    if (!val.is<Value::List>()) throw ValueError("the shapes of its results are not known");
    std::vector<std::string> names(val.list().size());
    for (const Node* user : n.users()) {
      if (!user->is_call("_operator.getitem")) continue;
      int64_t index = user->arg(1).to_int();
      if (index < 0) index += static_cast<int64_t>(names.size());
      std::string& name = names.at(static_cast<size_t>(index));
      if (name.empty()) name = user->name();
      item_names_[user] = name;
    }
    Json tensors = Json::array();
    Json outputs = Json::array();
    for (size_t i = 0; i < names.size(); ++i) {
      if (names[i].empty()) names[i] = cat(n.name(), "_unused_", i);
      const Json one = value_argument(names[i], val.list()[i]);
      outputs.push_back(one);
      if (one.contains("as_tensor")) tensors.push_back(one.at("as_tensor"));
    }
    if (n.op().schema.returns.size() == 1) return Json::array({{{"as_tensors", tensors}}});
    return outputs;
  }

  static Json metadata_json(const Node& n) {
    Json out = Json::object();
    if (!n.meta.stack_trace.empty()) out["stack_trace"] = n.meta.stack_trace;
    std::vector<std::string> levels;
    for (const ModuleStackEntry& entry : n.meta.nn_module_stack) {
      std::string key = "L__self__" + entry.path;
      std::replace(key.begin(), key.end(), '.', '_');
      const std::string type =
          starts_with(entry.type, "pt2q.nn.") ? "torch" + entry.type.substr(4) : entry.type;
      if ((entry.path + type).find_first_of(",;") != std::string::npos) return out;
      levels.push_back(cat(key, ",", entry.path, ",", type));
    }
    if (!levels.empty()) out["nn_module_stack"] = join(levels, ";");
    if (!n.meta.source_fn.empty())
      out["torch_fn"] = cat(n.meta.source_fn, "_1;function.", n.meta.source_fn);
    return out;
  }

  void write_call(const Node& n) {
    Json node = {{"target", torch_target(n.op())}, {"inputs", inputs_json(n)}};
    node["outputs"] = n.op().returns_list() ? list_outputs(n)
                                            : Json::array({value_argument(n.name(), n.meta.val)});
    node["metadata"] = metadata_json(n);
    node["is_hop_single_tensor_return"] = nullptr;
    node["name"] = n.name();
    nodes_.push_back(std::move(node));
  }

  // --- outputs and calling convention ------------------------------------------------------------
  void write_leaf(const Value& value) {
    const Json leaf = argument(SchemaArg{}, value);
    outputs_.push_back(leaf);
    output_specs_.push_back({{"user_output", {{"arg", leaf}}}});
  }

  // Writes the leaves and returns the spec of their nesting.
  std::string write_nested(const Value& value) {
    if (!value.is<Value::List>()) {
      write_leaf(value);
      return leaf_spec();
    }
    std::vector<std::string> children;
    for (const Value& item : value.list()) children.push_back(write_nested(item));
    return tuple_spec(children);
  }

  void write_outputs(const Value& result) { out_spec_ = write_nested(result); }

  std::string spec_text(const char* key, const std::string& derived, size_t leaves) const {
    const auto it = model_.extras.find(key);
    if (it == model_.extras.end()) return "[1, " + derived + "]";
    const auto& text = std::any_cast<const std::string&>(it->second);
    if (spec_leaves(text, key) != leaves) {
      throw ValueError(cat("the module's ", key, " does not describe its ", leaves,
                           leaves == 1 ? " value" : " values"),
                       "replace the outputs of a graph together with its extras");
    }
    return text;
  }

  Json call_entry() const {
    const auto placeholders = model_.graph().placeholders();
    const std::string arguments =
        tuple_spec(std::vector<std::string>(placeholders.size(), leaf_spec()));
    const std::string keywords =
        R"({"type": "builtins.dict", "context": "[]", "children_spec": []})";
    const bool own_names = model_.extras.count("in_spec") > 0;
    Json names = Json::array();
    for (const Node* n : placeholders) names.push_back(n->name());
    Json signature = {
        {"inputs", Json::array()},
        {"outputs", Json::array()},
        {"in_spec", spec_text("in_spec", tuple_spec({arguments, keywords}), placeholders.size())},
        {"out_spec", spec_text("out_spec", out_spec_, outputs_.size())},
        {"forward_arg_names", own_names ? Json() : names}};
    return {{"fqn", ""}, {"signature", std::move(signature)}};
  }

  Json namedtuple_fields() const {
    const auto it = model_.extras.find("treespec_namedtuple_fields");
    if (it == model_.extras.end()) return Json::object();
    return parse_json(std::any_cast<const std::string&>(it->second), "treespec_namedtuple_fields",
                      LoadLimits());
  }

  Json range_constraints() const {
    Json out = Json::object();
    RangeConstraints given;
    const auto it = model_.extras.find("range_constraints");
    if (it != model_.extras.end()) given = std::any_cast<const RangeConstraints&>(it->second);
    for (const auto& [symbol, hint] : symbol_hints_) {
      const RangeConstraint range = given.count(symbol) > 0 ? given.at(symbol) : RangeConstraint{};
      out[symbol] = {{"min_val", range.min}, {"max_val", range.max < 0 ? Json() : Json(range.max)}};
    }
    return out;
  }

  const GraphModule& model_;
  const std::vector<SavedAttr>& attributes_;
  std::map<std::string, std::string> inputs_of_;   // attribute → graph input
  std::map<const Node*, std::string> item_names_;  // getitem node → value name
  std::map<std::string, std::pair<std::string, size_t>> symbol_source_;
  std::map<std::string, std::string> emitted_;   // expression → value name
  std::map<std::string, int64_t> symbol_hints_;  // of the symbols above: the example's sizes
  std::string out_spec_ = leaf_spec();
  Json inputs_ = Json::array(), outputs_ = Json::array(), nodes_ = Json::array();
  Json input_specs_ = Json::array(), output_specs_ = Json::array();
  Json tensors_ = Json::object(), sizes_ = Json::object(), bools_ = Json::object();
};

}  // namespace

Json make_program(const GraphModule& model, const std::vector<SavedAttr>& attributes) {
  return ProgramWriter(model, attributes).write();
}

}  // namespace pt2q
