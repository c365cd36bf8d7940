#include "io/pt2_graph.h"

#include <set>

#include "base/strings.h"
#include "io/pt2_codes.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using Kind = FileValue::Kind;

constexpr int kDeepestRegion = 16;

FileValue literal(Value value) {
  FileValue v;
  v.literal = std::move(value);
  return v;
}
FileValue reference(std::string name) {
  FileValue v;
  v.kind = Kind::Reference;
  v.name = std::move(name);
  return v;
}
FileValue list(std::vector<FileValue> items) {
  FileValue v;
  v.kind = Kind::List;
  v.items = std::move(items);
  return v;
}
template <typename Fn>
FileValue list_of(const Json& array, const char* what, Fn&& fn) {
  std::vector<FileValue> items;
  for (const Json& item : json_array(array, what)) items.push_back(fn(item));
  return list(std::move(items));
}

FileValue named(const Json& object) {
  return reference(json_string(json_field(object, "name"), "name"));
}

// {"as_name": "s0"} or {"as_int": 3}, and the same for bool and float.
FileValue symbolic(const Json& object) {
  const JsonUnion u = json_union(object, "symbolic value");
  if (u.key == "as_name") return reference(json_string(*u.value, "as_name"));
  if (u.key == "as_int") return literal(json_int(*u.value, "as_int"));
  if (u.key == "as_bool") return literal(json_bool(*u.value, "as_bool"));
  if (u.key == "as_float") return literal(json_double(*u.value, "as_float"));
  throw FileError(cat("unknown symbolic value '", u.key, "'"));
}

FileValue optional_tensor(const Json& object) {
  const JsonUnion u = json_union(object, "optional tensor");
  return u.key == "as_tensor" ? named(*u.value) : literal(Value());
}

FileValue scalar_argument(const JsonUnion& u, bool* known) {
  const Json& v = *u.value;
  const std::string& key = u.key;
  if (key == "as_none") return literal(Value());
  if (key == "as_tensor") return named(v);
  if (key == "as_int") return literal(json_int(v, "as_int"));
  if (key == "as_float") return literal(json_double(v, "as_float"));
  if (key == "as_bool") return literal(json_bool(v, "as_bool"));
  if (key == "as_string") return literal(json_string(v, "as_string"));
  if (key == "as_sym_int" || key == "as_sym_bool" || key == "as_sym_float") return symbolic(v);
  if (key == "as_optional_tensor") return optional_tensor(v);
  if (key == "as_scalar_type") return literal(dtype_of_code(json_int(v, "as_scalar_type")));
  if (key == "as_memory_format")
    return literal(memory_format_of_code(json_int(v, "as_memory_format")));
  if (key == "as_layout") {
    if (json_int(v, "as_layout") != kStridedLayout)
      throw NotImplementedError("only strided tensors are supported");
    return literal(Layout::Strided);
  }
  if (key == "as_device") return literal(Device());  // everything is loaded to the CPU
  *known = false;
  return {};
}

FileValue list_argument(const JsonUnion& u) {
  const Json& v = *u.value;
  const std::string& key = u.key;
  if (key == "as_tensors") return list_of(v, "as_tensors", named);
  if (key == "as_optional_tensors") return list_of(v, "as_optional_tensors", optional_tensor);
  if (key == "as_ints")
    return list_of(v, "as_ints", [](const Json& i) { return literal(json_int(i, "as_ints")); });
  if (key == "as_floats") {
    return list_of(v, "as_floats",
                   [](const Json& i) { return literal(json_double(i, "as_floats")); });
  }
  if (key == "as_bools")
    return list_of(v, "as_bools", [](const Json& i) { return literal(json_bool(i, "as_bools")); });
  if (key == "as_strings") {
    return list_of(v, "as_strings",
                   [](const Json& i) { return literal(json_string(i, "as_strings")); });
  }
  if (key == "as_sym_ints" || key == "as_sym_bools" || key == "as_sym_floats")
    return list_of(v, "symbolic list", symbolic);
  if (key == "as_nested_tensors")
    return list_of(v, "as_nested_tensors",
                   [](const Json& i) { return list_of(i, "as_nested_tensors", named); });
  throw NotImplementedError(cat("an argument of kind '", key.substr(0, 40), "' is not supported"));
}

FileValue argument(const Json& object) {
  const JsonUnion u = json_union(object, "argument");
  bool known = true;
  FileValue value = scalar_argument(u, &known);
  return known ? value : list_argument(u);
}

// Splits at `separator` outside brackets: type names may contain commas.
std::vector<std::string> split_outside_brackets(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : text) {
    if (c == '[' || c == '(') ++depth;
    if (c == ']' || c == ')') --depth;
    if (c == separator && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// PyTorch's layer types under our name, so that filters by module type find them.
std::string own_type(const std::string& type) {
  return starts_with(type, "torch.nn.") ? "pt2q" + type.substr(5) : type;
}

NodeMeta parse_meta(const Json& node) {
  NodeMeta meta;
  const Json* metadata = json_optional(node, "metadata");
  if (metadata == nullptr) return meta;
  const auto text = [&](const char* key) {
    const Json* value = json_optional(*metadata, key);
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
  };
  const std::string stack = text("nn_module_stack");
  for (const std::string& item : stack.empty() ? std::vector<std::string>{} : split(stack, ';')) {
    const auto parts = split_outside_brackets(item, ',');
    if (parts.size() == 3) meta.nn_module_stack.push_back({parts[1], own_type(parts[2])});
  }
  meta.stack_trace = text("stack_trace");
  const std::string function = text("torch_fn");
  const size_t dot = function.rfind('.');
  if (dot != std::string::npos) meta.source_fn = function.substr(dot + 1);
  return meta;
}

class GraphParser {
 public:
  explicit GraphParser(const LoadLimits& limits) : limits_(limits) {}

  FileGraph parse(const Json& graph) {
    collect_symbols(graph);
    for (const Json& item : json_array(json_field(graph, "inputs"), "inputs"))
      out_.inputs.push_back(argument(item));
    Names none;
    parse_nodes(graph, &none, 0);
    for (const Json& item : json_array(json_field(graph, "outputs"), "outputs"))
      out_.outputs.push_back(renamed(argument(item), {}));
    return std::move(out_);
  }

 private:
  using Names = std::map<std::string, std::string>;

  FileValue renamed(FileValue value, const Names& names) const {
    if (value.kind == Kind::Reference) {
      auto it = names.find(value.name);
      if (it != names.end()) value.name = it->second;
      // An inlined region's result may itself stand for another value.
      for (it = aliases_.find(value.name); it != aliases_.end(); it = aliases_.find(value.name))
        value.name = it->second;
    }
    for (FileValue& item : value.items) item = renamed(std::move(item), names);
    return value;
  }

  // Example values of plain symbols, which expressions need.
  void collect_symbols(const Json& graph) {
    const auto visit = [&](const Json& size) {
      const Json* expr = json_optional(size, "as_expr");
      if (expr == nullptr) return;
      const std::string name =
          symbol_name_of(json_string(json_field(*expr, "expr_str"), "expr_str"));
      if (!name.empty()) hints_.emplace(name, hint_of(*expr));
    };
    if (const Json* tensors = json_optional(graph, "tensor_values")) {
      for (const auto& [name, meta] : json_object(*tensors, "tensor_values").items()) {
        for (const Json& size : json_array(json_field(meta, "sizes"), "sizes")) visit(size);
      }
    }
    if (const Json* sizes = json_optional(graph, "sym_int_values")) {
      for (const auto& [name, size] : json_object(*sizes, "sym_int_values").items()) visit(size);
    }
    parse_values(graph);
  }

  static int64_t hint_of(const Json& expr) {
    const Json* hint = json_optional(expr, "hint");
    const Json* value = hint == nullptr ? nullptr : json_optional(*hint, "as_int");
    return value == nullptr ? 0 : json_int(*value, "hint");
  }

  SymInt size(const Json& object) const {
    const JsonUnion u = json_union(object, "size");
    if (u.key == "as_int") return SymInt(json_int(*u.value, "size"));
    return parse_srepr(json_string(json_field(*u.value, "expr_str"), "expr_str"), hint_of(*u.value),
                       hints_);
  }

  void parse_values(const Json& graph) {
    if (const Json* tensors = json_optional(graph, "tensor_values")) {
      for (const auto& [name, meta] : tensors->items()) {
        try {
          TensorMeta m;
          for (const Json& s : json_field(meta, "sizes")) m.sizes.push_back(size(s));
          if (m.sizes.size() > limits_.dims) throw FileError("too many dimensions");
          m.dtype = dtype_of_code(json_int(json_field(meta, "dtype"), "dtype"));
          out_.tensors.emplace(name, std::move(m));
        } catch (const NotImplementedError&) {  // matters only when the value is needed
        }
      }
    }
    if (const Json* sizes = json_optional(graph, "sym_int_values")) {
      for (const auto& [name, value] : sizes->items()) {
        try {
          out_.sizes.emplace(name, size(value));
        } catch (const NotImplementedError&) {
        }
      }
    }
  }

  void parse_nodes(const Json& graph, Names* names, int depth) {
    for (const Json& item : json_array(json_field(graph, "nodes"), "nodes")) {
      if (out_.nodes.size() >= limits_.nodes)
        throw FileError(cat("more than ", limits_.nodes, " nodes (a limit)"));
      const std::string target = json_string(json_field(item, "target"), "target");
      try {
        if (target == "torch.ops.higher_order.wrap_with_set_grad_enabled") {
          inline_region(item, *names, depth);
        } else {
          out_.nodes.push_back(parse_node(item, target, names, depth > 0));
        }
      } catch (Error& e) {
        const Json* name = json_optional(item, "name");
        if (name != nullptr && name->is_string()) e.at_node(name->get<std::string>());
        e.at_op(target);
        throw;
      }
    }
  }

  FileNode parse_node(const Json& item, const std::string& target, Names* names, bool inner) {
    FileNode node;
    constexpr const char* kPrefix = "torch.ops.";
    node.target = starts_with(target, kPrefix) ? target.substr(10) : target;
    if (const Json* name = json_optional(item, "name")) node.name = json_string(*name, "name");
    if (!starts_with(node.target, "higher_order.")) {  // refused later, with the other operators
      for (const Json& input : json_array(json_field(item, "inputs"), "inputs")) {
        node.inputs.emplace_back(json_string(json_field(input, "name"), "name"),
                                 renamed(argument(json_field(input, "arg")), *names));
      }
    }
    for (const Json& output : json_array(json_field(item, "outputs"), "outputs"))
      node.outputs.push_back(define(argument(output), names, inner));
    node.meta = parse_meta(item);
    return node;
  }

  // Notes the names that `output` defines. A region has its own names: one that is taken outside
  // gets a new name.
  FileValue define(FileValue output, Names* names, bool inner) {
    for_each_reference(output, [&](const std::string& name) {
      if (!defined_.insert(name).second && inner)
        (*names)[name] = cat(name, "_region", defined_.size());
    });
    return inner ? renamed(std::move(output), *names) : output;
  }

  // wrap_with_set_grad_enabled(enabled, graph, operands...): gradients do not exist here, so the
  // graph takes the place of the call.
  void inline_region(const Json& item, const Names& names, int depth) {
    if (depth >= kDeepestRegion) throw FileError("regions are nested too deeply");
    const Json* region = nullptr;
    std::vector<FileValue> operands;
    for (const Json& input : json_array(json_field(item, "inputs"), "inputs")) {
      const JsonUnion u = json_union(json_field(input, "arg"), "argument");
      if (u.key == "as_graph") {
        region = &json_field(*u.value, "graph");
      } else if (region != nullptr) {
        const FileValue value = renamed(argument(json_field(input, "arg")), names);
        if (value.kind == Kind::List) {
          operands.insert(operands.end(), value.items.begin(), value.items.end());
        } else {
          operands.push_back(value);
        }
      }
    }
    if (region == nullptr) throw FileError("a region without a graph");
    const Json& inputs = json_array(json_field(*region, "inputs"), "inputs");
    if (inputs.size() != operands.size())
      throw FileError("a region has a different number of inputs than operands");
    collect_symbols(*region);
    Names inner;
    for (size_t i = 0; i < operands.size(); ++i) {
      const FileValue name = argument(inputs[i]);
      if (name.kind == Kind::Reference && operands[i].kind == Kind::Reference)
        inner[name.name] = operands[i].name;
    }
    parse_nodes(*region, &inner, depth + 1);
    bind_region_outputs(item, *region, inner);
  }

  void bind_region_outputs(const Json& item, const Json& region, const Names& inner) {
    std::vector<std::string> results;
    for (const Json& output : json_array(json_field(region, "outputs"), "outputs"))
      for_each_reference(renamed(argument(output), inner),
                         [&](const std::string& name) { results.push_back(name); });
    std::vector<std::string> outer;
    for (const Json& output : json_array(json_field(item, "outputs"), "outputs"))
      for_each_reference(argument(output), [&](const std::string& n) { outer.push_back(n); });
    if (results.size() != outer.size())
      throw FileError("a region has a different number of results than its call");
    for (size_t i = 0; i < outer.size(); ++i) {
      if (outer[i] == results[i]) continue;
      if (aliases_.count(results[i]) > 0 || !aliases_.emplace(outer[i], results[i]).second)
        throw FileError(cat("the value '", outer[i], "' is defined twice"));
    }
  }

  const LoadLimits& limits_;
  FileGraph out_;
  std::map<std::string, int64_t> hints_;
  std::set<std::string> defined_;
  Names aliases_;  // results of inlined calls → names inside
};

}  // namespace

FileGraph parse_file_graph(const Json& graph, const LoadLimits& limits) {
  return GraphParser(limits).parse(graph);
}

}  // namespace pt2q
