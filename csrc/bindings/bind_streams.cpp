// Several calls at once: what CompiledModel.async_map is made of.
#include <deque>

#include "bindings/bindings.h"
#include "bindings/call_spec.h"
#include "pt2q/error.h"
#include "pt2q/streams.h"

namespace pt2q::python {
namespace {

// A StreamPool with what each result needs to become a Python object.
class Streams {
 public:
  explicit Streams(int streams) : pool_(std::make_unique<StreamPool>(streams)) {}
  ~Streams() { close(); }
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  void submit(const CompiledModel& model, const py::args& args) {
    PythonCall call = read_call(*model.shared_module(), args, py::kwargs());
    std::vector<Value> inputs = std::move(call.inputs);
    pool_->submit(model.shared_module(), std::move(inputs));
    calls_.push_back(std::move(call));
  }

  py::object take() {
    Value result;
    const PythonCall call = calls_.empty() ? PythonCall() : std::move(calls_.front());
    if (!calls_.empty()) calls_.pop_front();
    {
      const py::gil_scoped_release release;
      result = pool_->take();
    }
    return call.restore(result);
  }

  // The workers may want the interpreter to free inputs.
  void close() {
    calls_.clear();
    const py::gil_scoped_release release;
    pool_->close();
  }

  int streams() const { return pool_->streams(); }
  size_t in_flight() const { return pool_->in_flight(); }
  bool ready() const { return pool_->ready(); }

 private:
  std::unique_ptr<StreamPool> pool_;
  std::deque<PythonCall> calls_;
};

}  // namespace

void bind_streams(py::module_& m) {
  py::class_<Streams>(m, "_Streams", "Runs calls of compiled graphs on threads of its own.")
      .def(py::init<int>(), py::arg("streams") = 0)
      .def("submit", &Streams::submit, "Queues model(*args) and returns.")
      .def("take", &Streams::take, "The oldest call's result; waits for it.")
      .def("close", &Streams::close, "Waits for calls that have begun, drops the others.")
      .def_property_readonly("streams", &Streams::streams)
      .def_property_readonly("in_flight", &Streams::in_flight)
      .def_property_readonly("ready", &Streams::ready);
}

}  // namespace pt2q::python
