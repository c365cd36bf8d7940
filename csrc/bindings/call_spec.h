// How a GraphModule is called from Python: the structure of its inputs and outputs.
#pragma once

#include "bindings/handle.h"
#include "pt2q/graph_module.h"

namespace pt2q::python {

// Stored in GraphModule::extras["call_spec"]. Specs are pt2q._pytree.TreeSpec objects.
struct CallSpec {
  PyHandle in_spec;            // of (args, kwargs)
  PyHandle out_spec;           // of the result
  bool flat_inputs = true;     // positional tensors only: no flattening needed
  bool single_output = false;  // forward() returns one tensor, not a tuple
};

// One call: the flat inputs, and how its result is given back.
struct PythonCall {
  std::vector<Value> inputs;
  CallSpec spec;
  bool has_spec = false;
  bool numpy = false;  // NumPy in, NumPy out

  py::object restore(const Value& result) const;
};
PythonCall read_call(const GraphModule& model, const py::args& args, const py::kwargs& kwargs);

// Calls `model` with Python arguments: NumPy in, NumPy out. Under a capture the graph is recorded
// into the model being captured.
py::object call_model(const std::shared_ptr<GraphModule>& model, const py::args& args,
                      const py::kwargs& kwargs);

}  // namespace pt2q::python
