// im2col and col2im (torch.nn.Unfold and Fold).
#include "base/strings.h"
#include "ops/support/operands.h"
#include "ops/support/window.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

// Arguments from `first`: kernel_size, dilation, padding, stride.
Window window_of(const Args& args, size_t first, const Ints& image) {
  Window w;
  const Ints kernel = args.integers(first), dilation = args.integers(first + 1),
             padding = args.integers(first + 2), stride = args.integers(first + 3);
  w.image = dims3(image, 1);
  w.kernel = dims3(kernel, 1);
  w.dilation = dims3(dilation, 1);
  w.padding = dims3(padding, 0);
  w.stride = dims3(stride, 1);
  w.out = {1, 1, 1};
  for (size_t i = 0; i < 2; ++i) {
    if (kernel[i] <= 0 || dilation[i] <= 0 || stride[i] <= 0 || padding[i] < 0) {
      throw ValueError(
          "kernel size, dilation and stride must be greater than zero and padding "
          "non-negative");
    }
    w.out[i + 1] =
        window_size(image[i], kernel[i], stride[i], padding[i], padding[i], dilation[i]).constant();
  }
  return w;
}

// [N, C, H, W] → [N, C*kh*kw, L]
void register_im2col(OpTable& t) {
  OpDef& op = t.define("aten.im2col.default",
                       "(Tensor self, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] "
                       "stride) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    const TensorMeta& x = args.meta(0);
    if (rank(x) != 3) require_rank(x, 4, "input");
    const size_t n = x.sizes.size();
    const Window w = window_of(args, 1, {x.sizes[n - 2].constant(), x.sizes[n - 1].constant()});
    SymShape out(x.sizes.begin(), x.sizes.end() - 2);
    out.back() = out.back() * SymInt(volume(w.kernel));
    out.emplace_back(volume(w.out));
    return with_sizes(x, out);
  };
  op.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    return visit_compute(meta.dtype, [&](auto tag) -> Value {
      using T = decltype(tag);
      const Tensor x = dense<T>(args.tensor(0));
      Tensor out = make_output(with_dtype(meta, DTypeOf<T>::value));
      const Window w = window_of(args, 1, {x.size(-2), x.size(-1)});
      im2col(w, x.numel() / volume(w.image), x.data<T>(), out.mutable_data<T>());
      return out.to(meta.dtype);
    });
  };
}

// [N, C*kh*kw, L] → [N, C, H, W], overlapping values added.
void register_col2im(OpTable& t) {
  OpDef& op = t.define("aten.col2im.default",
                       "(Tensor self, SymInt[2] output_size, int[2] kernel_size, int[2] dilation, "
                       "int[2] padding, int[2] stride) -> Tensor");
  op.infer = [](const Args& args) -> Value {
    const TensorMeta& x = args.meta(0);
    if (rank(x) != 2) require_rank(x, 3, "input");
    const Window w = window_of(args, 2, args.integers(1));
    SymShape out(x.sizes.begin(), x.sizes.end() - 1);
    if (out.back().hint() % volume(w.kernel) != 0 || x.sizes.back().hint() != volume(w.out)) {
      throw ValueError(cat("Expected the input to have ", volume(w.out),
                           " columns and a multiple of ", volume(w.kernel), " rows, but got shape ",
                           text(x.sizes)));
    }
    out.back() = floordiv(out.back(), volume(w.kernel));
    for (const int64_t s : args.integers(1)) out.emplace_back(s);
    return with_sizes(x, out);
  };
  op.reference = [](const Args& args) -> Value {
    const TensorMeta meta = infer_output(args);
    return visit_compute(meta.dtype, [&](auto tag) -> Value {
      using T = decltype(tag);
      const Tensor x = dense<T>(args.tensor(0));
      Tensor out = Tensor::zeros(hints(meta.sizes), DTypeOf<T>::value);
      const Window w = window_of(args, 2, args.integers(1));
      col2im(w, out.numel() / std::max<int64_t>(1, volume(w.image)), x.data<T>(),
             out.mutable_data<T>());
      return out.to(meta.dtype);
    });
  };
}

}  // namespace

void register_fold(OpTable& t) {
  register_im2col(t);
  register_col2im(t);
}

}  // namespace pt2q
