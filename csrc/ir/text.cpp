#include "ir/text.h"

#include <unordered_map>

#include "base/strings.h"
#include "ir/text_ast.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

class Builder {
 public:
  explicit Builder(Graph& graph) : graph_(graph) {}

  void add(const text::Statement& s) {
    try {
      Node* node = make(s);
      node->meta.val = s.val;
      if (s.name.empty()) return;
      if (!nodes_.emplace(s.name, node).second)
        throw ValueError(cat("%", s.name, " is defined twice"));
    } catch (const NotImplementedError&) {
      throw;
    } catch (const Error& e) {
      throw ValueError(cat("graph text, line ", s.line, ": ", e.what()));
    }
  }

 private:
  Node* make(const text::Statement& s) {
    if (s.targets.size() > 1) throw ValueError("alternatives are allowed in patterns only");
    std::vector<Value> args;
    for (const text::Expr& e : s.args) args.push_back(value(e));
    switch (s.opcode) {
      case OpCode::Placeholder:
        return graph_.placeholder(s.targets[0], s.name);
      case OpCode::GetAttr:
        return graph_.get_attr(s.targets[0], s.name);
      case OpCode::CallModule:
        return graph_.call_module(s.targets[0], std::move(args), s.name);
      case OpCode::Output:
        if (args.size() != 1) args = {Value(Value::List(args.begin(), args.end()))};
        return graph_.output(std::move(args[0]), s.name.empty() ? "output" : s.name);
      default:
        break;
    }
    std::map<std::string, Value> kwargs;
    for (const auto& [name, e] : s.kwargs) kwargs[name] = value(e);
    return graph_.call_function(s.targets[0], std::move(args), kwargs, s.name);
  }

  Value value(const text::Expr& e) const {
    switch (e.kind) {
      case text::Expr::Kind::Literal:
        return e.literal;
      case text::Expr::Kind::Ref: {
        const auto it = nodes_.find(e.name);
        if (it == nodes_.end())
          throw ValueError(cat("%", e.name, " is used before its definition"));
        return Value(it->second);
      }
      case text::Expr::Kind::List: {
        Value::List items;
        for (const text::Expr& item : e.items) items.push_back(value(item));
        return Value(std::move(items));
      }
      default:
        throw ValueError("%name?, $name, _ and ... are allowed in patterns only");
    }
  }

  Graph& graph_;
  std::unordered_map<std::string, Node*> nodes_;
};

}  // namespace

void parse_graph(const std::string& source, Graph& graph) {
  Builder builder(graph);
  for (const text::Statement& s : text::parse(source).statements) builder.add(s);
}

std::unique_ptr<Graph> parse_graph(const std::string& source) {
  auto graph = std::make_unique<Graph>();
  parse_graph(source, *graph);
  return graph;
}

std::string meta_to_text(const Value& val) {
  if (val.is_none()) return "";
  if (val.is<Value::List>()) {
    std::vector<std::string> parts;
    for (const Value& item : val.list())
      parts.push_back(item.is_none() ? "None" : meta_to_text(item));
    return "(" + join(parts, ", ") + ")";
  }
  if (val.is<TensorMeta>()) {
    const auto& meta = val.as<TensorMeta>();
    const bool plain = meta.device.type == DeviceType::CPU && meta.device.index < 0;
    return plain ? describe(meta) : describe(meta) + "@" + device_name(meta.device);
  }
  return std::string(val.is<SymInt>() ? "int" : val.kind_name()) + "(" + val.to_string() + ")";
}

}  // namespace pt2q
