// Files: exported programs, state dictionaries, safetensors.
#include <pybind11/stl.h>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/caster.h"
#include "bindings/quantized.h"
#include "pt2q/error.h"
#include "pt2q/io.h"

namespace pt2q::python {
namespace {

using Handle = std::shared_ptr<GraphModule>;

StateDict state_from_python(const py::dict& state) {
  StateDict out;
  for (const auto& item : state) {
    const Value value = value_from_python(item.second);
    if (!value.is<Tensor>()) {
      throw TypeError("'" + py::str(item.first).cast<std::string>() + "' is " + value.kind_name() +
                      ", not a tensor or array");
    }
    out[item.first.cast<std::string>()] = value.as<Tensor>();
  }
  return out;
}

py::object to_python(const StateValue& state);

struct ToPython {
  py::object operator()(None) const { return py::none(); }
  py::object operator()(const QuantizedTensor& t) const { return py::cast(PyQuantized{t, false}); }
  py::object operator()(const StateValue::List& items) const {
    py::tuple out(items.size());
    for (size_t i = 0; i < items.size(); ++i) out[i] = to_python(items[i]);
    return out;
  }
  template <typename T>
  py::object operator()(const T& v) const {
    return result_to_python(Value(v));
  }
};

py::object to_python(const StateValue& state) { return std::visit(ToPython(), state.value); }

StateValue from_python(const std::string& name, const py::handle& object, int depth = 0) {
  constexpr int kDeepest = 16;  // what load_full_state_dict reads back
  if (object.is_none()) return {None()};
  if (py::isinstance<PyQuantized>(object)) return {object.cast<const PyQuantized&>().tensor};
  if (py::isinstance<py::tuple>(object)) {
    if (depth == kDeepest)
      throw ValueError(cat("'", name, "' holds tuples nested deeper than ", kDeepest));
    StateValue::List items;
    for (const py::handle item : object) items.push_back(from_python(name, item, depth + 1));
    return {std::move(items)};
  }
  const Value value = value_from_python(object);
  if (value.is<Tensor>()) return {value.as<Tensor>()};
  if (value.is<DType>()) return {value.as<DType>()};
  throw TypeError("'" + name + "' is " + value.kind_name() + ", not a tensor or array");
}

RangeConstraints ranges_from_python(const py::dict& ranges) {
  RangeConstraints out;
  for (const auto& item : ranges) {
    const auto limits = item.second.cast<std::pair<int64_t, int64_t>>();
    out[item.first.cast<std::string>()] = {limits.first, limits.second};
  }
  return out;
}

void save_program(GraphModule& model, const std::string& path, const std::string& in_spec,
                  const std::string& out_spec, const py::dict& ranges,
                  const std::map<std::string, std::string>& extra_files) {
  model.extras["in_spec"] = in_spec;
  model.extras["out_spec"] = out_spec;
  model.extras["range_constraints"] = ranges_from_python(ranges);
  const py::gil_scoped_release release;
  save_pt2(model, path, extra_files);
}

// (model, in_spec, out_spec, {symbol: (min, max)}, extra files)
py::tuple load_program(const std::string& path, bool mmap) {
  Handle model;
  {
    const py::gil_scoped_release release;
    model = mmap ? map_pt2(path) : load_pt2(path);
  }
  const auto text = [&](const char* key) -> py::object {
    const auto it = model->extras.find(key);
    if (it == model->extras.end()) return py::none();
    return py::str(std::any_cast<const std::string&>(it->second));
  };
  py::dict ranges;
  const auto found = model->extras.find("range_constraints");
  if (found != model->extras.end()) {
    for (const auto& [symbol, range] : std::any_cast<const RangeConstraints&>(found->second)) {
      ranges[py::str(symbol)] = py::make_tuple(range.min, range.max);
    }
  }
  py::dict files;
  const auto extra = model->extras.find("extra_files");
  if (extra != model->extras.end()) {
    using Files = std::map<std::string, std::string>;
    for (const auto& [name, bytes] : std::any_cast<const Files&>(extra->second)) {
      files[py::str(name)] = py::bytes(bytes);
    }
  }
  model->exported = true;
  return py::make_tuple(model, text("in_spec"), text("out_spec"), ranges, files);
}

}  // namespace

void bind_io(py::module_& m) {
  m.def("_save_program", &save_program, py::arg("model"), py::arg("path"), py::arg("in_spec"),
        py::arg("out_spec"), py::arg("ranges"), py::arg("extra_files"));
  m.def("_load_program", &load_program, py::arg("path"), py::arg("mmap") = false);
  m.def(
      "_save_pth",
      [](const py::dict& state, const std::string& path) {
        FullStateDict values;
        for (const auto& item : state) {
          const auto name = item.first.cast<std::string>();
          values.emplace_back(name, from_python(name, item.second));
        }
        const py::gil_scoped_release release;
        save_full_state_dict(values, path);
      },
      py::arg("state"), py::arg("path"));
  m.def(
      "_load_state_dict",
      [](const std::string& path) {
        FullStateDict values;
        {
          const py::gil_scoped_release release;
          values = load_full_state_dict(path);
        }
        py::dict out;
        for (const auto& [name, value] : values) out[py::str(name)] = to_python(value);
        return out;
      },
      py::arg("path"), "A .pth or .safetensors file, told apart by content.");
  m.def(
      "_save_safetensors",
      [](const py::dict& state, const std::string& path,
         const std::map<std::string, std::string>& metadata) {
        const StateDict values = state_from_python(state);
        const py::gil_scoped_release release;
        save_safetensors(values, path, metadata);
      },
      py::arg("state"), py::arg("path"), py::arg("metadata"));
}

}  // namespace pt2q::python
