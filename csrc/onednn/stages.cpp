// The pipeline as oneDNN's graph integration describes it: text for people who debug performance.
#include <algorithm>
#include <map>

#include "base/strings.h"
#include "pt2q/runtime.h"

namespace pt2q {
namespace {

std::string text_argument(const Node* n, const char* name) {
  const int at = n->op().schema.index_of(name);
  if (at < 0 || !n->arg(static_cast<size_t>(at)).is<std::string>()) return "";
  return n->arg(static_cast<size_t>(at)).as<std::string>();
}

bool has_true(const Node* n, const char* name) {
  const int at = n->op().schema.index_of(name);
  return at >= 0 && n->arg(static_cast<size_t>(at)) == Value(true);
}

// "conv_sum_relu" of a convolution with post-ops "add, relu".
std::string partition_name(const Node* n) {
  std::string name = n->op().base_name();
  if (name.size() > 1 && name[0] == 'q') name.erase(0, 1);
  std::string ops = text_argument(n, "post_ops");
  if (has_true(n, "relu")) ops = "relu";
  for (const std::string& op : split(ops, ',')) {
    std::string word = op.substr(0, op.find('('));
    word.erase(0, word.find_first_not_of(' '));
    const bool is_argument = word.empty() || std::isalpha(static_cast<unsigned char>(word[0])) == 0;
    if (!is_argument) name += "_" + (word == "add" ? "sum" : word);
  }
  return name;
}

// conv_unary, conv_binary, linear_unary ...: the family of a fusion; "" without one.
std::string family(const Node* n) {
  const std::string base = n->op().base_name();
  const bool conv = base.find("conv") != std::string::npos;
  const std::string ops = text_argument(n, "post_ops");
  if (ops.empty() || (!conv && base.find("linear") == std::string::npos)) return "";
  return cat(" (", conv ? "conv" : "linear",
             ops.find("add") != std::string::npos ? "_binary)" : "_unary)");
}

bool is_lowered(const Node* n) {
  return n->op_or_null() != nullptr &&
         (n->op().namespace_name() == "pt2q" || n->op().namespace_name() == "onednn");
}

std::string mutation_stage(const GraphModule& source) {
  std::string out = "1. alias and mutation reduction\n";
  size_t aliases = 0;
  for (const Node* n = source.graph().first(); n != nullptr; n = n->next()) {
    if (n->op_or_null() == nullptr) continue;
    if (n->op().traits.identity) ++aliases;
    const std::string& called = n->meta.source_fn;
    if (called == n->op().base_name() + "_") {
      out += cat("   ", n->name(), ": ", called, " became ", n->op().name, "\n");
    }
  }
  return out + cat("   identities removed: ", aliases, "\n");
}

std::string passing_stage(const GraphModule& source) {
  std::map<std::string, size_t> counts;
  for (const Node* n = source.graph().first(); n != nullptr; n = n->next()) {
    if (n->op_or_null() != nullptr) ++counts[n->target()];
  }
  std::string out = "2. graph passing\n";
  for (const auto& [name, count] : counts) out += cat("   ", name, ": ", count, "\n");
  return out;
}

std::string partition_stage(const GraphModule& lowered) {
  std::string out = "3. partitioning\n";
  size_t number = 0;
  for (const Node* n = lowered.graph().first(); n != nullptr; n = n->next()) {
    if (!is_lowered(n)) continue;
    out += cat("   partition ", number++, ": ", partition_name(n), family(n), " -> ", n->target(),
               " '", n->name(), "'\n");
  }
  return out;
}

std::string layout_stage(CompiledModel& compiled, const std::vector<Value>& inputs) {
  std::string out = "5. layout propagation\n";
  for (const StepReport& s : compiled.steps(inputs)) {
    out += cat("   ", s.node.empty() ? "-" : s.node, ": ", s.kernel, ", ", s.dtype,
               s.layout.empty() ? "" : ", ", s.layout, s.note.empty() ? "" : "; ", s.note, "\n");
  }
  return out;
}

}  // namespace

std::string stage_report(const GraphModule& source, CompiledModel& compiled,
                         const std::vector<Value>& inputs) {
  return mutation_stage(source) + passing_stage(source) + partition_stage(compiled.module()) +
         "4. graph rewriting\n" + compiled.module().graph().to_string() + "\n" +
         layout_stage(compiled, inputs);
}

}  // namespace pt2q
