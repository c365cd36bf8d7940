#include <algorithm>

#include "base/strings.h"
#include "bindings/array.h"
#include "bindings/call_spec.h"
#include "bindings/caster.h"
#include "ir/replay.h"
#include "pt2q/call_listener.h"
#include "pt2q/error.h"
#include "pt2q/runtime.h"
#include "pt2q/trace.h"

namespace pt2q::python {
namespace {

const CallSpec* spec_of(const GraphModule& model) {
  const auto it = model.extras.find("call_spec");
  return it == model.extras.end() ? nullptr : std::any_cast<CallSpec>(&it->second);
}

bool is_numpy(py::handle h) {
  return !py::isinstance<Tensor>(h) && py::hasattr(h, "__array_interface__");
}

py::list flatten(const CallSpec* spec, const py::args& args, const py::kwargs& kwargs) {
  if (spec == nullptr || (spec->flat_inputs && kwargs.empty())) return py::list(args);
  return py::module_::import("pt2q._pytree")
      .attr("flatten_call")(spec->in_spec.get(), args, kwargs);
}

py::object restore(const CallSpec* spec, const Value& result, bool numpy) {
  const auto leaf = [&](const Value& v) -> py::object {
    return numpy && v.is<Tensor>() ? numpy_from_tensor(v.as<Tensor>()) : result_to_python(v);
  };
  if (!result.is<Value::List>()) return leaf(result);
  if (spec != nullptr && spec->single_output) return leaf(result.list().at(0));
  py::list leaves;
  for (const Value& v : result.list()) leaves.append(leaf(v));
  if (spec == nullptr || spec->out_spec.empty()) return py::tuple(leaves);
  return py::module_::import("pt2q._pytree").attr("unflatten")(spec->out_spec.get(), leaves);
}

}  // namespace

py::object call_model(const std::shared_ptr<GraphModule>& model, const py::args& args,
                      const py::kwargs& kwargs) {
  const CallSpec* found = spec_of(*model);
  const CallSpec copy = found != nullptr ? *found : CallSpec{};
  const CallSpec* spec = found != nullptr ? &copy : nullptr;
  const py::list leaves = flatten(spec, args, kwargs);
  bool numpy = false;
  for (const py::handle item : leaves) {
    if (py::isinstance<Tensor>(item)) break;
    if (is_numpy(item)) {
      numpy = true;
      break;
    }
  }
  std::vector<Value> inputs;
  for (const py::handle item : leaves) inputs.push_back(value_from_python(item));
  if (Tracer::current() != nullptr) {
    const py::object prefix = py::module_::import("pt2q._trace").attr("prefix_for")(model);
    return restore(spec, replay(*model, inputs, prefix.cast<std::string>()), false);
  }
  if (CallListener::current() != nullptr) {  // calibration by call wants every operator
    return restore(spec, replay(*model, inputs, ""), numpy);
  }
  Value result;
  {
    const py::gil_scoped_release release;
    result = run(*model, inputs);
  }
  return restore(spec, result, numpy);
}

}  // namespace pt2q::python
