#include "io/pt2_builder.h"

#include <algorithm>

#include "base/strings.h"
#include "io/pt2_inplace.h"
#include "io/pt2_spec.h"
#include "pt2q/error.h"
#include "pt2q/op.h"

namespace pt2q {
namespace {

using Kind = FileValue::Kind;

// Operators without results that only check or declare something.
bool is_check(const std::string& target) {
  return starts_with(target, "aten._assert_") || starts_with(target, "aten.sym_constrain_range") ||
         starts_with(target, "aten._functional_assert_async");
}

const char* kind_text(AttrKind kind) {
  switch (kind) {
    case AttrKind::Parameter:
      return "parameter";
    case AttrKind::Constant:
      return "constant";
    default:
      return "buffer";
  }
}

class Builder {
 public:
  Builder(Pt2Archive archive, const LoadLimits& limits)
      : archive_(std::move(archive)),
        program_(json_field(archive_.program, "graph_module")),
        file_(parse_file_graph(json_field(program_, "graph"), limits)),
        aliases_(file_.nodes),
        live_(find_liveness(file_, aliases_)),
        module_(std::make_unique<GraphModule>()),
        writes_(
            file_, aliases_, live_, &values_,
            [this](const FileNode& node, const std::string& op, std::vector<Value> args,
                   const std::string& name) { return call(node, op, std::move(args), {}, name); }) {
  }

  std::unique_ptr<GraphModule> build() {
    check_operators();
    const Json& signature = json_field(program_, "signature");
    read_calling_convention();
    bind_inputs(json_array(json_field(signature, "input_specs"), "input_specs"));
    for (size_t i = 0; i < file_.nodes.size(); ++i) {
      try {
        if (!live_.needed[i]) {
          writes_.refuse_lost_write(file_.nodes[i]);
          continue;
        }
        add_node(file_.nodes[i], i);
      } catch (Error& e) {
        e.at_op(file_.nodes[i].target).at_node(value_name(file_.nodes[i]));
        throw;
      }
    }
    add_output(json_array(json_field(signature, "output_specs"), "output_specs"));
    keep_remaining_weights();
    module_->graph().record_origins();
    module_->exported = true;
    return std::move(module_);
  }

 private:
  static std::string value_name(const FileNode& node) {
    if (!node.name.empty()) return node.name;
    for (const FileValue& output : node.outputs) {
      if (output.kind == Kind::Reference) return output.name;
    }
    return "";
  }

  // All operators the model needs and pt2q lacks, in one message.
  void check_operators() const {
    std::map<std::string, int> missing;
    for (size_t i = 0; i < file_.nodes.size(); ++i) {
      const std::string& target = file_.nodes[i].target;
      if (live_.needed[i] && op_table().find(target) == nullptr) ++missing[target];
    }
    if (missing.empty()) return;
    std::vector<std::string> parts;
    for (const auto& [name, count] : missing)
      parts.push_back(cat(name, " (", count, count == 1 ? " node)" : " nodes)"));
    throw NotImplementedError(
        cat("the model needs ", missing.size(), " unsupported operator",
            missing.size() == 1 ? "" : "s", ": ", join(parts, ", ")),
        "change the model to use other operators, or run_decompositions() before saving it");
  }

  void read_calling_convention() {
    if (const Json* calls = json_optional(program_, "module_call_graph")) {
      for (const Json& entry : json_array(*calls, "module_call_graph")) {
        const Json* signature = json_optional(entry, "signature");
        if (json_string(json_field(entry, "fqn"), "fqn") != "" || signature == nullptr) continue;
        for (const char* key : {"in_spec", "out_spec"})
          module_->extras[key] = json_string(json_field(*signature, key), key);
      }
    }
    if (const Json* fields = json_optional(program_, "treespec_namedtuple_fields")) {
      if (!json_object(*fields, "treespec_namedtuple_fields").empty())
        module_->extras["treespec_namedtuple_fields"] = dump_json(*fields);
    }
    RangeConstraints ranges;
    if (const Json* constraints = json_optional(archive_.program, "range_constraints")) {
      for (const auto& [symbol, range] : json_object(*constraints, "range_constraints").items()) {
        const Json* low = json_optional(range, "min_val");
        const Json* high = json_optional(range, "max_val");
        ranges[symbol] = {low == nullptr ? 0 : json_int(*low, "min_val"),
                          high == nullptr ? -1 : json_int(*high, "max_val")};
      }
    }
    if (!ranges.empty()) module_->extras["range_constraints"] = ranges;
    if (!archive_.extra_files.empty()) module_->extras["extra_files"] = archive_.extra_files;
  }

  // --- inputs ----------------------------------------------------------------------------------
  void define(const std::string& name, Node* node) {
    if (!values_.emplace(name, node).second)
      throw FileError(cat("the value '", name, "' is defined twice"));
  }

  void bind_inputs(const Json& specs) {
    if (specs.size() != file_.inputs.size())
      throw FileError(
          cat("the signature has ", specs.size(), " inputs, the graph ", file_.inputs.size()));
    // Attributes after the inputs, so that inputs get the names of the file.
    for (size_t i = 0; i < specs.size(); ++i) {
      const JsonUnion spec = json_union(specs[i], "input_spec");
      if (spec.key == "user_input") {
        add_user_input(file_.inputs[i], i);
      } else if (spec.key == "constant_input") {
        add_constant_input(*spec.value, file_.inputs[i]);
      }
    }
    for (size_t i = 0; i < specs.size(); ++i) {
      const JsonUnion spec = json_union(specs[i], "input_spec");
      if (spec.key == "user_input" || spec.key == "constant_input") continue;
      if (file_.inputs[i].kind != Kind::Reference && spec.key != "custom_obj")
        throw FileError("a parameter without a name");
      add_attribute(spec, file_.inputs[i].name);
    }
  }

  void add_user_input(const FileValue& input, size_t index) {
    Node* node = module_->graph().placeholder(input.kind == Kind::Reference ? input.name
                                                                            : cat("arg", index));
    module_->input_names.push_back(node->name());
    if (input.kind != Kind::Reference) {
      if (input.kind == Kind::List) throw FileError(cat("input ", index, " is a list"));
      node->meta.custom["constant_input"] = input.literal;
      return;
    }
    define(input.name, node);
    const auto tensor = file_.tensors.find(input.name);
    const auto size = file_.sizes.find(input.name);
    if (tensor != file_.tensors.end()) {
      node->meta.val = tensor->second;
    } else if (size != file_.sizes.end()) {
      node->meta.val = size->second;
    } else {
      throw FileError(cat("nothing is said of the input '", input.name, "'"));
    }
  }

  void add_constant_input(const Json& spec, const FileValue& input) {
    const std::string name = json_string(json_field(spec, "name"), "name");
    const JsonUnion value = json_union(json_field(spec, "value"), "constant input");
    Node* node = module_->graph().placeholder(name);
    module_->input_names.push_back(node->name());
    Value constant;
    if (value.key == "as_int") constant = json_int(*value.value, "as_int");
    if (value.key == "as_float") constant = json_double(*value.value, "as_float");
    if (value.key == "as_string") constant = json_string(*value.value, "as_string");
    if (value.key == "as_bool") constant = json_bool(*value.value, "as_bool");
    node->meta.custom["constant_input"] = constant;
    if (input.kind == Kind::Reference) define(input.name, node);
  }

  void add_attribute(const JsonUnion& spec, const std::string& value) {
    const auto text = [&](const char* key) {
      return json_string(json_field(*spec.value, key), key);
    };
    if (spec.key == "parameter") {
      attach(value, text("parameter_name"), AttrKind::Parameter, archive_.weights);
    } else if (spec.key == "buffer") {
      const bool persistent = json_bool(json_field(*spec.value, "persistent"), "persistent");
      attach(value, text("buffer_name"),
             persistent ? AttrKind::Buffer : AttrKind::NonPersistentBuffer,
             persistent ? archive_.weights : archive_.constants);
    } else if (spec.key == "tensor_constant") {
      attach(value, text("tensor_constant_name"), AttrKind::Constant, archive_.constants);
    } else if (live_.last_use.count(value) > 0) {
      throw NotImplementedError(cat("the model uses the input '", value, "' of kind ",
                                    spec.key.substr(0, 40), ", which is not supported"));
    }
  }

  void attach(const std::string& value, const std::string& name, AttrKind kind,
              const std::map<std::string, Pt2Tensor>& from) {
    const bool used = live_.last_use.count(value) > 0;
    const auto it = from.find(name);
    if (it == from.end()) {
      if (!used) return;
      const auto refused = archive_.refused.find(name);
      if (refused != archive_.refused.end())
        throw NotImplementedError(cat("the constant '", name, "' ", refused->second));
      throw FileError(cat("the tensor '", name, "' is missing"));
    }
    const Tensor& tensor = it->second.tensor;
    check_meta(value, Value(TensorMeta{to_sym(tensor.sizes()), tensor.dtype(), Device()}));
    if (!module_->has_attr(name)) module_->set_attr(name, tensor, kind);
    writes_.add_attribute(value, cat(kind_text(kind), " '", name, "'"));
    if (!used) return;
    Node* node = module_->graph().get_attr(name);
    node->meta.val = TensorMeta{to_sym(tensor.sizes()), tensor.dtype(), Device()};
    define(value, node);
  }

  // Names in the state dict that the graph does not use: unused or tied parameters.
  void keep_remaining_weights() {
    for (const auto& [name, weight] : archive_.weights) {
      if (!module_->has_attr(name))
        module_->set_attr(name, weight.tensor,
                          weight.is_param ? AttrKind::Parameter : AttrKind::Buffer);
    }
  }

  // --- nodes -----------------------------------------------------------------------------------
  Value resolve(const FileValue& value) const {
    switch (value.kind) {
      case Kind::Literal:
        return value.literal;
      case Kind::List: {
        Value::List items;
        for (const FileValue& item : value.items) items.push_back(resolve(item));
        return Value(std::move(items));
      }
      default:
        break;
    }
    const auto it = values_.find(value.name);
    if (it == values_.end())
      throw FileError(cat("the value '", value.name, "' is used before it is defined"));
    return Value(it->second);
  }

  // The file's description of a value must agree with what the operators say: a damaged file, or
  // an operator that means something else, is noticed here and not by wrong numbers.
  void check_meta(const std::string& name, const Value& inferred) const {
    const auto it = file_.tensors.find(name);
    if (it == file_.tensors.end() || !inferred.is<TensorMeta>()) return;
    const TensorMeta& stated = it->second;
    const TensorMeta& own = inferred.as<TensorMeta>();
    bool same = stated.dtype == own.dtype && stated.sizes.size() == own.sizes.size();
    for (size_t i = 0; same && i < own.sizes.size(); ++i) {
      if (own.sizes[i].is_constant() && stated.sizes[i].is_constant())
        same = own.sizes[i].hint() == stated.sizes[i].hint();
    }
    if (!same) {
      throw FileError(cat("the file says that '", name, "' is ", describe(stated),
                          ", but it would be ", describe(own)));
    }
  }

  Node* call(const FileNode& node, const std::string& op, std::vector<Value> args,
             const std::map<std::string, Value>& kwargs, const std::string& name) {
    Node* created = module_->graph().call_function(op, std::move(args), kwargs, name);
    created->meta = node.meta;
    infer(created);
    return created;
  }

  static void infer(Node* node) {
    if (node->op().infer) node->meta.val = infer_node(*node);
  }

  void add_node(const FileNode& node, size_t index) {
    const OpDef& op = op_table().get(node.target);
    if (node.outputs.empty() || is_check(node.target)) return;
    std::vector<Value> args;
    std::map<std::string, Value> kwargs;
    for (const auto& [name, value] : node.inputs) {
      if (name.empty() || op.namespace_name() != "aten") {
        if (!kwargs.empty() && op.schema.index_of(name) >= 0) {
          kwargs[name] = resolve(value);
        } else if (op.schema.index_of(name) >= static_cast<int>(args.size()) &&
                   op.schema.index_of(name) >= 0) {
          kwargs[name] = resolve(value);
        } else {
          args.push_back(resolve(value));
        }
      } else if (!kwargs.emplace(name, resolve(value)).second) {
        throw FileError(cat("the argument '", name, "' is given twice"));
      }
    }
    const bool written = !op.functional.empty();
    if (is_inplace(node.target) && !written)
      throw NotImplementedError("this in-place operator is not supported");
    if (written) {  // by position: the functional form may name its arguments differently
      if (first_reference(node).empty())
        throw FileError("it writes to something that is no tensor");
      args = normalize_args(op, std::move(args), kwargs);
      kwargs.clear();
    }
    Node* created =
        call(node, written ? op.functional : op.name, std::move(args), kwargs, value_name(node));
    if (written) {
      created = keep_dtype(node, created);
      check_meta(first_reference(node), created->meta.val);
      writes_.rebind(index, created);
    } else {
      bind_outputs(node, created);
    }
  }

  // An in-place operator keeps the dtype of what it writes, where the functional one may promote.
  Node* keep_dtype(const FileNode& node, Node* result) {
    const Node* target = values_.at(first_reference(node));
    if (!target->meta.val.is<TensorMeta>() || !result->meta.val.is<TensorMeta>()) return result;
    const DType wanted = target->meta.val.as<TensorMeta>().dtype;
    if (result->meta.val.as<TensorMeta>().dtype == wanted) return result;
    return call(node, "aten.to.dtype", {Value(result), Value(wanted)}, {}, "to");
  }

  void bind_outputs(const FileNode& node, Node* created) {
    if (node.outputs.size() == 1 && node.outputs[0].kind == Kind::Reference &&
        !created->op().returns_list()) {
      check_meta(node.outputs[0].name, created->meta.val);
      define(node.outputs[0].name, created);
      if (alias_kind(node) == AliasKind::View) writes_.add_view(node.outputs[0].name, created);
      return;
    }
    const bool one_list = node.outputs.size() == 1 && node.outputs[0].kind == Kind::List;
    const std::vector<FileValue>& outputs = one_list ? node.outputs[0].items : node.outputs;
    if (!created->op().returns_list())
      throw FileError("several results are named, but the operator has one");
    for (size_t i = 0; i < outputs.size(); ++i) {
      const FileValue& output = outputs[i];
      if (output.kind == Kind::List)
        throw NotImplementedError("an operator with nested lists of results");
      if (output.kind != Kind::Reference || live_.last_use.count(output.name) == 0) continue;
      const Value& val = created->meta.val;
      if (val.is<Value::List>() && i >= val.list().size())
        throw FileError(cat("the operator has only ", val.list().size(), " results"));
      Node* item = call(node, "_operator.getitem", {Value(created), static_cast<int64_t>(i)}, {},
                        output.name);
      check_meta(output.name, item->meta.val);
      define(output.name, item);
    }
  }

  // --- output ------------------------------------------------------------------------------------
  void add_output(const Json& specs) {
    if (specs.size() != file_.outputs.size())
      throw FileError(
          cat("the signature has ", specs.size(), " outputs, the graph ", file_.outputs.size()));
    Value::List results;
    for (size_t i = 0; i < specs.size(); ++i) {
      const JsonUnion spec = json_union(specs[i], "output_spec");
      if (spec.key == "user_output" || spec.key == "loss_output") {
        results.push_back(resolve(file_.outputs[i]));
      } else if (spec.key != "token") {
        throw NotImplementedError(
            cat("the model changes state while running (", spec.key.substr(0, 40),
                "); state that outlives a call is not supported"),
            "export the model in evaluation mode, or pass the state as input and output");
      }
    }
    const auto spec = module_->extras.find("out_spec");
    const bool leaf =
        spec != module_->extras.end()
            ? is_leaf_spec(std::any_cast<const std::string&>(spec->second), "out_spec")
            : results.size() == 1;
    if (leaf && results.size() != 1) throw FileError("out_spec does not match the outputs");
    module_->graph().output(leaf ? results[0] : Value(std::move(results)));
  }

  Pt2Archive archive_;
  const Json& program_;
  FileGraph file_;
  AliasSets aliases_;
  Liveness live_;
  std::unique_ptr<GraphModule> module_;
  std::map<std::string, Node*> values_;
  InplaceWrites writes_;
};

}  // namespace

std::unique_ptr<GraphModule> build_module(Pt2Archive archive, const LoadLimits& limits) {
  return Builder(std::move(archive), limits).build();
}

}  // namespace pt2q
