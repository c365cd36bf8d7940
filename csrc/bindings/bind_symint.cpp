// pt2q.SymInt: sizes that depend on dynamic dimensions. During capture arithmetic is recorded;
// comparisons are decided from the declared ranges or refused.
#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/caster.h"
#include "bindings/source.h"
#include "ir/sym_range.h"
#include "pt2q/error.h"
#include "pt2q/op.h"
#include "pt2q/trace.h"

namespace pt2q::python {
namespace {

SymInt sym_of(py::handle object) {
  if (py::isinstance<PySymInt>(object)) return object.cast<const PySymInt&>().value;
  return value_from_python(object).to_sym_int();
}

bool is_integer(py::handle object) {
  return py::isinstance<PySymInt>(object) || PyLong_Check(object.ptr());
}

using Fold = SymInt (*)(const SymInt&, const SymInt&);

py::object combine(const char* op, Fold fold, const py::object& a, const py::object& b) {
  if (!is_integer(a) || !is_integer(b)) {
    return py::reinterpret_borrow<py::object>(Py_NotImplemented);
  }
  const Value x = value_from_python(a);
  const Value y = value_from_python(b);
  if (Tracer::current() != nullptr && (x.is<Node*>() || y.is<Node*>())) {
    return result_to_python(call(cat("_operator.", op), {x, y}));
  }
  return size_to_python(fold(sym_of(a), sym_of(b)));
}

[[noreturn]] void undecided(const std::string& question, const SymInt& a, const SymInt& b) {
  const std::string line = user_source_line();
  std::string names;
  for (const std::string& name : symbols_of(a - b))
    names += (names.empty() ? "'" : ", '") + name + "'";
  throw ValueError(
      cat("the model asks whether ", question, ", which depends on the dynamic dimension ", names,
          " and cannot be decided from its range", line.empty() ? "" : "; at ", line),
      "give the Dim a narrower min/max, or export with a fixed size for this dimension");
}

enum class Comparison { Less, LessEqual, Equal };

bool decide(Comparison kind, const SymInt& a, const SymInt& b, const std::string& question) {
  const SymRange difference = range_of(a - b, active_ranges());
  switch (kind) {
    case Comparison::Less:
      if (difference.high < 0) return true;
      if (difference.low >= 0) return false;
      break;
    case Comparison::LessEqual:
      if (difference.high <= 0) return true;
      if (difference.low > 0) return false;
      break;
    case Comparison::Equal:
      if (a == b || (difference.low == 0 && difference.high == 0)) return true;
      if (difference.low > 0 || difference.high < 0) return false;
      break;
  }
  undecided(question, a, b);
}

py::object compare(Comparison kind, bool swap, bool negate, const char* sign, const py::object& a,
                   const py::object& b) {
  if (!is_integer(b)) return py::reinterpret_borrow<py::object>(Py_NotImplemented);
  const SymInt x = sym_of(a);
  const SymInt y = sym_of(b);
  const std::string question = cat(x, " ", sign, " ", y);
  return py::bool_(decide(kind, swap ? y : x, swap ? x : y, question) != negate);
}

[[noreturn]] void no_number(const PySymInt& size, const char* what) {
  const std::string line = user_source_line();
  throw ValueError(cat(what, " needs a number, but this size is the dynamic dimension '",
                       size.value.to_string(), "'", line.empty() ? "" : "; at ", line),
                   "export with a fixed size for this dimension");
}

template <typename Class>
void bind_arithmetic(Class& cls) {
  const auto binary = [&cls](const char* name, const char* reflected, const char* op, Fold fold) {
    cls.def(name,
            [=](const py::object& a, const py::object& b) { return combine(op, fold, a, b); });
    cls.def(reflected,
            [=](const py::object& a, const py::object& b) { return combine(op, fold, b, a); });
  };
  binary("__add__", "__radd__", "add", [](const SymInt& a, const SymInt& b) { return a + b; });
  binary("__sub__", "__rsub__", "sub", [](const SymInt& a, const SymInt& b) { return a - b; });
  binary("__mul__", "__rmul__", "mul", [](const SymInt& a, const SymInt& b) { return a * b; });
  binary("__floordiv__", "__rfloordiv__", "floordiv",
         [](const SymInt& a, const SymInt& b) { return floordiv(a, b); });
  binary("__mod__", "__rmod__", "mod", [](const SymInt& a, const SymInt& b) { return mod(a, b); });
  cls.def("__neg__", [](const py::object& a) {
    return combine(
        "mul", [](const SymInt& x, const SymInt& y) { return x * y; }, a, py::int_(-1));
  });
  cls.def("__truediv__", [](const PySymInt& a, const py::object&) -> py::object {
    no_number(a, "true division");
  });
  cls.def("__rtruediv__", [](const PySymInt& a, const py::object&) -> py::object {
    no_number(a, "true division");
  });
}

template <typename Class>
void bind_comparisons(Class& cls) {
  const auto comparison = [&cls](const char* name, const char* sign, Comparison kind, bool swap,
                                 bool negate) {
    cls.def(name, [=](const py::object& a, const py::object& b) {
      return compare(kind, swap, negate, sign, a, b);
    });
  };
  comparison("__lt__", "<", Comparison::Less, false, false);
  comparison("__le__", "<=", Comparison::LessEqual, false, false);
  comparison("__gt__", ">", Comparison::Less, true, false);
  comparison("__ge__", ">=", Comparison::LessEqual, true, false);
  comparison("__eq__", "==", Comparison::Equal, false, false);
  comparison("__ne__", "!=", Comparison::Equal, false, true);
  cls.def("__bool__", [](const PySymInt& a) {
    return !decide(Comparison::Equal, a.value, SymInt(0), cat(a.value, " is not 0"));
  });
}

}  // namespace

void bind_symint(py::module_& m) {
  py::class_<PySymInt> cls(m, "SymInt", "A size that depends on a dynamic dimension.");
  bind_arithmetic(cls);
  bind_comparisons(cls);
  cls.def("__index__", [](const PySymInt& a) -> py::object { no_number(a, "this use"); })
      .def("__int__", [](const PySymInt& a) -> py::object { no_number(a, "int()"); })
      .def("__float__", [](const PySymInt& a) -> py::object { no_number(a, "float()"); })
      .def("__hash__", [](const PySymInt& a) { return py::hash(py::str(a.value.to_string())); })
      .def("__repr__", [](const PySymInt& a) { return a.value.to_string(); })
      .def_property_readonly(
          "hint", [](const PySymInt& a) { return a.value.hint(); },
          "The size in the example input.")
      .def_property_readonly("node", [](const PySymInt& a) { return a.node; });
}

}  // namespace pt2q::python
