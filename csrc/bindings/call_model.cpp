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

// Asking the type first: NumPy builds the attribute anew for each one who asks an array.
bool is_numpy(py::handle h) {
  if (py::isinstance<Tensor>(h)) return false;
  return py::hasattr(py::type::handle_of(h), "__array_interface__") ||
         py::hasattr(h, "__array_interface__");
}

py::list flatten(const PythonCall& call, const py::args& args, const py::kwargs& kwargs) {
  if (!call.has_spec || (call.spec.flat_inputs && kwargs.empty())) return py::list(args);
  return py::module_::import("pt2q._pytree")
      .attr("flatten_call")(call.spec.in_spec.get(), args, kwargs);
}

}  // namespace

py::object PythonCall::restore(const Value& result) const {
  const auto leaf = [&](const Value& v) -> py::object {
    return numpy && v.is<Tensor>() ? numpy_from_tensor(v.as<Tensor>()) : result_to_python(v);
  };
  if (!result.is<Value::List>()) return leaf(result);
  if (has_spec && spec.single_output) return leaf(result.list().at(0));
  py::list leaves;
  for (const Value& v : result.list()) leaves.append(leaf(v));
  if (!has_spec || spec.out_spec.empty()) return py::tuple(leaves);
  return py::module_::import("pt2q._pytree").attr("unflatten")(spec.out_spec.get(), leaves);
}

PythonCall read_call(const GraphModule& model, const py::args& args, const py::kwargs& kwargs) {
  PythonCall call;
  if (const CallSpec* spec = spec_of(model)) {
    call.spec = *spec;
    call.has_spec = true;
  }
  const py::list leaves = flatten(call, args, kwargs);
  for (const py::handle item : leaves) {
    if (py::isinstance<Tensor>(item)) break;
    if (is_numpy(item)) {
      call.numpy = true;
      break;
    }
  }
  for (const py::handle item : leaves) call.inputs.push_back(value_from_python(item));
  return call;
}

py::object call_model(const std::shared_ptr<GraphModule>& model, const py::args& args,
                      const py::kwargs& kwargs) {
  PythonCall call = read_call(*model, args, kwargs);
  if (Tracer::current() != nullptr) {
    const py::object prefix = py::module_::import("pt2q._trace").attr("prefix_for")(model);
    call.numpy = false;
    return call.restore(replay(*model, call.inputs, prefix.cast<std::string>()));
  }
  if (CallListener::current() != nullptr) {  // calibration by call wants every operator
    return call.restore(replay(*model, call.inputs, ""));
  }
  Value result;
  {
    const py::gil_scoped_release release;
    result = run(*model, call.inputs);
  }
  return call.restore(result);
}

}  // namespace pt2q::python
