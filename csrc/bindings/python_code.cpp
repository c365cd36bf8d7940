#include "bindings/python_code.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <unordered_map>

#include "base/strings.h"
#include "bindings/node_args.h"

namespace pt2q::python {
namespace {

std::string value_code(const Value& v) {
  if (v.is<Node*>()) return v.as<Node*>()->name();
  if (v.is<DType>() || v.is<MemoryFormat>() || v.is<Layout>()) return "pt2q." + v.to_string();
  if (v.is<Device>()) return cat("pt2q.device('", device_name(v.as<Device>()), "')");
  if (v.is<double>()) {
    const std::string text = double_to_string(v.as<double>());
    const bool special = text.find("inf") != std::string::npos || text == "nan";
    return special ? "float('" + text + "')" : text;
  }
  if (!v.is<Value::List>()) return v.to_string();
  std::vector<std::string> items;
  for (const Value& item : v.list()) items.push_back(value_code(item));
  return "[" + join(items, ", ") + "]";
}

std::string call_code(const Node& n) {
  const auto& schema = n.op().schema;
  const size_t positional = schema.positional_count();
  size_t count = positional;
  while (count > 0 && schema.args[count - 1].has_default &&
         schema.args[count - 1].default_value == n.arg(count - 1)) {
    --count;
  }
  std::vector<std::string> args;
  for (size_t i = 0; i < count; ++i) args.push_back(value_code(n.arg(i)));
  for (size_t i = positional; i < schema.args.size(); ++i) {
    if (schema.args[i].has_default && schema.args[i].default_value == n.arg(i)) continue;
    args.push_back(schema.args[i].name + " = " + value_code(n.arg(i)));
  }
  const bool builtin = n.op().namespace_name() == "_operator";
  return (builtin ? n.target().substr(1) : "pt2q.ops." + n.target()) + "(" + join(args, ", ") + ")";
}

// self.layer1.0.weight is written self.layer1[0].weight only in people's code: keep it evaluable.
std::string attribute_code(const std::string& root, const std::string& path) {
  std::string out = root;
  for (const std::string& part : split(path, '.')) {
    const bool number = !part.empty() && std::isdigit(static_cast<unsigned char>(part[0])) != 0;
    out = number ? "getattr(" + out + ", \"" + part + "\")" : out + "." + part;
  }
  return out;
}

std::string statement(const Node& n, const std::string& root) {
  switch (n.opcode()) {
    case OpCode::GetAttr:
      return n.name() + " = " + attribute_code(root, n.target());
    case OpCode::CallModule: {
      std::vector<std::string> args;
      for (const Value& arg : n.args()) args.push_back(value_code(arg));
      return n.name() + " = " + attribute_code(root, n.target()) + "(" + join(args, ", ") + ")";
    }
    case OpCode::Output: {
      std::string value = value_code(n.arg(0));
      if (n.arg(0).is<Value::List>()) {
        const bool one = n.arg(0).list().size() == 1;
        value = "(" + value.substr(1, value.size() - 2) + (one ? ",)" : ")");
      }
      return "return " + value;
    }
    default:
      return n.name() + " = " + call_code(n);
  }
}

// Values are dropped after their last use, as FX writes it.
using Positions = std::unordered_map<const Node*, size_t>;

std::string released(const Node& n, const Positions& at) {
  std::vector<std::string> names;
  for (Node* input : n.input_nodes()) {
    const auto& users = input->users();
    const bool last = std::none_of(users.begin(), users.end(),
                                   [&](const Node* user) { return at.at(user) > at.at(&n); });
    if (last) names.push_back(input->name());
  }
  return names.empty() || n.opcode() == OpCode::Output ? ""
                                                       : ";  " + join(names, " = ") + " = None";
}

}  // namespace

std::string python_code(const Graph& graph, const std::string& root) {
  std::string inputs = root;
  std::string body;
  Positions at;
  for (const Node* n : graph.nodes()) at.emplace(n, at.size());
  for (const Node* n : graph.nodes()) {
    if (n->opcode() == OpCode::Placeholder) {
      inputs += ", " + n->name();
    } else {
      body += "    " + statement(*n, root) + released(*n, at) + "\n";
    }
  }
  return "def forward(" + inputs + "):\n" + (body.empty() ? "    pass\n" : body);
}

std::string tabular(const Graph& graph) {
  std::vector<std::array<std::string, 5>> rows = {{"opcode", "name", "target", "args", "kwargs"}};
  for (const Node* n : graph.nodes()) {
    rows.push_back({opcode_name(n->opcode()), n->name(), n->target(),
                    std::string(py::str(node_args(*n))), std::string(py::str(node_kwargs(*n)))});
  }
  std::array<size_t, 5> widths{};
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i = 0; i < widths.size(); ++i) {
      out += rows[r][i];
      if (i + 1 < widths.size()) out += std::string(widths[i] - rows[r][i].size() + 2, ' ');
    }
    out += "\n";
    if (r > 0) continue;
    for (size_t i = 0; i < widths.size(); ++i) {
      out += std::string(widths[i], '-') + (i + 1 < widths.size() ? "  " : "\n");
    }
  }
  return out;
}

}  // namespace pt2q::python
