// The exception tree: pt2q.Error, and leaves that also derive from the built-in of the same name.
// pt2q::Error thrown in C++ arrives as the matching leaf with .node, .op and .hint.
#include <array>

#include "bindings/bindings.h"
#include "pt2q/error.h"
#include "pt2q/log.h"

namespace pt2q::python {
namespace {

struct ErrorTypes {
  PyObject* base = nullptr;
  PyObject* value = nullptr;
  PyObject* type = nullptr;
  PyObject* not_implemented = nullptr;
  PyObject* index = nullptr;
  PyObject* key = nullptr;
  PyObject* assertion = nullptr;
  PyObject* runtime = nullptr;
  PyObject* file = nullptr;
  PyObject* internal = nullptr;
};

ErrorTypes& types() {
  static ErrorTypes t;
  return t;
}

PyObject* make_type(py::module_& m, const char* name, py::tuple bases, const char* doc) {
  const std::string full = std::string("pt2q.") + name;
  PyObject* type = PyErr_NewExceptionWithDoc(full.c_str(), doc, bases.ptr(), nullptr);
  if (type == nullptr) throw py::error_already_set();
  m.attr(name) = py::handle(type);
  return type;
}

PyObject* make_leaf(py::module_& m, const char* name, PyObject* builtin, const char* doc) {
  return make_type(m, name, py::make_tuple(py::handle(types().base), py::handle(builtin)), doc);
}

PyObject* type_of(const Error& e) {
  const ErrorTypes& t = types();
  if (dynamic_cast<const ValueError*>(&e) != nullptr) return t.value;
  if (dynamic_cast<const TypeError*>(&e) != nullptr) return t.type;
  if (dynamic_cast<const NotImplementedError*>(&e) != nullptr) return t.not_implemented;
  if (dynamic_cast<const IndexError*>(&e) != nullptr) return t.index;
  if (dynamic_cast<const KeyError*>(&e) != nullptr) return t.key;
  if (dynamic_cast<const AssertionError*>(&e) != nullptr) return t.assertion;
  if (dynamic_cast<const RuntimeError*>(&e) != nullptr) return t.runtime;
  if (dynamic_cast<const FileError*>(&e) != nullptr) return t.file;
  if (dynamic_cast<const InternalError*>(&e) != nullptr) return t.internal;
  return t.base;
}

// Messages quote names of files and of what is in them: any bytes.
py::str readable(const std::string& text) {
  PyObject* decoded =
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace");
  if (decoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

void translate(std::exception_ptr p) {
  try {
    if (p) std::rethrow_exception(p);
  } catch (const Error& e) {
    PyObject* type = type_of(e);
    py::object error = py::reinterpret_borrow<py::object>(type)(readable(e.what()));
    error.attr("message") = readable(e.message());
    error.attr("node") = readable(e.node());
    error.attr("op") = readable(e.op());
    error.attr("hint") = readable(e.hint());
    PyErr_SetObject(type, error.ptr());
  }
}

void define_base(py::module_& m) {
  PyObject* base = make_type(m, "Error", py::make_tuple(py::handle(PyExc_Exception)),
                             "Base of all errors of pt2q.\n\nAttributes: message, node (graph node "
                             "or ''), op (operator or ''), hint (what to do, or '').");
  types().base = base;
  const py::handle type(base);
  for (const char* name : {"message", "node", "op", "hint"}) type.attr(name) = "";
  // KeyError would print the repr of its message.
  type.attr("__str__") = py::cpp_function(
      [](const py::object& self) -> py::str {
        const py::tuple args = self.attr("args");
        return args.empty() ? py::str("") : py::str(args[0]);
      },
      py::name("__str__"), py::is_method(type));
}

}  // namespace

void bind_errors(py::module_& m) {
  define_base(m);
  ErrorTypes& t = types();
  t.value = make_leaf(m, "ValueError", PyExc_ValueError, "A value out of range or inconsistent.");
  t.type = make_leaf(m, "TypeError", PyExc_TypeError, "An argument of the wrong kind.");
  t.not_implemented =
      make_leaf(m, "NotImplementedError", PyExc_NotImplementedError, "Something pt2q does not do.");
  t.index = make_leaf(m, "IndexError", PyExc_IndexError, "An index or dimension out of range.");
  t.key = make_leaf(m, "KeyError", PyExc_KeyError, "A name that does not exist.");
  t.assertion = make_leaf(m, "AssertionError", PyExc_AssertionError,
                          "A contract that PyTorch checks with assert.");
  t.runtime =
      make_leaf(m, "RuntimeError", PyExc_RuntimeError, "A wrong state or an outside failure.");
  t.file = make_leaf(m, "FileError", PyExc_OSError, "A file that cannot be read or written.");
  t.internal = make_leaf(m, "InternalError", PyExc_RuntimeError,
                         "A defect of pt2q itself, please report it.");
  py::register_exception_translator(&translate);
  set_warning_handler([](const std::string& message) {
    const py::gil_scoped_acquire gil;
    if (PyErr_WarnEx(PyExc_UserWarning, message.c_str(), 1) != 0) throw py::error_already_set();
  });
}

}  // namespace pt2q::python
