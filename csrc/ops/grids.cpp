// Triangles, diagonals, index grids and one-hot codes.
#include <utility>

#include "base/strings.h"
#include "ops/support/operands.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

constexpr const char* kFactory =
    "Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor";

// Keeps the elements below (lower) or above the diagonal, zeroes the others.
Value triangle(const Args& args, bool lower) {
  Tensor out = args.tensor(0).contiguous().clone();
  if (out.numel() == 0) return out;
  const int64_t diagonal = args.integer(1), rows = out.size(-2), columns = out.size(-1);
  const size_t bytes = itemsize(out.dtype());
  auto* p = static_cast<char*>(out.raw_mutable_data());
  for (int64_t i = 0; i < out.numel(); ++i) {
    const int64_t distance = i % columns - i / columns % rows;
    const bool keep = lower ? distance <= diagonal : distance >= diagonal;
    if (!keep) std::fill_n(p + i * static_cast<int64_t>(bytes), bytes, char{0});
  }
  return out;
}

// Coordinates [2, n] of the triangle's elements in row order.
Ints triangle_coordinates(int64_t rows, int64_t columns, int64_t offset, bool lower) {
  Ints out, second;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      if (lower ? c - r > offset : c - r < offset) continue;
      out.push_back(r);
      second.push_back(c);
    }
  }
  out.insert(out.end(), second.begin(), second.end());
  return out;
}

void register_triangles(OpTable& t) {
  for (const bool lower : {true, false}) {
    const std::string name = lower ? "tril" : "triu";
    OpDef& op = t.define("aten." + name + ".default", "(Tensor self, SymInt diagonal=0) -> Tensor");
    op.infer = [](const Args& args) -> Value {
      if (rank(args.meta(0)) < 2) throw ValueError("input tensor must have at least 2 dimensions");
      return args.meta(0);
    };
    op.reference = [lower](const Args& args) {
      infer_output(args);
      return triangle(args, lower);
    };
    t.define_inplace("aten." + name + "_.default", "aten." + name + ".default");
    OpDef& indices =
        t.define("aten." + name + "_indices.default",
                 cat("(int row, int col, int offset=0, *, ScalarType? dtype=long, ", kFactory));
    indices.infer = [lower](const Args& args) -> Value {
      if (args.integer(0) < 0 || args.integer(1) < 0) {
        throw ValueError("row and col must be non-negative");
      }
      const Ints at =
          triangle_coordinates(args.integer(0), args.integer(1), args.integer(2), lower);
      return TensorMeta{{SymInt(2), SymInt(static_cast<int64_t>(at.size() / 2))},
                        args.dtype(3, DType::Int64),
                        {}};
    };
    indices.reference = [lower](const Args& args) -> Value {
      const TensorMeta meta = infer_output(args);
      return Tensor::from_vector(
                 triangle_coordinates(args.integer(0), args.integer(1), args.integer(2), lower),
                 hints(meta.sizes))
          .to(meta.dtype);
    };
  }
}

void define_eye(OpTable& t, const std::string& name, const std::string& sizes, size_t dtype_arg) {
  OpDef& op = t.define("aten." + name, cat("(", sizes, ", *, ScalarType? dtype=None, ", kFactory));
  op.infer = [dtype_arg](const Args& args) -> Value {
    const SymInt columns = args.sym_int(dtype_arg - 1);
    return TensorMeta{{args.sym_int(0), columns}, args.dtype(dtype_arg, DType::Float32), {}};
  };
  op.reference = [](const Args& args) -> Value {
    Tensor out = Tensor::zeros(hints(infer_output(args).sizes), infer_output(args).dtype);
    for (int64_t i = 0; i < std::min(out.size(0), out.size(1)); ++i) {
      out.select(0, i).select(0, i).copy_(Tensor::scalar(1));
    }
    return out;
  };
}

// --- meshgrid ------------------------------------------------------------------------------------

void define_meshgrid(OpTable& t, const std::string& name, const std::string& schema) {
  OpDef& op = t.define("aten." + name, schema);
  const auto swaps = [](const Args& args, size_t count) {
    if (args.size() < 2 || args.string(1) == "ij") return false;
    if (args.string(1) != "xy") {
      throw ValueError("torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: " +
                       args.string(1));
    }
    return count > 1;
  };
  op.infer = [swaps](const Args& args) -> Value {
    const std::vector<TensorMeta> metas = args.metas(0);
    if (metas.empty()) throw ValueError("meshgrid expects a non-empty TensorList");
    SymShape sizes;
    for (const TensorMeta& meta : metas) {
      if (rank(meta) > 1) throw ValueError("meshgrid expects 0-D or 1-D tensors");
      if (meta.dtype != metas[0].dtype) {
        throw TypeError("meshgrid expects all tensors to have the same dtype");
      }
      sizes.push_back(product(meta.sizes));
    }
    if (swaps(args, metas.size())) std::swap(sizes[0], sizes[1]);
    Value::List out;
    for (const TensorMeta& meta : metas) out.emplace_back(with_sizes(meta, sizes));
    return out;
  };
  op.reference = [swaps](const Args& args) -> Value {
    const std::vector<Tensor> parts = args.tensors(0);
    const Shape sizes = hints(infer_outputs(args).list().at(0).as<TensorMeta>().sizes);
    const bool swapped = swaps(args, parts.size());
    Value::List out;
    for (size_t i = 0; i < parts.size(); ++i) {
      Shape column(parts.size(), 1);
      const size_t axis = swapped && i < 2 ? 1 - i : i;
      column[axis] = parts[i].numel();
      out.emplace_back(parts[i].reshape(column).expand(sizes));
    }
    return out;
  };
}

void register_one_hot(OpTable& t) {
  OpDef& op = t.define("aten.one_hot.default", "(Tensor self, int num_classes=-1) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    TensorMeta meta = args.meta(0);
    if (meta.dtype != DType::Int64) {
      throw TypeError("one_hot is only applicable to index tensor of type LongTensor.");
    }
    if (args.integer(1) <= 0) {
      throw NotImplementedError(
          "one_hot without num_classes gives a shape that depends on the values",
          "pass num_classes");
    }
    meta.sizes.emplace_back(args.integer(1));
    return meta;
  };
  op.reference = [](const Args& args) -> Value {
    if (args.integer(1) > 0) infer_output(args);
    const Tensor index = dense<int64_t>(args.tensor(0));
    int64_t classes = args.integer(1);
    if (classes == -1) {  // run time knows the values
      for (int64_t i = 0; i < index.numel(); ++i) {
        classes = std::max(classes, index.data<int64_t>()[i] + 1);
      }
    }
    Shape sizes = index.sizes();
    sizes.push_back(classes);
    Tensor out = Tensor::zeros(sizes, DType::Int64);
    for (int64_t i = 0; i < index.numel(); ++i) {
      const int64_t c = index.data<int64_t>()[i];
      if (c < 0 || c >= classes) throw ValueError("Class values must be smaller than num_classes.");
      out.mutable_data<int64_t>()[i * classes + c] = 1;
    }
    return out;
  };
}

}  // namespace

void register_grids(OpTable& t) {
  register_triangles(t);
  define_eye(t, "eye.default", "SymInt n", 1);
  define_eye(t, "eye.m", "SymInt n, SymInt m", 2);
  define_meshgrid(t, "meshgrid.default", "(Tensor[] tensors) -> Tensor[]");
  define_meshgrid(t, "meshgrid.indexing", "(Tensor[] tensors, *, str indexing) -> Tensor[]");
  register_one_hot(t);
}

}  // namespace pt2q
