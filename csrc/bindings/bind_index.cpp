// x[...] and x[...] = value.
#include "bindings/bindings.h"
namespace pt2q::python {
void bind_index(py::module_&) {}
}  // namespace pt2q::python
