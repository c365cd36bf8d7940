// pt2q.tensor(data): nested sequences of numbers.
#include <string>
#include <vector>

#include "base/strings.h"
#include "bindings/array.h"
#include "pt2q/error.h"

namespace pt2q::python {
namespace {

bool is_sequence(py::handle h) { return PyList_Check(h.ptr()) || PyTuple_Check(h.ptr()); }

// Arrays and tensors inside sequences take part by their values.
py::object plain(py::handle h) {
  if (!is_sequence(h) && py::hasattr(h, "tolist")) return h.attr("tolist")();
  return py::reinterpret_borrow<py::object>(h);
}

class Collector {
 public:
  Shape shape;
  std::vector<double> numbers;
  std::vector<int64_t> integers;  // exact values while every item is an integer
  bool any_float = false;
  bool all_bool = true;

  void collect(py::handle given, size_t depth) {
    const py::object data = plain(given);
    if (!is_sequence(data)) return add(data, depth);
    if (depth_ != kUnset && depth >= depth_) ragged(depth, "a sequence");
    const auto items = py::reinterpret_borrow<py::sequence>(data);
    const auto size = static_cast<int64_t>(items.size());
    if (depth == shape.size()) {
      shape.push_back(size);
    } else if (shape[depth] != size) {
      throw ValueError(cat("expected sequence of length ", shape[depth], " at dim ", depth,
                           " (got ", size, ")"));
    }
    if (size == 0 && depth_ == kUnset) depth_ = depth + 1;
    for (const py::handle item : items) collect(item, depth + 1);
  }

 private:
  static constexpr size_t kUnset = static_cast<size_t>(-1);

  [[noreturn]] static void ragged(size_t depth, const std::string& got) {
    throw ValueError(cat("the sequences are ragged: got ", got, " at dim ", depth,
                         " where the other items differ"));
  }

  void add(const py::object& item, size_t depth) {
    if (depth_ == kUnset) depth_ = depth;
    if (depth != depth_) ragged(depth, "a number");
    if (PyBool_Check(item.ptr())) {
      push(item.ptr() == Py_True ? 1 : 0);
      return;
    }
    all_bool = false;
    if (PyIndex_Check(item.ptr()) != 0) {
      const py::int_ number = py::reinterpret_steal<py::int_>(PyNumber_Index(item.ptr()));
      if (!number) throw py::error_already_set();
      int overflow = 0;
      const int64_t value = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
      if (overflow != 0) throw ValueError("an integer does not fit into 64 bits");
      push(value);
      return;
    }
    if (PyFloat_Check(item.ptr()) || py::hasattr(item, "__float__")) {
      any_float = true;
      numbers.push_back(PyFloat_AsDouble(item.ptr()));
      integers.push_back(0);
      if (PyErr_Occurred() != nullptr) throw py::error_already_set();
      return;
    }
    throw TypeError(cat("a tensor cannot be made from ",
                        std::string(py::str(py::type::of(item).attr("__name__"))), " items"));
  }

  void push(int64_t value) {
    numbers.push_back(static_cast<double>(value));
    integers.push_back(value);
  }

  size_t depth_ = kUnset;
};

}  // namespace

Tensor tensor_from_data(py::handle data, std::optional<DType> dtype) {
  if (py::isinstance<Tensor>(data)) {
    const auto& source = data.cast<const Tensor&>();
    return (dtype ? source.to(*dtype) : source).clone();
  }
  if (!is_sequence(data) && is_array(data)) {
    const Tensor shared = tensor_from_array(data);
    return (dtype ? shared.to(*dtype) : shared).clone();
  }
  Collector c;
  c.collect(data, 0);
  const bool empty = c.numbers.empty();
  if (c.any_float || empty) {
    const Tensor values = Tensor::from_vector(c.numbers, c.shape);
    return values.to(dtype.value_or(DType::Float32));
  }
  const Tensor values = Tensor::from_vector(c.integers, c.shape);
  return values.to(dtype.value_or(c.all_bool ? DType::Bool : DType::Int64));
}

}  // namespace pt2q::python
