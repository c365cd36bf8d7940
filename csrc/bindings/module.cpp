// The extension module pt2q._core. Types come before the functions that mention them.
#include "bindings/bindings.h"
#include "pt2q/version.h"

PYBIND11_MODULE(_core, m) {
  using namespace pt2q::python;  // NOLINT
  m.doc() = "C++ core of pt2q; the public names are in the package pt2q.";
  m.attr("__version__") = PT2Q_VERSION;
  bind_errors(m);
  bind_system(m);
  bind_dtype(m);
  bind_tensor(m);
  bind_symint(m);
  bind_index(m);
  bind_random(m);
  bind_node(m);
  bind_meta(m);
  bind_graph(m);
  bind_graph_module(m);
  bind_ops(m);
  bind_trace(m);
  bind_runtime(m);
  bind_streams(m);
  bind_xpu(m);
  bind_qscheme(m);
  bind_observers(m);
  bind_fake_quantize(m);
  bind_affine(m);
  bind_specs(m);
  bind_quantizers(m);
  bind_pt2e(m);
  bind_quantized(m);
  bind_modes(m);
  bind_io(m);
  bind_debug(m);
}
