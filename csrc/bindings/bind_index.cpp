// x[...] and x[...] = value, as operators of the table so that capture records them.
#include <limits>

#include "base/strings.h"
#include "bindings/bindings.h"
#include "bindings/caster.h"
#include "pt2q/error.h"
#include "pt2q/op.h"
#include "pt2q/trace.h"

namespace pt2q::python {
namespace {

constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();

Value call_one(const char* op, std::vector<Value> args) { return call(op, std::move(args)); }

// One view operator of a basic index; kept so that an assignment can be written back through it.
struct ViewStep {
  enum class Kind { Select, Slice, Unsqueeze };
  Kind kind;
  Value input;
  std::vector<Value> args;  // behind the tensor
};

struct Indexed {
  Value view;                   // after the basic indices
  std::vector<ViewStep> steps;  // that led there
  Value::List advanced;         // one per dimension of `view`: None, or an index tensor
  bool has_advanced = false;
};

bool is_mask(const Value& v) { return v.is<Tensor>() && v.as<Tensor>().dtype() == DType::Bool; }

int64_t consumed_dims(const py::handle item) {
  if (item.is_none() || item.is(py::ellipsis())) return 0;
  if (py::isinstance<Tensor>(item) && item.cast<const Tensor&>().dtype() == DType::Bool) {
    return item.cast<const Tensor&>().dim();
  }
  return 1;
}

Value slice_bound(const py::object& bound, int64_t fallback) {
  return bound.is_none() ? Value(fallback) : value_from_python(bound);
}

class Indexer {
 public:
  Indexer(const Value& self, const py::object& index) {
    out_.view = self;
    const py::tuple items = PyTuple_Check(index.ptr()) ? py::tuple(index) : py::make_tuple(index);
    int64_t used = 0;
    for (const py::handle item : items) used += consumed_dims(item);
    const int64_t rank = self.as<Tensor>().dim();
    if (used > rank) {
      throw IndexError(cat("too many indices for tensor of dimension ", rank));
    }
    for (const py::handle item : items) apply(item, rank - used);
    out_.advanced.resize(static_cast<size_t>(view().dim()));
  }

  const Indexed& result() const { return out_; }

 private:
  const Tensor& view() const { return out_.view.as<Tensor>(); }

  void step(ViewStep::Kind kind, const char* op, std::vector<Value> args) {
    ViewStep s{kind, out_.view, args};
    args.insert(args.begin(), out_.view);
    out_.view = call_one(op, std::move(args));
    out_.steps.push_back(std::move(s));
  }

  void apply(py::handle item, int64_t ellipsis_dims) {
    if (item.is(py::ellipsis())) {
      dim_ += ellipsis_dims;
    } else if (item.is_none()) {
      step(ViewStep::Kind::Unsqueeze, "aten.unsqueeze.default", {Value(dim_)});
      ++dim_;
    } else if (PySlice_Check(item.ptr())) {
      slice(py::reinterpret_borrow<py::object>(item));
    } else if (py::isinstance<Tensor>(item) || PyList_Check(item.ptr()) ||
               py::hasattr(item, "__array_interface__")) {
      advanced(item);
    } else {
      integer(item);
    }
  }

  void slice(const py::object& item) {
    const Value step_size = slice_bound(item.attr("step"), 1);
    if (step_size.is<int64_t>() && step_size.to_int() <= 0) {
      throw ValueError("step must be greater than zero");
    }
    const bool whole = item.attr("start").is_none() && item.attr("stop").is_none() &&
                       step_size.is<int64_t>() && step_size.to_int() == 1;
    if (!whole) {
      step(ViewStep::Kind::Slice, "aten.slice.Tensor",
           {Value(dim_), slice_bound(item.attr("start"), 0), slice_bound(item.attr("stop"), kEnd),
            step_size});
    }
    ++dim_;
  }

  void integer(py::handle item) {
    const Value index = value_from_python(item);
    if (index.is<bool>()) throw IndexError("a bool cannot index a tensor", "use a bool tensor");
    if (!index.is<int64_t>() && !index.is<Node*>() && !index.is<SymInt>()) {
      throw TypeError(cat("only integers, slices, ellipsis, None and integer or bool tensors are ",
                          "valid indices, got ", index.kind_name()));
    }
    if (index.is<int64_t>()) check_bounds(index.to_int());
    step(ViewStep::Kind::Select, "aten.select.int", {Value(dim_), index});
  }

  void check_bounds(int64_t i) const {
    const int64_t size = view().size(dim_);
    if (i < -size || i >= size) {
      throw IndexError(
          cat("index ", i, " is out of bounds for dimension ", dim_, " with size ", size));
    }
  }

  void advanced(py::handle item) {
    Value index = value_from_python(item);
    if (index.is<Value::List>()) {
      index =
          value_from_python(py::module_::import("pt2q._core").attr("_tensor")(item, py::none()));
    }
    out_.advanced.resize(static_cast<size_t>(dim_));
    out_.advanced.push_back(index);
    out_.has_advanced = true;
    const int64_t covered = is_mask(index) ? index.as<Tensor>().dim() : 1;
    for (int64_t i = 1; i < covered; ++i) out_.advanced.push_back(Value());
    dim_ += covered;
  }

  Indexed out_;
  int64_t dim_ = 0;  // of the view, where the next index applies
};

// The index list of aten.index: a mask stands for all dimensions it covers.
Value::List index_list(const Indexed& indexed) {
  Value::List out;
  for (size_t i = 0; i < indexed.advanced.size(); ++i) {
    const Value& index = indexed.advanced[i];
    out.push_back(index);
    if (is_mask(index)) i += static_cast<size_t>(index.as<Tensor>().dim()) - 1;
  }
  while (!out.empty() && out.back().is_none()) out.pop_back();
  return out;
}

py::object get_item(const Tensor& self, const py::object& index) {
  const Indexer indexer(Value(self), index);
  const Indexed& r = indexer.result();
  if (!r.has_advanced) return result_to_python(r.view);
  return result_to_python(call_one("aten.index.Tensor", {r.view, Value(index_list(r))}));
}

Value as_source(const py::object& value, const Tensor& target) {
  const Value v = value_from_python(value);
  if (v.is<Tensor>() || v.is<Node*>()) return v;
  return Value(Tensor::scalar(v.to_double(), target.dtype()));
}

// Writing into a traced tensor: the changed value is built by *_scatter operators from the inside
// out, and then stands for the tensor.
void write_back(const Value& self, const Indexed& r, Value source) {
  const Tensor& view = r.view.as<Tensor>();
  source = call_one("aten.copy.default", {r.view, source});
  (void)view;
  for (size_t i = r.steps.size(); i-- > 0;) {
    const ViewStep& s = r.steps[i];
    std::vector<Value> args = {s.input, source};
    switch (s.kind) {
      case ViewStep::Kind::Select:
        args.insert(args.end(), s.args.begin(), s.args.end());
        source = call_one("aten.select_scatter.default", std::move(args));
        break;
      case ViewStep::Kind::Slice:
        args.insert(args.end(), s.args.begin(), s.args.end());
        source = call_one("aten.slice_scatter.default", std::move(args));
        break;
      case ViewStep::Kind::Unsqueeze:
        source = call_one("aten.squeeze.dim", {source, s.args[0]});
        break;
    }
  }
  call_one("aten.copy_.default", {self, source});
}

void set_item(Tensor& self, const py::object& index, const py::object& value) {
  const Indexer indexer(Value(self), index);
  const Indexed& r = indexer.result();
  const Value source = as_source(value, self);
  const bool tracing = Tracer::current() != nullptr;
  if (r.has_advanced) {
    const Value indices(index_list(r));
    if (tracing && !r.steps.empty()) {
      const Value changed = call_one("aten.index_put.default", {r.view, indices, source});
      write_back(Value(self), r, changed);
      return;
    }
    call_one("aten.index_put_.default", {r.view, indices, source});
    return;
  }
  if (tracing) {
    write_back(Value(self), r, source);
    return;
  }
  Tensor target = r.view.as<Tensor>();
  target.copy_(source.as<Tensor>());
}

}  // namespace

void bind_index(py::module_& m) {
  const py::object cls = m.attr("Tensor");
  const auto add = [&](const char* name, auto fn) {
    cls.attr(name) = py::cpp_function(fn, py::name(name), py::is_method(cls));
  };
  add("__getitem__", &get_item);
  add("__setitem__", &set_item);
}

}  // namespace pt2q::python
