// In-place operators of a file become functional ones: after a write, every name of the written
// memory stands for its new value. State that a model keeps from call to call is refused.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "io/pt2_functionalize.h"
#include "pt2q/graph.h"

namespace pt2q {

class InplaceWrites {
 public:
  // Calls an operator for `node`, whose metadata the new node takes; the last argument is its name.
  using Call = std::function<Node*(const FileNode& node, const std::string& op,
                                   std::vector<Value> args, const std::string& name)>;
  using Values = std::map<std::string, Node*>;

  // All references must outlive the object; `values` are those the names stand for now.
  InplaceWrites(const FileGraph& file, const AliasSets& aliases, const Liveness& live,
                Values* values, Call call);

  // `value` is a parameter, buffer or constant; `what` says which: "buffer 'conv.mask'".
  void add_attribute(const std::string& value, const std::string& what);
  // `node` is the call of a view operator that `value` stands for.
  void add_view(const std::string& value, Node* node) { views_[value] = node; }

  // Node `index` of the file has written its first argument: that name and all names of its memory
  // stand for `result`. Throws NotImplementedError where that cannot be told.
  void rebind(size_t index, Node* result);
  // Throws NotImplementedError when the next call would see what `node`, which nothing in the graph
  // reads, writes. The batch counter of batch norm alone, which no operator reads, may be lost.
  void refuse_lost_write(const FileNode& node) const;

 private:
  // Links of one alias set that still matter: those to values that are used later.
  struct ActiveLinks {
    std::vector<size_t> nodes;
    size_t next = 0;  // first entry of AliasSets::links not looked at yet
  };

  const std::string& owner(const std::string& value) const;
  const std::string* written_attribute(const std::string& value) const;
  bool used_after(const std::string& name, size_t index) const;
  void update_aliases(const std::string& written, size_t index, Values* updated);
  void drop_unused_links(size_t index, const Values& updated, std::vector<size_t>* links) const;
  void drop_unused_roots(size_t index, const Values& updated, std::vector<size_t>* links) const;
  bool update_link(const FileNode& node, Values* updated);
  void refuse_stale_values(const FileNode& node, const std::string& written, size_t index,
                           const Values& updated) const;

  const FileGraph& file_;
  const AliasSets& aliases_;
  const Liveness& live_;
  Values& values_;
  Call call_;
  std::map<std::string, std::string> owner_;         // value → the first name of its memory
  std::map<std::string, std::string> attributes_;    // value → what it is
  Values views_;                                     // what a view was before anything was written
  std::map<std::string, ActiveLinks> active_links_;  // by AliasSets::representative
};

}  // namespace pt2q
