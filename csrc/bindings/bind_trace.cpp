// Capture: what pt2q.export drives.
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/caster.h"
#include "bindings/source.h"
#include "ir/replay.h"
#include "ir/sym_range.h"
#include "pt2q/error.h"
#include "pt2q/trace.h"

namespace pt2q::python {
namespace {

// A Tracer with the model it builds. Entering makes it the thread's active one.
class Capture {
 public:
  Capture() : module_(std::make_shared<GraphModule>()), tracer_(*module_) {
    module_->exported = true;
    tracer_.source_location = &user_source_line;
  }

  void enter() {
    if (Tracer::current() != nullptr) {
      throw RuntimeError("a model is already being captured on this thread");
    }
    active_ranges() = ranges_;
    scope_ = std::make_unique<Tracer::Scope>(&tracer_);
  }
  void leave() {
    scope_.reset();
    active_ranges().clear();
  }

  // `sizes` holds ints for fixed dimensions and names for dynamic ones.
  Tensor add_input(const std::string& name, const Tensor& example, const py::list& sizes) {
    TensorMeta meta{to_sym(example.sizes()), example.dtype(), example.device()};
    for (size_t i = 0; i < meta.sizes.size(); ++i) {
      const py::object size = sizes[i];
      if (PyUnicode_Check(size.ptr())) {
        meta.sizes[i] = SymInt::symbol(size.cast<std::string>(), example.sizes()[i]);
      }
    }
    return tracer_.add_input(name, meta);
  }
  void add_range(const std::string& symbol, int64_t low, int64_t high) {
    ranges_[symbol] = {low, high};
    active_ranges() = ranges_;
  }
  void add_attribute(const std::string& path, const Tensor& tensor, const std::string& kind) {
    tracer_.add_attribute(path, tensor, kind_of(kind));
  }
  void push_module(const std::string& path, const std::string& type) {
    tracer_.module_stack.push_back({path, type});
  }
  void pop_module() { tracer_.module_stack.pop_back(); }
  std::shared_ptr<GraphModule> finish(const py::list& results) {
    tracer_.finish(value_from_python(results));
    return module_;
  }
  std::shared_ptr<GraphModule> module() const { return module_; }

 private:
  static AttrKind kind_of(const std::string& kind) {
    if (kind == "parameter") return AttrKind::Parameter;
    if (kind == "buffer") return AttrKind::Buffer;
    if (kind == "non_persistent_buffer") return AttrKind::NonPersistentBuffer;
    if (kind == "constant") return AttrKind::Constant;
    throw ValueError("unknown attribute kind '" + kind + "'");
  }

  std::shared_ptr<GraphModule> module_;
  Tracer tracer_;
  SymRanges ranges_;
  std::unique_ptr<Tracer::Scope> scope_;
};

}  // namespace

void bind_trace(py::module_& m) {
  py::class_<Capture>(m, "Capture", "Records the operators that run while it is entered.")
      .def(py::init<>())
      .def("__enter__",
           [](const py::object& self) {
             self.cast<Capture&>().enter();
             return self;
           })
      .def("__exit__", [](Capture& c, const py::args&) { c.leave(); })
      .def("add_input", &Capture::add_input, py::arg("name"), py::arg("example"), py::arg("sizes"),
           "A traced tensor; sizes are ints, or names of dynamic dimensions.")
      .def("add_range", &Capture::add_range, py::arg("symbol"), py::arg("low"), py::arg("high"))
      .def("add_attribute", &Capture::add_attribute, py::arg("path"), py::arg("tensor"),
           py::arg("kind"))
      .def("push_module", &Capture::push_module, py::arg("path"), py::arg("type"))
      .def("pop_module", &Capture::pop_module)
      .def("finish", &Capture::finish, py::arg("results"),
           "Ends the graph with these results, and returns the model.")
      .def_property_readonly("graph_module", &Capture::module);
  m.def("user_source_line", &user_source_line, "'File \"...\", line N, in f' outside pt2q.");
  m.def("is_capturing", [] { return Tracer::current() != nullptr; });
  m.def(
      "replay",
      [](GraphModule& model, const py::list& inputs, const std::string& prefix) {
        return result_to_python(replay(model, value_from_python(inputs).list(), prefix));
      },
      py::arg("model"), py::arg("inputs"), py::arg("prefix") = "",
      "Runs or records a graph operator by operator.");
}

}  // namespace pt2q::python
