// Random number generators.
#include "bindings/bindings.h"
#include "tensor/random.h"

namespace pt2q::python {
namespace {

// `with _UseGenerator(g):` operators draw from g; None leaves the default generator.
class UseGenerator {
 public:
  explicit UseGenerator(std::shared_ptr<Generator> generator) : generator_(std::move(generator)) {}
  void enter() {
    if (generator_) scope_ = std::make_unique<GeneratorScope>(generator_.get());
  }
  void leave() { scope_.reset(); }

 private:
  std::shared_ptr<Generator> generator_;
  std::unique_ptr<GeneratorScope> scope_;
};

}  // namespace

void bind_random(py::module_& m) {
  py::class_<Generator, std::shared_ptr<Generator>>(m, "_Generator")
      .def(py::init<>())
      .def("manual_seed", &Generator::manual_seed, py::arg("seed"))
      .def("initial_seed", &Generator::initial_seed);
  py::class_<UseGenerator>(m, "_UseGenerator")
      .def(py::init<std::shared_ptr<Generator>>(), py::arg("generator").none(true))
      .def("__enter__", &UseGenerator::enter)
      .def("__exit__", [](UseGenerator& u, const py::args&) { u.leave(); });
  m.def("_default_generator",
        [] { return std::shared_ptr<Generator>(&default_generator(), [](Generator*) {}); });
}

}  // namespace pt2q::python
