// compile, compiled models and the number of threads.
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/call_spec.h"
#include "bindings/caster.h"
#include "pt2q/error.h"
#include "pt2q/runtime.h"

namespace pt2q::python {
namespace {

using Handle = std::shared_ptr<CompiledModel>;

Handle compile_model(const GraphModule& model, bool strict, const std::set<std::string>& disabled,
                     const std::string& dump_dir, bool measure, double tuning_seconds) {
  CompileOptions options;
  options.tuning = measure ? Tuning::Measure : Tuning::Model;
  options.tuning_seconds = tuning_seconds;
  options.strict = strict;
  options.disabled_passes = disabled;
  options.dump_dir = dump_dir;
  const py::gil_scoped_release release;
  return compile(model, options);
}

std::vector<Value> inputs_of(const py::args& args) {
  std::vector<Value> out;
  for (const py::handle item : args) out.push_back(value_from_python(item));
  return out;
}

const char* saturation_name(Saturation s) {
  switch (s) {
    case Saturation::Impossible:
      return "impossible";
    case Saturation::Bounded:
      return "bounded";
    case Saturation::ExactRoute:
      return "exact_route";
    default:
      return "";
  }
}

py::dict to_dict(const StepReport& s) {
  py::dict d;
  d["node"] = s.node;
  d["op"] = s.op;
  d["kernel"] = s.kernel;
  d["dtype"] = s.dtype;
  d["layout"] = s.layout;
  d["note"] = s.note;
  d["tuning"] = s.tuning;
  d["saturation"] = saturation_name(s.saturation);
  d["max_pair_sum"] = s.max_pair_sum < 0 ? py::object(py::none()) : py::int_(s.max_pair_sum);
  d["verdict"] = s.verdict;
  d["flops"] = s.flops;
  d["seconds"] = s.seconds;
  return d;
}

py::list to_list(const std::vector<StepReport>& steps) {
  py::list out;
  for (const StepReport& s : steps) out.append(to_dict(s));
  return out;
}

std::string explain(CompiledModel& model, const py::args& args) {
  const std::vector<Value> inputs = inputs_of(args);
  const py::gil_scoped_release release;
  return inputs.empty() ? model.explain() : model.explain(inputs);
}

std::string graph_for(CompiledModel& model, const py::args& args) {
  const std::vector<Value> inputs = inputs_of(args);
  const py::gil_scoped_release release;
  return model.graph_for(inputs);
}

std::string stages(CompiledModel& model, const std::shared_ptr<GraphModule>& source,
                   const py::args& args) {
  const std::vector<Value> inputs = inputs_of(args);
  const py::gil_scoped_release release;
  return stage_report(*source, model, inputs);
}

std::string profile(CompiledModel& model, const py::args& args, int repeats) {
  const std::vector<Value> inputs = inputs_of(args);
  const py::gil_scoped_release release;
  return model.profile_text(inputs, repeats);
}

py::dict saturation(CompiledModel& model, const py::args& args) {
  const std::vector<Value> inputs = inputs_of(args);
  SaturationSummary s;
  {
    const py::gil_scoped_release release;
    s = inputs.empty() ? model.saturation() : model.saturation(inputs);
  }
  py::dict d;
  d["layers"] = s.layers;
  d["impossible"] = s.impossible;
  d["bounded"] = s.bounded;
  d["exact_route"] = s.exact_route;
  return d;
}

py::dict memory(CompiledModel& model, const py::args& args) {
  const std::vector<Value> inputs = inputs_of(args);
  MemoryReport r;
  {
    const py::gil_scoped_release release;
    r = model.memory(inputs);
  }
  py::dict d;
  d["activations"] = r.activations;
  d["alive"] = r.alive;
  d["scratch"] = r.scratch;
  return d;
}

py::list profile_steps(CompiledModel& model, const py::args& args, int repeats) {
  const std::vector<Value> inputs = inputs_of(args);
  std::vector<StepReport> steps;
  {
    const py::gil_scoped_release release;
    steps = repeats > 0 ? model.profile(inputs, repeats) : model.steps(inputs);
  }
  return to_list(steps);
}

}  // namespace

void bind_runtime(py::module_& m) {
  py::class_<CompiledModel, Handle>(
      m, "CompiledGraph",
      "A lowered model. Calls give the same bits for any number of threads and any batch split of "
      "int8 layers, and may come from several threads at once.")
      .def("__call__",
           [](const Handle& self, const py::args& args, const py::kwargs& kwargs) {
             return call_model(self->shared_module(), args, kwargs);
           })
      .def_property_readonly(
          "graph_module", [](const Handle& self) { return self->shared_module(); },
          "The lowered graph as a GraphModule.")
      .def_property_readonly(
          "graph", [](const Handle& self) { return self->module().graph().shared_from_this(); })
      .def_property_readonly(
          "passes",
          [](const Handle& self) {
            py::list out;
            for (const PassReport& p : self->passes())
              out.append(py::make_tuple(p.name, p.seconds, p.changed));
            return out;
          },
          "(name, seconds, changed) of every pass that ran.")
      .def("explain", &explain,
           "Text: for every step its kernel, dtype and layout, and why a layer with quantized "
           "operands runs in float. Without inputs: for the shapes of the capture.")
      .def("saturation", &saturation,
           "How many int8 layers there are, and of them: 'impossible' (the instruction cannot "
           "saturate), 'bounded' (16-bit pair sums proven to fit), 'exact_route'.")
      .def("memory", &memory,
           "Bytes that a run for these inputs works in: 'activations' between the steps, of which "
           "'alive' are needed at once at the fullest step, and 'scratch' within steps.")
      .def("print_tabular", &CompiledModel::print_tabular,
           "Text: the lowered graph with the kernel and the saturation verdict of each node.")
      .def("graph_for", &graph_for, "The lowered graph and the steps that run for these inputs.")
      .def("stages", &stages, py::arg("source"),
           "What compile made of the graph `source`, stage by stage, and what runs for the inputs.")
      .def("profile", &profile, py::arg("repeats") = 10,
           "Text: mean time per step in microseconds, share and GOP/s.")
      .def("steps", &profile_steps, py::arg("repeats") = 0,
           "The same facts as a list of dicts; timed when repeats > 0.")
      .def(
          "refused", [](const Handle& self) { return to_list(self->refused()); },
          "Layers with quantized operands that run in float; 'note' says why.");
  m.def("_compile", &compile_model, py::arg("model"), py::arg("strict") = false,
        py::arg("disabled_passes") = std::set<std::string>(), py::arg("dump_dir") = "",
        py::arg("measure") = false, py::arg("tuning_seconds") = 2.0);
  m.def("set_num_threads", &set_num_threads, py::arg("n"),
        "Sets the number of threads kernels use, for the whole process.");
  m.def("get_num_threads", &num_threads, "Threads that one call may use.");
  m.def("isa_name", &isa_name,
        "The instruction set of integer kernels: the machine's best, up to PT2Q_MAX_ISA.");
}

}  // namespace pt2q::python
