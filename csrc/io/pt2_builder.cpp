#include "io/pt2_builder.h"

#include <algorithm>

#include "base/memory.h"
#include "base/strings.h"
#include "io/pt2_functionalize.h"
#include "ir/view_inverse.h"
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

class Builder {
 public:
  Builder(Pt2Archive archive, const LoadLimits& limits)
      : archive_(std::move(archive)),
        program_(json_field(archive_.program, "graph_module")),
        file_(parse_file_graph(json_field(program_, "graph"), limits)),
        aliases_(file_.nodes),
        live_(find_liveness(file_, aliases_)),
        module_(std::make_unique<GraphModule>()) {}

  std::unique_ptr<GraphModule> build() {
    check_operators();
    const Json& signature = json_field(program_, "signature");
    read_calling_convention();
    bind_inputs(json_array(json_field(signature, "input_specs"), "input_specs"));
    for (size_t i = 0; i < file_.nodes.size(); ++i) {
      try {
        if (!live_.needed[i]) {
          refuse_lost_write(file_.nodes[i]);
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
    attributes_.insert(value);
    if (kind == AttrKind::Buffer || kind == AttrKind::NonPersistentBuffer) buffers_.insert(value);
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
      args = normalize_args(op, std::move(args), kwargs);
      kwargs.clear();
    }
    Node* created =
        call(node, written ? op.functional : op.name, std::move(args), kwargs, value_name(node));
    if (written) {
      rebind(node, index, keep_dtype(node, created));
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
      if (alias_kind(node) == AliasKind::View) views_[node.outputs[0].name] = created;
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

  // --- in-place operators ------------------------------------------------------------------------
  // After `node` has written its first argument, that name and all names that share its memory
  // stand for the new value.
  void rebind(const FileNode& node, size_t index, Node* result) {
    const std::string& written = first_reference(node);
    if (attributes_.count(written) > 0) refuse_buffer_write(written);
    check_meta(written, result->meta.val);
    std::map<std::string, Node*> updated = {{written, result}};
    for (const FileValue& output : node.outputs)
      for_each_reference(output, [&](const std::string& name) { updated[name] = result; });
    update_aliases(written, index, &updated);
    for (const auto& [name, value] : updated) values_[name] = value;
  }

  [[noreturn]] static void refuse_buffer_write(const std::string& name) {
    throw NotImplementedError(
        cat("the model changes its buffer '", name,
            "' while running; state that outlives a call is not supported"),
        "export the model in evaluation mode, or pass the state as input and output");
  }

  // A write that nothing in the graph reads is seen by the next call. Only the batch counter of
  // batch norm, which no operator reads at all, may be lost.
  void refuse_lost_write(const FileNode& node) const {
    const OpDef* op = op_table().find(node.target);
    if (op == nullptr || op->functional.empty() || op->traits.identity) return;
    const std::string name = aliases_.representative(first_reference(node));
    if (buffers_.count(name) > 0 && !ends_with(name, "num_batches_tracked"))
      refuse_buffer_write(name);
  }

  bool used_after(const std::string& name, size_t index) const {
    const auto it = live_.last_use.find(name);
    return it != live_.last_use.end() && it->second > index;
  }

  // Links of one alias set that still matter: those to values that are used later.
  struct ActiveLinks {
    std::vector<size_t> nodes;
    size_t next = 0;  // first entry of AliasSets::links not looked at yet
  };

  void update_aliases(const std::string& written, size_t index,
                      std::map<std::string, Node*>* updated) {
    ActiveLinks& active = active_links_[aliases_.representative(written)];
    const auto& links = aliases_.links(written);
    for (; active.next < links.size() && links[active.next] < index; ++active.next) {
      if (live_.needed[links[active.next]]) active.nodes.push_back(links[active.next]);
    }
    drop_unused_links(index, *updated, &active.nodes);
    for (bool changed = true; changed;) {
      changed = false;
      for (const size_t i : active.nodes) changed = update_link(file_.nodes[i], updated) || changed;
    }
    for (const size_t i : active.nodes)
      refuse_stale_values(file_.nodes[i], written, index, *updated);
  }

  // Keeps the links on paths from what is used later; the others never matter again.
  void drop_unused_links(size_t index, const std::map<std::string, Node*>& updated,
                         std::vector<size_t>* links) const {
    std::set<std::string> wanted;
    std::vector<size_t> kept;
    for (auto it = links->rbegin(); it != links->rend(); ++it) {
      const FileNode& node = file_.nodes[*it];
      const std::string& source = first_reference(node);
      bool keep = false;
      for (const FileValue& output : node.outputs) {
        for_each_reference(output, [&](const std::string& name) {
          keep =
              keep || wanted.count(name) > 0 || updated.count(name) > 0 || used_after(name, index);
        });
      }
      if (!keep && !(updated.count(source) == 0 && used_after(source, index))) continue;
      kept.push_back(*it);
      wanted.insert(source);
    }
    links->assign(kept.rbegin(), kept.rend());
    drop_unused_roots(index, updated, links);
  }

  // Drops links from values that nothing needs and that lead to one other value only.
  void drop_unused_roots(size_t index, const std::map<std::string, Node*>& updated,
                         std::vector<size_t>* links) const {
    std::map<std::string, int> children;
    std::set<std::string> results;
    for (const size_t i : *links) {
      ++children[first_reference(file_.nodes[i])];
      for (const FileValue& output : file_.nodes[i].outputs)
        for_each_reference(output, [&](const std::string& name) { results.insert(name); });
    }
    std::vector<size_t> kept;
    for (const size_t i : *links) {
      const std::string& source = first_reference(file_.nodes[i]);
      const bool needed = used_after(source, index) || updated.count(source) > 0 ||
                          results.count(source) > 0 || children[source] > 1;
      if (needed) {
        kept.push_back(i);
        continue;
      }
      for (const FileValue& output : file_.nodes[i].outputs)
        for_each_reference(output, [&](const std::string& name) { results.erase(name); });
    }
    *links = std::move(kept);
  }

  // Carries the new value over one link: the same tensor in both directions, to views by taking the
  // view again, from views by putting them back. True when something was updated.
  bool update_link(const FileNode& node, std::map<std::string, Node*>* updated) {
    if (node.outputs.size() != 1 || node.outputs[0].kind != Kind::Reference) return false;
    const std::string& from = first_reference(node);
    const std::string& to = node.outputs[0].name;
    const auto source = updated->find(from);
    const auto target = updated->find(to);
    if ((source == updated->end()) == (target == updated->end())) return false;
    const AliasKind kind = alias_kind(node);
    if (kind == AliasKind::Same) {
      if (source != updated->end()) {
        (*updated)[to] = source->second;
      } else {
        (*updated)[from] = target->second;
      }
      return true;
    }
    const auto view = views_.find(to);
    if (kind != AliasKind::View || view == views_.end()) return false;
    if (source != updated->end()) {
      std::vector<Value> args = view->second->args();
      args.at(0) = Value(source->second);
      (*updated)[to] = call(node, node.target, std::move(args), {}, to);
      return true;
    }
    auto undo = undo_view(*view->second, values_.at(from), target->second);
    if (!undo) return false;
    if (attributes_.count(from) > 0) refuse_buffer_write(from);
    (*updated)[from] = call(node, undo->op, std::move(undo->args), {}, from);
    return true;
  }

  void refuse_stale_values(const FileNode& node, const std::string& written, size_t index,
                           const std::map<std::string, Node*>& updated) const {
    const auto check = [&](const std::string& name) {
      if (updated.count(name) > 0 || !used_after(name, index)) return;
      throw NotImplementedError(
          cat("'", name, "' shares memory with '", written,
              "', which is written in place; this use of views is not supported"),
          "use the operator's out-of-place variant in the model");
    };
    check(first_reference(node));
    for (const FileValue& output : node.outputs) for_each_reference(output, check);
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
    const bool leaf = spec != module_->extras.end()
                          ? is_leaf_spec(std::any_cast<const std::string&>(spec->second))
                          : results.size() == 1;
    if (leaf && results.size() != 1) throw FileError("out_spec does not match the outputs");
    module_->graph().output(leaf ? results[0] : Value(std::move(results)));
  }

  static bool is_leaf_spec(const std::string& text) {
    LoadLimits limits;
    const Json spec = parse_json(text, "out_spec", limits);
    if (!spec.is_array() || spec.size() != 2) throw FileError("out_spec is malformed");
    const Json& type = json_field(spec[1], "type");
    return type.is_null();
  }

  Pt2Archive archive_;
  const Json& program_;
  FileGraph file_;
  AliasSets aliases_;
  Liveness live_;
  std::unique_ptr<GraphModule> module_;
  std::map<std::string, Node*> values_;
  std::map<std::string, Node*> views_;               // what a view was before anything was written
  std::map<std::string, ActiveLinks> active_links_;  // by AliasSets::representative
  std::set<std::string> attributes_;  // values that are parameters, buffers or constants
  std::set<std::string> buffers_;     // ... those that are buffers
};

}  // namespace

std::unique_ptr<GraphModule> build_module(Pt2Archive archive, const LoadLimits& limits) {
  return Builder(std::move(archive), limits).build();
}

std::unique_ptr<GraphModule> read_pt2(const std::shared_ptr<Source>& source,
                                      const LoadLimits& limits) {
  auto module = in_file(source->name(),
                        [&] { return build_module(read_pt2_archive(source, limits), limits); });
  trim_heap();  // the parsed JSON is larger than the graph
  return module;
}

std::unique_ptr<GraphModule> load_pt2(const std::string& path, const LoadLimits& limits) {
  return read_pt2(open_file(path), limits);
}

std::unique_ptr<GraphModule> map_pt2(const std::string& path, const LoadLimits& limits) {
  return read_pt2(map_file(path), limits);
}

std::unique_ptr<GraphModule> load_pt2(const void* data, size_t size, const LoadLimits& limits) {
  return read_pt2(open_bytes(Bytes::view(data, size, nullptr), "<bytes>"), limits);
}

}  // namespace pt2q
