#include "ir/match.h"

#include <algorithm>
#include <unordered_map>

#include "base/strings.h"
#include "ir/text_ast.h"
#include "pt2q/error.h"
#include "pt2q/graph_module.h"

namespace pt2q {
namespace {

using text::Expr;
using text::Statement;

template <typename Map>
const typename Map::mapped_type& lookup(const Map& map, const std::string& name) {
  const auto it = map.find(name);
  if (it == map.end()) throw KeyError(cat("the match has no '", name, "'"));
  return it->second;
}

bool holds_node(const Value& v) {
  bool found = false;
  for_each_node(v, [&](Node*) { found = true; });
  return found;
}

// A call statement with its arguments in schema order.
struct PatternCall {
  const Statement* statement = nullptr;
  std::vector<const OpDef*> ops;  // alternatives; empty: get_attr or call_module
  std::vector<const Expr*> args;  // null: must be the default
  bool ellipsis = false;
};

}  // namespace

Node* Match::node(const std::string& name) const { return lookup(nodes, name); }
Node* Match::node_or_null(const std::string& name) const {
  const auto it = nodes.find(name);
  return it == nodes.end() ? nullptr : it->second;
}
const Value& Match::value(const std::string& name) const { return lookup(values, name); }

// --- Pattern -------------------------------------------------------------------------------------

struct Pattern::Impl {
  text::Document document;
  std::unordered_map<std::string, PatternCall> calls;
  std::vector<std::string> results;

  explicit Impl(const std::string& source) : document(text::parse(source)) {
    for (const Statement& s : document.statements) {
      if (s.opcode == OpCode::Output) {
        for (const Expr& e : s.args) results.push_back(e.name);
      } else if (s.opcode != OpCode::Placeholder && !calls.emplace(s.name, compile(s)).second) {
        throw ValueError(cat("pattern: %", s.name, " is defined twice"));
      }
    }
    if (results.empty()) throw ValueError("pattern: 'return %root' is missing");
    for (const std::string& name : results) {
      if (calls.count(name) == 0)
        throw ValueError(cat("pattern: the result %", name, " is not defined by a statement"));
    }
  }

  static PatternCall compile(const Statement& s) {
    PatternCall call;
    call.statement = &s;
    if (s.opcode != OpCode::CallFunction) {
      for (const Expr& e : s.args) call.args.push_back(&e);
      return call;
    }
    for (const std::string& target : s.targets) call.ops.push_back(&op_table().get(target));
    const Schema& schema = call.ops[0]->schema;
    call.args.assign(schema.args.size(), nullptr);
    for (size_t i = 0; i < s.args.size(); ++i) {
      if (s.args[i].kind == Expr::Kind::Ellipsis) {
        call.ellipsis = true;
      } else if (i >= call.args.size()) {
        throw ValueError(cat("pattern, line ", s.line, ": too many arguments"));
      } else {
        call.args[i] = &s.args[i];
      }
    }
    for (const auto& [name, e] : s.kwargs) {
      const int i = schema.index_of(name);
      if (i < 0)
        throw ValueError(cat("pattern, line ", s.line, ": ", call.ops[0]->name,
                             " has no argument '", name, "'"));
      call.args[static_cast<size_t>(i)] = &e;
    }
    return call;
  }
};

namespace {

class Matcher {
 public:
  Matcher(const std::unordered_map<std::string, PatternCall>& calls) : calls_(calls) {}

  bool match_call(const std::string& name, const PatternCall& call, Node* node) {
    if (node->opcode() != call.statement->opcode) return false;
    if (call.ops.empty()) {
      const std::string& target = call.statement->targets[0];
      if (!target.empty() && target != node->target()) return false;
    } else if (std::find(call.ops.begin(), call.ops.end(), node->op_or_null()) == call.ops.end()) {
      return false;
    }
    const Match saved = match_;
    for (const bool swapped : {false, true}) {
      if (swapped && !(node->op_or_null() != nullptr && node->op().traits.commutative)) break;
      match_.nodes[name] = node;
      if (match_args(call, node, swapped)) {
        if (std::find(match_.interior.begin(), match_.interior.end(), node) ==
            match_.interior.end())
          match_.interior.push_back(node);
        return true;
      }
      match_ = saved;
    }
    return false;
  }

  Match& match() { return match_; }

 private:
  bool match_args(const PatternCall& call, Node* node, bool swapped) {
    for (size_t i = 0; i < node->args().size(); ++i) {
      const size_t from = swapped && i < 2 ? 1 - i : i;
      const Value& value = node->arg(from);
      const Expr* e = i < call.args.size() ? call.args[i] : nullptr;
      if (e == nullptr) {
        if (call.ellipsis || call.ops.empty()) continue;
        const SchemaArg& arg = node->op().schema.args[i];
        if (!arg.has_default || arg.default_value != value) return false;
      } else if (!match_expr(*e, value)) {
        return false;
      }
    }
    return true;
  }

  bool match_expr(const Expr& e, const Value& value) {
    switch (e.kind) {
      case Expr::Kind::Any:
      case Expr::Kind::Ellipsis:
        return true;
      case Expr::Kind::Literal:
        return e.literal == value;
      case Expr::Kind::Variable:
        return !holds_node(value) && bind_value(e.name, value);
      case Expr::Kind::Optional:
        if (value.is_none()) return match_.nodes.count(e.name) == 0 && bind_value(e.name, value);
        [[fallthrough]];
      case Expr::Kind::Ref:
        return value.is<Node*>() && match_node(e.name, value.as<Node*>());
      case Expr::Kind::List: {
        if (!value.is<Value::List>() || value.list().size() != e.items.size()) return false;
        for (size_t i = 0; i < e.items.size(); ++i) {
          if (!match_expr(e.items[i], value.list()[i])) return false;
        }
        return true;
      }
    }
    return false;
  }

  bool bind_value(const std::string& name, const Value& value) {
    const auto [it, added] = match_.values.emplace(name, value);
    return added || it->second == value;
  }

  bool match_node(const std::string& name, Node* node) {
    const auto bound = match_.nodes.find(name);
    if (bound != match_.nodes.end()) return bound->second == node;
    const auto call = calls_.find(name);
    if (call != calls_.end()) return match_call(name, call->second, node);
    match_.nodes[name] = node;
    return true;
  }

  const std::unordered_map<std::string, PatternCall>& calls_;
  Match match_;
};

}  // namespace

Pattern::Pattern(const std::string& source) : impl_(std::make_unique<Impl>(source)) {}
Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

std::optional<Match> Pattern::match_at(Node* root) const {
  const std::string& name = impl_->results[0];
  Matcher matcher(impl_->calls);
  if (!matcher.match_call(name, impl_->calls.at(name), root)) return std::nullopt;
  Match& match = matcher.match();
  std::unordered_set<const Node*> results;
  for (const std::string& result : impl_->results) {
    const auto it = match.nodes.find(result);
    if (it == match.nodes.end())
      throw ValueError(cat("pattern: %", result, " does not lead to the root %", name));
    results.insert(it->second);
  }
  for (const Node* node : match.interior) {
    if (results.count(node) > 0 || node->opcode() == OpCode::GetAttr) continue;
    for (Node* user : node->users()) {
      if (std::find(match.interior.begin(), match.interior.end(), user) == match.interior.end())
        return std::nullopt;
    }
  }
  return std::move(match);
}

std::vector<Match> Pattern::find_all(const Graph& graph) const {
  std::vector<Match> out;
  std::unordered_set<const Node*> taken;
  for (Node* n = graph.first(); n != nullptr; n = n->next()) {
    auto match = match_at(n);
    if (!match) continue;
    const auto used = [&](const Node* m) {
      return m->opcode() != OpCode::GetAttr && taken.count(m) > 0;
    };
    if (std::any_of(match->interior.begin(), match->interior.end(), used)) continue;
    taken.insert(match->interior.begin(), match->interior.end());
    out.push_back(std::move(*match));
  }
  return out;
}

// --- Replacement ---------------------------------------------------------------------------------

struct Replacement::Impl {
  text::Document document;

  explicit Impl(const std::string& source) : document(text::parse(source)) {
    if (document.statements.empty() || document.statements.back().opcode != OpCode::Output ||
        document.statements.back().args.size() != 1) {
      throw ValueError("replacement: must end with 'return %result'");
    }
  }
};

Replacement::Replacement(const std::string& source) : impl_(std::make_unique<Impl>(source)) {}
Replacement::~Replacement() = default;
Replacement::Replacement(Replacement&&) noexcept = default;
Replacement& Replacement::operator=(Replacement&&) noexcept = default;

namespace {

class Instantiation {
 public:
  Instantiation(Graph& graph, const Match& match) : graph_(graph), match_(match) {}

  void add(const Statement& s) {
    std::vector<Value> args;
    for (const Expr& e : s.args) args.push_back(value(e));
    std::map<std::string, Value> kwargs;
    for (const auto& [name, e] : s.kwargs) kwargs[name] = value(e);
    Node* node = nullptr;
    if (s.opcode == OpCode::GetAttr) {
      node = graph_.get_attr(s.targets.at(0), s.name);
    } else if (s.opcode == OpCode::CallModule) {
      node = graph_.call_module(s.targets.at(0), std::move(args), s.name);
    } else {
      // Named after the operator, as any new call: pattern names mean nothing to a reader.
      node = graph_.call_function(s.targets.at(0), std::move(args), kwargs);
      node->meta.val = infer_node(*node);
    }
    node->meta.nn_module_stack = match_.root()->meta.nn_module_stack;
    node->meta.source_fn = match_.root()->meta.source_fn;
    node->meta.stack_trace = match_.root()->meta.stack_trace;
    created_[s.name] = node;
  }

  bool made(const Node* node) const {
    return std::any_of(created_.begin(), created_.end(),
                       [&](const auto& entry) { return entry.second == node; });
  }

  Value value(const Expr& e) const {
    switch (e.kind) {
      case Expr::Kind::Literal:
        return e.literal;
      case Expr::Kind::Variable:
        return match_.value(e.name);
      case Expr::Kind::Ref:
      case Expr::Kind::Optional: {
        const auto it = created_.find(e.name);
        if (it != created_.end()) return Value(it->second);
        if (Node* node = match_.node_or_null(e.name)) return Value(node);
        return match_.value(e.name);  // None of an absent %name?
      }
      case Expr::Kind::List: {
        Value::List items;
        for (const Expr& item : e.items) items.push_back(value(item));
        return Value(std::move(items));
      }
      default:
        throw ValueError("replacement: _ and ... have no value");
    }
  }

 private:
  Graph& graph_;
  const Match& match_;
  std::unordered_map<std::string, Node*> created_;
};

}  // namespace

Node* Replacement::apply(Graph& graph, const Match& match) const {
  Node* root = match.root();
  Instantiation instance(graph, match);
  const auto point = graph.inserting_before(root);
  const auto& statements = impl_->document.statements;
  for (size_t i = 0; i + 1 < statements.size(); ++i) instance.add(statements[i]);
  const Value result = instance.value(statements.back().args[0]);
  Node* node = result.as<Node*>();
  if (instance.made(node)) stands_for(node, *root);  // one that stood before is itself still
  root->replace_all_uses_with(node);
  for (auto it = match.interior.rbegin(); it != match.interior.rend(); ++it) {
    if ((*it)->users().empty() && *it != node) graph.erase_node(*it);
  }
  return node;
}

}  // namespace pt2q
