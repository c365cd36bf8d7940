// Checking and completing the arguments of a call against the operator's schema.
#include "base/strings.h"
#include "pt2q/error.h"
#include "pt2q/op.h"

namespace pt2q {
namespace {

const char* type_name(ArgType type) {
  static constexpr const char* kNames[] = {"Tensor", "int",           "float",     "bool",
                                           "number", "str",           "dtype",     "device",
                                           "layout", "memory_format", "Generator", "any"};
  return kNames[static_cast<size_t>(type)];
}

bool is_number(const Value& v) { return v.is<int64_t>() || v.is<double>() || v.is<bool>(); }

// A node or symbolic value stands for any scalar; its kind is checked by inference.
bool is_symbolic(const Value& v) { return v.is<Node*>() || v.is<SymInt>(); }

[[noreturn]] void mismatch(const OpDef& op, const SchemaArg& arg, const Value& v) {
  throw TypeError(cat("argument '", arg.name, "' must be ", type_name(arg.type),
                      arg.is_list ? " list" : "", ", got ", v.kind_name(), " (", v.to_string(),
                      ")"))
      .at_op(op.name);
}

Value convert_item(const OpDef& op, const SchemaArg& arg, Value v) {
  if (v.is_none() && arg.optional_items) return v;
  switch (arg.type) {
    case ArgType::Tensor:  // a number is accepted where PyTorch wraps it into a 0-d tensor
      if (v.is<Tensor>() || v.is<TensorMeta>() || v.is<Node*>() || is_number(v) || v.is<SymInt>())
        return v;
      break;
    case ArgType::Int:
      if (v.is<int64_t>() || is_symbolic(v)) return v;
      if (v.is<bool>()) return Value(v.to_int());
      if (v.is<Tensor>() && v.as<Tensor>().numel() == 1 && is_integral(v.as<Tensor>().dtype())) {
        return Value(v.as<Tensor>().item_int());
      }
      break;
    case ArgType::Float:
      if (v.is<double>() || is_symbolic(v)) return v;
      if (is_number(v)) return Value(v.to_double());
      if (v.is<Tensor>() && v.as<Tensor>().numel() == 1) return Value(v.as<Tensor>().item());
      break;
    case ArgType::Bool:
      if (v.is<bool>() || v.is<Node*>()) return v;
      if (v.is<int64_t>()) return Value(v.to_bool());
      break;
    case ArgType::Scalar:
      if (is_number(v) || is_symbolic(v)) return v;
      if (v.is<Tensor>() && v.as<Tensor>().numel() == 1) {
        const Tensor& t = v.as<Tensor>();
        return is_floating_point(t.dtype()) ? Value(t.item()) : Value(t.item_int());
      }
      break;
    case ArgType::String:
      if (v.is<std::string>()) return v;
      break;
    case ArgType::DType:
      if (v.is<DType>()) return v;
      break;
    case ArgType::Device:
      if (v.is<Device>()) return v;
      if (v.is<std::string>()) return Value(parse_device(v.as<std::string>()));
      break;
    case ArgType::Layout:
      if (v.is<Layout>()) return v;
      break;
    case ArgType::MemoryFormat:
      if (v.is<MemoryFormat>()) return v;
      break;
    case ArgType::Generator:
    case ArgType::Any:
      return v;
  }
  mismatch(op, arg, v);
}

Value convert(const OpDef& op, const SchemaArg& arg, Value v) {
  if (v.is_none()) {
    if (arg.optional || arg.type == ArgType::Any || arg.type == ArgType::Generator) return v;
    mismatch(op, arg, v);
  }
  if (!arg.is_list) return convert_item(op, arg, std::move(v));
  if (!v.is<Value::List>()) {
    if (v.is<Node*>() && arg.type == ArgType::Tensor) return v;  // a node that yields a tensor list
    const Value item = convert_item(op, arg, std::move(v));
    return Value(Value::List(static_cast<size_t>(std::max(1, arg.list_size)), item));
  }
  Value::List items = v.list();
  for (Value& item : items) item = convert_item(op, arg, std::move(item));
  if (arg.list_size > 1 && items.size() == 1)
    items.assign(static_cast<size_t>(arg.list_size), items[0]);
  return Value(std::move(items));
}

}  // namespace

std::vector<Value> normalize_args(const OpDef& op, std::vector<Value> args,
                                  const std::map<std::string, Value>& kwargs) {
  const auto& schema = op.schema;
  if (args.size() > schema.args.size()) {
    throw TypeError(cat("takes ", schema.args.size(), " arguments, got ", args.size()))
        .at_op(op.name);
  }
  const size_t given = args.size();
  args.resize(schema.args.size());
  std::vector<bool> filled(schema.args.size(), false);
  for (size_t i = 0; i < given; ++i) filled[i] = true;
  for (const auto& [name, value] : kwargs) {
    const int index = schema.index_of(name);
    if (index < 0)
      throw TypeError(cat("got an unexpected keyword argument '", name, "'")).at_op(op.name);
    const auto i = static_cast<size_t>(index);
    if (filled[i]) throw TypeError(cat("got two values for argument '", name, "'")).at_op(op.name);
    args[i] = value;
    filled[i] = true;
  }
  for (size_t i = 0; i < args.size(); ++i) {
    const SchemaArg& arg = schema.args[i];
    if (filled[i]) {
      args[i] = convert(op, arg, std::move(args[i]));
    } else if (arg.has_default) {
      args[i] = arg.default_value;
    } else if (arg.type == ArgType::Generator) {
      args[i] = Value();
    } else {
      throw TypeError(cat("missing argument '", arg.name, "'")).at_op(op.name);
    }
  }
  return args;
}

}  // namespace pt2q
