#include "pt2q/graph.h"

#include <algorithm>
#include <atomic>
#include <cctype>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {

namespace {

uint64_t next_graph_id() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

Graph::Graph() : id_(next_graph_id()) {}
Graph::~Graph() = default;

void Graph::link_before(Node* node, Node* before) {
  node->next_ = before;
  node->prev_ = before != nullptr ? before->prev_ : last_;
  (node->prev_ != nullptr ? node->prev_->next_ : first_) = node;
  (before != nullptr ? before->prev_ : last_) = node;
}

void Graph::unlink(Node* node) {
  (node->prev_ != nullptr ? node->prev_->next_ : first_) = node->next_;
  (node->next_ != nullptr ? node->next_->prev_ : last_) = node->prev_;
}

void Graph::add_uses(Node* node, bool is_new) {
  for (const Value& arg : node->args_) {
    for_each_node(arg, [&](Node* n) {
      if (n == nullptr) throw ValueError(cat("node '", node->name_, "' refers to a null node"));
      auto& users = n->users_;
      // A new node can only be the last user: no search, so that building stays linear.
      const bool known = is_new ? !users.empty() && users.back() == node
                                : std::find(users.begin(), users.end(), node) != users.end();
      if (!known) users.push_back(node);
    });
  }
  touch();
}

void Graph::remove_uses(Node* node) {
  for (const Value& arg : node->args_) {
    for_each_node(arg, [&](Node* n) {
      auto& users = n->users_;
      users.erase(std::remove(users.begin(), users.end(), node), users.end());
    });
  }
  touch();
}

Node* Graph::append(std::unique_ptr<Node> owned) {
  Node* node = owned.get();
  for (const Value& arg : node->args_) {
    for_each_node(arg, [&](Node* n) {
      if (n == nullptr || n->graph_ != this || n->erased_) {
        throw ValueError(cat(
            "new node '", node->name_, "' uses ",
            n == nullptr ? "a null node" : "node '" + n->name_ + "', which is not in this graph"));
      }
    });
  }
  node->graph_ = this;
  storage_.push_back(std::move(owned));
  link_before(node, insert_before_);
  by_name_[node->name_] = node;
  ++size_;
  add_uses(node, true);
  return node;
}

std::string Graph::unique_name(const std::string& wanted) {
  std::string candidate;
  for (const char c : wanted) {
    candidate += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' ? c : '_';
  }
  if (candidate.empty()) candidate = "_unnamed";
  if (std::isdigit(static_cast<unsigned char>(candidate[0])) != 0) candidate = "_" + candidate;
  std::string base = candidate;
  int number = 0;
  const size_t underscore = candidate.rfind('_');
  if (underscore != std::string::npos && underscore + 1 < candidate.size() &&
      candidate.size() - underscore < 9 &&
      std::all_of(candidate.begin() + static_cast<int64_t>(underscore) + 1, candidate.end(),
                  [](unsigned char c) { return std::isdigit(c) != 0; })) {
    base = candidate.substr(0, underscore);
    number = std::stoi(candidate.substr(underscore + 1));
    candidate = base + "_" + std::to_string(number);
  }
  if (number == 0) number = name_counters_[base];
  while (by_name_.count(candidate) > 0) {
    ++number;
    candidate = base + "_" + std::to_string(number);
  }
  name_counters_[base] = number;
  by_name_[candidate] = nullptr;  // reserved, also after the node is erased
  return candidate;
}

namespace {
// FX's spelling of targets: "mul.Tensor" → "mul.tensor", "fooBar" → "foo_bar".
std::string snake_case(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (i > 0 && std::isupper(c) != 0 && std::islower(static_cast<unsigned char>(text[i - 1])) != 0)
      out += '_';
    out += static_cast<char>(std::tolower(c));
  }
  return out;
}
}  // namespace

void Graph::rename(Node* node, const std::string& name) {
  const Node* other = find(name);
  if (other != nullptr && other != node) {
    throw ValueError(cat("cannot rename node '", node->name_, "': '", name, "' exists"));
  }
  by_name_[node->name_] = nullptr;
  by_name_[name] = node;
  node->name_ = name;
  touch();
}

Node* Graph::placeholder(const std::string& target, const std::string& name) {
  std::unique_ptr<Node> node(new Node());
  node->opcode_ = OpCode::Placeholder;
  node->target_ = target;
  node->name_ = unique_name(name.empty() ? target : name);
  return append(std::move(node));
}

Node* Graph::get_attr(const std::string& target, const std::string& name) {
  std::unique_ptr<Node> node(new Node());
  node->opcode_ = OpCode::GetAttr;
  node->target_ = target;
  node->name_ = unique_name(name.empty() ? snake_case(target) : name);
  return append(std::move(node));
}

Node* Graph::call_function(const std::string& op_name, std::vector<Value> args,
                           const std::map<std::string, Value>& kwargs, const std::string& name) {
  const OpDef& op = op_table().get(op_name);
  std::unique_ptr<Node> node(new Node());
  node->opcode_ = OpCode::CallFunction;
  node->op_ = &op;
  node->target_ = op.name;
  node->args_ = normalize_args(op, std::move(args), kwargs);
  const std::string derived =
      op.overload().empty() ? op.base_name() : op.base_name() + "_" + op.overload();
  node->name_ = unique_name(name.empty() ? snake_case(derived) : name);
  return append(std::move(node));
}

Node* Graph::call_module(const std::string& target, std::vector<Value> args,
                         const std::string& name) {
  std::unique_ptr<Node> node(new Node());
  node->opcode_ = OpCode::CallModule;
  node->target_ = target;
  node->args_ = std::move(args);
  node->name_ = unique_name(name.empty() ? snake_case(target) : name);
  return append(std::move(node));
}

Node* Graph::output(Value result, const std::string& name) {
  std::unique_ptr<Node> node(new Node());
  node->opcode_ = OpCode::Output;
  node->target_ = "output";
  node->args_ = {std::move(result)};
  node->name_ = unique_name(name);
  return append(std::move(node));
}

Node* Graph::copy_node(const Node& source, const std::unordered_map<const Node*, Node*>& mapping) {
  std::unique_ptr<Node> node(new Node());
  node->opcode_ = source.opcode_;
  node->op_ = source.op_;
  node->target_ = source.target_;
  node->args_ = source.args_;
  node->meta = source.meta;
  node->name_ = unique_name(source.name_);
  for (Value& arg : node->args_) {
    for_each_node(arg, [&](Node*& n) {
      const auto it = mapping.find(n);
      if (it == mapping.end())
        throw ValueError(
            cat("copy_node: '", source.name_, "' uses '", n->name_, "', which is not mapped"));
      n = it->second;
    });
  }
  return append(std::move(node));
}

void Graph::erase_node(Node* node) {
  if (node->erased_) return;
  if (!node->users_.empty()) {
    throw ValueError(cat("cannot erase node '", node->name_, "': it still has ",
                         node->users_.size(), " user(s), e.g. '", node->users_[0]->name_, "'"),
                     "replace its uses first (replace_all_uses_with)");
  }
  remove_uses(node);
  if (insert_before_ == node) insert_before_ = node->next_;
  unlink(node);
  by_name_[node->name_] = nullptr;
  node->erased_ = true;
  --size_;
}

void Graph::record_origins() {
  static std::atomic<int64_t> programs{0};
  const int64_t id = ++programs;
  for (Node* n = first_; n != nullptr; n = n->next_) {
    if (n->opcode_ == OpCode::CallFunction && !n->meta.origin) n->meta.origin = {n->name_, id};
  }
}

Graph::InsertPoint::~InsertPoint() {
  graph_->insert_before_ = saved_ != nullptr && saved_->erased() ? nullptr : saved_;
}

Graph::InsertPoint Graph::inserting_before(Node* node) {
  Node* saved = insert_before_;
  insert_before_ = node;
  return InsertPoint(this, saved);
}

Graph::InsertPoint Graph::inserting_after(Node* node) {
  Node* saved = insert_before_;
  insert_before_ = node != nullptr ? node->next_ : first_;
  return InsertPoint(this, saved);
}

void Graph::move_before(Node* node, Node* target) {
  if (node == target) return;
  unlink(node);
  link_before(node, target);
  touch();
}

std::vector<Node*> Graph::nodes() const {
  std::vector<Node*> out;
  out.reserve(size_);
  for (Node* n = first_; n != nullptr; n = n->next_) out.push_back(n);
  return out;
}

std::vector<Node*> Graph::placeholders() const {
  std::vector<Node*> out;
  for (Node* n = first_; n != nullptr; n = n->next_) {
    if (n->opcode_ == OpCode::Placeholder) out.push_back(n);
  }
  return out;
}

Node* Graph::output_node() const {
  for (Node* n = last_; n != nullptr; n = n->prev_) {
    if (n->opcode_ == OpCode::Output) return n;
  }
  throw ValueError("the graph has no output node", "finish it with graph.output(value)");
}

Node* Graph::find(const std::string& name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

bool Graph::eliminate_dead_code() {
  bool changed = false;
  for (Node* n = last_; n != nullptr;) {
    Node* previous = n->prev_;
    const bool pure =
        n->opcode_ == OpCode::GetAttr || (n->opcode_ == OpCode::CallFunction && !n->is_impure());
    if (pure && n->users_.empty()) {
      erase_node(n);
      changed = true;
    }
    n = previous;
  }
  return changed;
}

void Graph::lint() const {
  std::unordered_set<const Node*> seen;
  bool output_seen = false;
  for (const Node* n = first_; n != nullptr; n = n->next_) {
    const auto check = [n](bool ok, const std::string& what) {
      if (!ok) throw InternalError(cat("graph check: node '", n->name_, "': ", what));
    };
    check(!output_seen, "stands after the output");
    check(n->graph_ == this && !n->erased_, "is not of this graph");
    check(find(n->name_) == n, "name is not unique");
    if (n->op_ != nullptr)
      check(n->args_.size() == n->op_->schema.args.size(), "wrong number of arguments");
    for (const Node* input : n->input_nodes()) {
      check(seen.count(input) > 0, "uses '" + input->name() + "', which does not stand before it");
      const auto& users = input->users();
      check(std::count(users.begin(), users.end(), n) == 1,
            "is not a user of '" + input->name() + "'");
    }
    for (const Node* user : n->users_) {
      const auto inputs = user->input_nodes();
      check(std::find(inputs.begin(), inputs.end(), n) != inputs.end(),
            "stale user '" + user->name() + "'");
    }
    seen.insert(n);
    output_seen = n->opcode_ == OpCode::Output;
  }
}

}  // namespace pt2q
