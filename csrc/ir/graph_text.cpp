// The text form of a graph; text.cpp parses it back.
#include "base/strings.h"
#include "ir/text.h"
#include "pt2q/graph.h"

namespace pt2q {
namespace {

void collect_symbols(const SymExpr& e, std::map<std::string, int64_t>* symbols) {
  if (e.kind == SymExpr::Kind::Symbol) symbols->emplace(e.symbol, 2);
  for (const auto& operand : e.operands) collect_symbols(*operand, symbols);
}

void collect_symbols(const Value& v, std::map<std::string, int64_t>* symbols) {
  const auto add = [symbols](const SymInt& size) {
    if (size.is_constant()) return;
    collect_symbols(*size.expr(), symbols);
    if (size.expr()->kind == SymExpr::Kind::Symbol) (*symbols)[size.expr()->symbol] = size.hint();
  };
  if (v.is<SymInt>()) add(v.as<SymInt>());
  if (v.is<TensorMeta>()) {
    for (const SymInt& size : v.as<TensorMeta>().sizes) add(size);
  }
  if (v.is<Value::List>()) {
    for (const Value& item : v.list()) collect_symbols(item, symbols);
  }
}

// "s0=4, s1=16": the dynamic sizes with their example values.
std::string symbols_text(const Graph& graph) {
  std::map<std::string, int64_t> symbols;
  for (const Node* n = graph.first(); n != nullptr; n = n->next()) {
    collect_symbols(n->meta.val, &symbols);
    for (const Value& arg : n->args()) collect_symbols(arg, &symbols);
  }
  std::vector<std::string> parts;
  for (const auto& [name, hint] : symbols) parts.push_back(cat(name, "=", hint));
  return join(parts, ", ");
}

std::string args_text(const Node& n) {
  std::vector<std::string> parts;
  for (const Value& arg : n.args()) parts.push_back(arg.to_string());
  return join(parts, ", ");
}

std::string call_text(const Node& n) {
  const auto& schema = n.op().schema;
  const size_t positional = schema.positional_count();
  size_t count = positional;
  while (count > 0 && schema.args[count - 1].has_default &&
         schema.args[count - 1].default_value == n.arg(count - 1))
    --count;
  std::vector<std::string> parts;
  for (size_t i = 0; i < count; ++i) parts.push_back(n.arg(i).to_string());
  for (size_t i = positional; i < schema.args.size(); ++i) {
    if (schema.args[i].has_default && schema.args[i].default_value == n.arg(i)) continue;
    parts.push_back(schema.args[i].name + "=" + n.arg(i).to_string());
  }
  return n.target() + "(" + join(parts, ", ") + ")";
}

}  // namespace

std::string Graph::to_string() const {
  std::string out = "graph(" + symbols_text(*this) + "):\n";
  for (const Node* n = first_; n != nullptr; n = n->next_) {
    if (n->opcode_ == OpCode::Output && n->name_ == "output") {
      out += "    return " + n->args_[0].to_string() + "\n";
      continue;
    }
    out += "    %" + n->name_;
    const std::string val = meta_to_text(n->meta.val);
    if (!val.empty()) out += " : " + val;
    out += " = ";
    switch (n->opcode_) {
      case OpCode::CallFunction:
        out += call_text(*n);
        break;
      case OpCode::CallModule:
        out += "call_module[" + n->target_ + "](" + args_text(*n) + ")";
        break;
      case OpCode::Output:
        out += "output(" + args_text(*n) + ")";
        break;
      default:
        out += std::string(opcode_name(n->opcode_)) + "[" + n->target_ + "]";
    }
    out += "\n";
  }
  return out;
}

}  // namespace pt2q
