#include <algorithm>

#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/op.h"
#include "pt2q/trace.h"

namespace pt2q {

void register_all_ops(OpTable& table);  // generated from csrc/ops/*.cpp

// --- OpDef
// -----------------------------------------------------------------------------------------

std::string OpDef::namespace_name() const { return name.substr(0, name.find('.')); }

std::string OpDef::base_name() const {
  const auto parts = split(name, '.');
  return parts.size() > 1 ? parts[1] : name;
}

std::string OpDef::overload() const {
  const auto parts = split(name, '.');
  return parts.size() > 2 ? parts[2] : "";
}

bool OpDef::returns_list() const { return schema.returns.size() != 1 || schema.returns[0].is_list; }

// --- OpTable
// ---------------------------------------------------------------------------------------

OpDef& OpTable::define(const std::string& name, const std::string& schema) {
  auto op = std::make_unique<OpDef>();
  op->name = name;
  op->schema = parse_schema(schema);
  const auto [it, added] = ops_.emplace(name, std::move(op));
  if (!added) throw ValueError(cat("operator ", name, " is defined twice"));
  return *it->second;
}

OpDef& OpTable::define_alias(const std::string& name, const std::string& existing) {
  const OpDef& source = get(existing);
  auto op = std::make_unique<OpDef>(source);
  op->name = name;
  const auto [it, added] = ops_.emplace(name, std::move(op));
  if (!added) throw ValueError(cat("operator ", name, " is defined twice"));
  return *it->second;
}

void check_storable(DType result, DType target) {
  const bool lossy = (is_floating_point(result) && !is_floating_point(target)) ||
                     (result != DType::Bool && target == DType::Bool);
  if (!lossy) return;
  throw RuntimeError(cat("result type ", dtype_name(result),
                         " can't be cast to the desired output type ", dtype_name(target)),
                     "use the operator without the trailing underscore");
}

OpDef& OpTable::define_inplace(const std::string& name, const std::string& functional) {
  OpDef& op = define_alias(name, functional);
  op.functional = functional;
  op.schema.args.at(0).written = true;
  const KernelFn compute = op.reference;
  op.reference = [compute](const Args& args) {
    Tensor self = args.tensor(0);
    const Tensor result = compute(args).as<Tensor>();
    if (result.sizes() != self.sizes()) {
      throw ValueError(cat("in-place operator: the result has shape ",
                           list_to_string(result.sizes()), ", but the tensor written has ",
                           list_to_string(self.sizes())));
    }
    check_storable(result.dtype(), self.dtype());
    self.copy_(result);
    return Value(self);
  };
  return op;
}

OpDef& OpTable::define_inplace_view(const std::string& name, const std::string& functional) {
  OpDef& op = define_inplace(name, functional);
  const KernelFn view = get(functional).reference;
  op.reference = [view](const Args& args) {
    Tensor self = args.tensor(0);
    self.become_view(view(args).as<Tensor>());
    return Value(self);
  };
  return op;
}

const OpDef* OpTable::find(const std::string& name) const {
  const auto it = ops_.find(name);
  return it == ops_.end() ? nullptr : it->second.get();
}

const OpDef& OpTable::get(const std::string& name) const {
  const OpDef* op = find(name);
  if (op == nullptr) {
    throw NotImplementedError(cat("operator ", name, " is not supported"),
                              "pt2q.ops lists the supported operators");
  }
  return *op;
}

std::vector<std::string> OpTable::names() const {
  std::vector<std::string> out;
  for (const auto& entry : ops_) out.push_back(entry.first);
  return out;
}

std::vector<std::string> OpTable::overloads(const std::string& packet) const {
  std::vector<std::string> out;
  const std::string prefix = packet + ".";
  for (auto it = ops_.lower_bound(prefix); it != ops_.end() && starts_with(it->first, prefix);
       ++it) {
    out.push_back(it->first.substr(prefix.size()));
  }
  return out;
}

const OpTable& op_table() {
  static const OpTable* table = [] {
    auto* t = new OpTable();
    register_all_ops(*t);
    return t;
  }();
  return *table;
}

// --- Args
// ------------------------------------------------------------------------------------------

namespace {

template <typename Fn>
auto named(const OpDef& op, size_t i, Fn&& fn) -> decltype(fn()) {
  try {
    return fn();
  } catch (Error& e) {
    if (!e.op().empty()) throw;
    const std::string arg = i < op.schema.args.size() ? op.schema.args[i].name : std::to_string(i);
    throw TypeError(cat("argument '", arg, "': ", e.message())).at_op(op.name);
  }
}

}  // namespace

const Tensor& Args::tensor(size_t i) const {
  return named(op_, i, [&]() -> const Tensor& { return values_.at(i).as<Tensor>(); });
}
Tensor Args::optional_tensor(size_t i) const { return is_none(i) ? Tensor() : tensor(i); }
std::vector<Tensor> Args::tensors(size_t i) const {
  return named(op_, i, [&] {
    std::vector<Tensor> out;
    for (const Value& v : values_.at(i).list())
      out.push_back(v.is_none() ? Tensor() : v.as<Tensor>());
    return out;
  });
}
const TensorMeta& Args::meta(size_t i) const {
  return named(op_, i, [&]() -> const TensorMeta& { return values_.at(i).as<TensorMeta>(); });
}
std::vector<TensorMeta> Args::metas(size_t i) const {
  return named(op_, i, [&] {
    std::vector<TensorMeta> out;
    for (const Value& v : values_.at(i).list()) out.push_back(v.as<TensorMeta>());
    return out;
  });
}
int64_t Args::integer(size_t i) const {
  return named(op_, i, [&] { return values_.at(i).to_int(); });
}
SymInt Args::sym_int(size_t i) const {
  return named(op_, i, [&] { return values_.at(i).to_sym_int(); });
}
double Args::number(size_t i) const {
  return named(op_, i, [&] { return values_.at(i).to_double(); });
}
bool Args::boolean(size_t i) const {
  return named(op_, i, [&] { return values_.at(i).to_bool(); });
}
const std::string& Args::string(size_t i) const {
  return named(op_, i, [&]() -> const std::string& { return values_.at(i).as<std::string>(); });
}
DType Args::dtype(size_t i, DType fallback) const {
  return is_none(i) ? fallback : named(op_, i, [&] { return values_.at(i).as<DType>(); });
}
std::vector<int64_t> Args::integers(size_t i) const {
  return named(op_, i, [&] { return values_.at(i).to_ints(); });
}
SymShape Args::sym_ints(size_t i) const {
  return named(op_, i, [&] { return values_.at(i).to_sym_ints(); });
}

}  // namespace pt2q
