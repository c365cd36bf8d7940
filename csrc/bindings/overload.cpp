#include "bindings/overload.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/graph.h"

namespace pt2q::python {
namespace {

constexpr int kNoFit = 1000000;

bool is_number(const Value& v) { return v.is<int64_t>() || v.is<double>() || v.is<bool>(); }
bool is_tensor(const Value& v) {
  return v.is<Tensor>() || v.is<TensorMeta>() ||
         (v.is<Node*>() && !v.as<Node*>()->meta.val.is<SymInt>());
}
bool is_size(const Value& v) {
  return v.is<SymInt>() || (v.is<Node*>() && v.as<Node*>()->meta.val.is<SymInt>());
}

// 0 for an exact match; larger for worse conversions.
int item_cost(const SchemaArg& arg, const Value& v) {
  if (v.is_none()) return arg.optional_items ? 0 : kNoFit;
  switch (arg.type) {
    case ArgType::Tensor:
      if (is_tensor(v)) return 0;
      return is_number(v) || is_size(v) ? 8 : kNoFit;
    case ArgType::Int:
      if (v.is<int64_t>() || is_size(v)) return 0;
      if (v.is<bool>()) return 2;
      return is_tensor(v) && v.is<Tensor>() && v.as<Tensor>().numel() == 1 &&
                     v.as<Tensor>().node() == nullptr && is_integral(v.as<Tensor>().dtype())
                 ? 10
                 : kNoFit;
    case ArgType::Float:
      if (v.is<double>()) return 0;
      return is_number(v) || is_size(v) ? 1 : kNoFit;
    case ArgType::Bool:
      if (v.is<bool>()) return 0;
      return v.is<int64_t>() ? 9 : kNoFit;
    case ArgType::Scalar:
      return is_number(v) || is_size(v) ? 0 : kNoFit;
    case ArgType::String:
      return v.is<std::string>() ? 0 : kNoFit;
    case ArgType::DType:
      return v.is<DType>() ? 0 : kNoFit;
    case ArgType::Device:
      if (v.is<Device>()) return 0;
      return v.is<std::string>() ? 1 : kNoFit;
    case ArgType::Layout:
      return v.is<Layout>() ? 0 : kNoFit;
    case ArgType::MemoryFormat:
      return v.is<MemoryFormat>() ? 0 : kNoFit;
    default:
      return 1;
  }
}

int arg_cost(const SchemaArg& arg, const Value& v) {
  if (v.is_none()) {
    return arg.optional || arg.type == ArgType::Any || arg.type == ArgType::Generator ? 0 : kNoFit;
  }
  if (!arg.is_list) return v.is<Value::List>() ? kNoFit : item_cost(arg, v);
  if (!v.is<Value::List>()) {  // int[2] accepts one int
    const bool repeats = arg.list_size > 0 && arg.type != ArgType::Tensor;
    return repeats ? 3 + item_cost(arg, v) : kNoFit;
  }
  int cost = 0;
  for (const Value& item : v.list()) cost = std::max(cost, item_cost(arg, item));
  return cost;
}

int call_cost(const OpDef& op, std::vector<Value> args, KwValues kwargs) {
  adapt_call(op, &args, &kwargs);
  const auto& schema = op.schema;
  if (args.size() > schema.positional_count()) return kNoFit;
  int cost = 0;
  std::vector<bool> given(schema.args.size(), false);
  for (size_t i = 0; i < args.size(); ++i) {
    cost += arg_cost(schema.args[i], args[i]);
    given[i] = true;
  }
  for (const auto& [name, value] : kwargs) {
    const int at = schema.index_of(name);
    if (at < 0 || given[static_cast<size_t>(at)]) return kNoFit;
    cost += arg_cost(schema.args[static_cast<size_t>(at)], value);
    given[static_cast<size_t>(at)] = true;
  }
  for (size_t i = 0; i < given.size(); ++i) {
    const SchemaArg& arg = schema.args[i];
    if (!given[i] && !arg.has_default && arg.type != ArgType::Generator) return kNoFit;
  }
  return cost;
}

// PyTorch's Python functions wrap the number of these into a 0-d tensor, so that graphs hold
// aten.add.Tensor(x, 1); their Scalar overloads are reached by name only.
bool is_hidden(const std::string& packet, const std::string& overload) {
  static constexpr std::array<const char*, 8> kPackets = {"aten.add",  "aten.sub",  "aten.mul",
                                                          "aten.div",  "aten.add_", "aten.sub_",
                                                          "aten.mul_", "aten.div_"};
  return overload == "Scalar" &&
         std::any_of(kPackets.begin(), kPackets.end(), [&](const char* p) { return packet == p; });
}

std::string kinds_text(const std::vector<Value>& args, const KwValues& kwargs) {
  std::vector<std::string> parts;
  for (const Value& v : args) parts.push_back(v.kind_name());
  for (const auto& [name, v] : kwargs) parts.push_back(name + "=" + v.kind_name());
  return "(" + join(parts, ", ") + ")";
}

}  // namespace

void adapt_call(const OpDef& op, std::vector<Value>* args, KwValues* kwargs) {
  const auto& schema = op.schema;
  static constexpr std::array<std::array<const char*, 2>, 4> kSpellings = {
      {{"input", "self"}, {"axis", "dim"}, {"keepdims", "keepdim"}, {"x2", "other"}}};
  for (const auto& [python, aten] : kSpellings) {
    const auto it = kwargs->find(python);
    if (it != kwargs->end() && schema.index_of(python) < 0 && schema.index_of(aten) >= 0) {
      kwargs->emplace(aten, it->second);
      kwargs->erase(it);
    }
  }
  // Sizes given one by one: the first int list that is the last positional argument takes them all.
  for (size_t i = 0; i < 2 && i < schema.args.size() && i < args->size(); ++i) {
    const SchemaArg& arg = schema.args[i];
    if (arg.kwarg_only) break;
    const auto begin = args->begin() + static_cast<std::ptrdiff_t>(i);
    const bool all_ints = std::all_of(begin, args->end(),
                                      [](const Value& v) { return v.is<int64_t>() || is_size(v); });
    if (!all_ints) continue;
    const bool takes_all = arg.is_list && arg.type == ArgType::Int &&
                           (args->size() > schema.positional_count() || arg.list_size == 0);
    if (takes_all) {
      Value::List items(begin, args->end());
      args->erase(begin, args->end());
      args->push_back(Value(std::move(items)));
    }
    break;
  }
}

const OpDef& resolve_overload(const std::string& packet, const std::vector<Value>& args,
                              const KwValues& kwargs) {
  const OpTable& table = op_table();
  const std::vector<std::string> overloads = table.overloads(packet);
  if (overloads.empty()) return table.get(packet);  // throws, or an operator without overloads
  const OpDef* best = nullptr;
  int best_cost = kNoFit;
  std::string schemas;
  for (const std::string& overload : overloads) {
    const OpDef& op = table.get(packet + "." + overload);
    schemas += "\n  " + op.name + op.schema.text;
    if (overloads.size() > 1 && is_hidden(packet, overload)) continue;
    const int cost = call_cost(op, args, kwargs);
    if (cost < best_cost || (cost == best_cost && cost < kNoFit && overload == "default")) {
      best = &op;
      best_cost = cost;
    }
  }
  if (best != nullptr) return *best;
  if (overloads.size() == 1) return table.get(packet + "." + overloads[0]);  // its check explains
  throw TypeError(
      cat("no overload takes ", kinds_text(args, kwargs), "; the overloads are", schemas))
      .at_op(packet);
}

}  // namespace pt2q::python
