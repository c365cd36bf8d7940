// Convolutions in one to three dimensions, and their transposes.
#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/gemm.h"
#include "ops/support/operands.h"
#include "ops/support/window.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

// Everything but the tensors.
struct ConvParams {
  size_t spatial = 2;
  bool transposed = false;
  Ints stride, before, after, dilation, output_padding;
  int64_t groups = 1;
};

ConvParams make_params(const Args& args, size_t spatial, size_t stride, size_t dilation,
                       size_t groups) {
  ConvParams p;
  p.spatial = spatial;
  p.stride = repeat_to(args.integers(stride), spatial, 1);
  p.dilation = repeat_to(args.integers(dilation), spatial, 1);
  p.output_padding = Ints(spatial, 0);
  p.groups = args.integer(groups);
  return p;
}

void set_padding(ConvParams* p, const Ints& padding) {
  p->before = p->after = repeat_to(padding, p->spatial, 0);
}

// "valid": none; "same": as much as keeps the size at stride 1, the odd element at the end.
void set_padding(ConvParams* p, const std::string& mode, const Ints& kernel) {
  p->before = p->after = Ints(p->spatial, 0);
  if (mode == "valid") return;
  if (mode != "same") {
    throw ValueError(cat("Invalid padding string: '", mode, "'"), "use 'valid' or 'same'");
  }
  for (size_t i = 0; i < p->spatial; ++i) {
    if (p->stride[i] != 1) {
      throw ValueError("padding='same' is not supported for strided convolutions");
    }
    const int64_t total = p->dilation[i] * (kernel[i] - 1);
    p->before[i] = total / 2;
    p->after[i] = total - total / 2;
  }
}

// The row of the table decides which arguments mean what.
using ParamsFn = ConvParams (*)(const Args& args, const Ints& weight_sizes);

template <size_t N>
ConvParams forward_params(const Args& args, const Ints&) {
  ConvParams p = make_params(args, N, 3, 5, 6);
  set_padding(&p, args.integers(4));
  return p;
}

template <size_t N>
ConvParams string_params(const Args& args, const Ints& weight) {
  ConvParams p = make_params(args, N, 3, 5, 6);
  set_padding(&p, args.string(4), Ints(weight.end() - static_cast<int64_t>(N), weight.end()));
  return p;
}

template <size_t N>
ConvParams transposed_params(const Args& args, const Ints&) {
  ConvParams p = make_params(args, N, 3, 7, 6);
  set_padding(&p, args.integers(4));
  p.output_padding = repeat_to(args.integers(5), N, 0);
  p.transposed = true;
  return p;
}

ConvParams general_params(const Args& args, const Ints& weight) {
  ConvParams p = make_params(args, weight.size() - 2, 3, 5, 8);
  set_padding(&p, args.integers(4));
  p.transposed = args.boolean(6);
  if (p.transposed) p.output_padding = repeat_to(args.integers(7), p.spatial, 0);
  return p;
}

void check_params(const ConvParams& p) {
  for (size_t i = 0; i < p.spatial; ++i) {
    if (p.stride[i] <= 0) throw ValueError("non-positive stride is not supported");
    if (p.dilation[i] <= 0) throw ValueError("dilation should be greater than zero");
    if (p.before[i] < 0) throw ValueError("negative padding is not supported");
  }
  if (p.groups <= 0) throw ValueError("non-positive groups is not supported");
}

void check_channels(const ConvParams& p, const TensorMeta& x, const TensorMeta& w,
                    const SymInt& channels) {
  const SymInt in = p.transposed ? w.sizes[0] : w.sizes[1] * SymInt(p.groups);
  if (same_size(in, channels) && w.sizes[0].hint() % p.groups == 0) return;
  throw ValueError(cat("Given groups=", p.groups, p.transposed ? ", transposed=1" : "",
                       ", weight of size ", text(w.sizes), ", expected input", text(x.sizes),
                       " to have ", in, " channels, but got ", channels, " channels instead"));
}

// Input [N, C, ...] or [C, ...], weight [O, C/groups, ...] (transposed: [C, O/groups, ...]).
TensorMeta infer_conv(const Args& args, ParamsFn params) {
  const TensorMeta& x = args.meta(0);
  const TensorMeta& w = args.meta(1);
  if (rank(w) < 3) throw ValueError(cat("weight of shape ", text(w.sizes), " is no kernel"));
  const ConvParams p = params(args, hints(w.sizes));
  const auto n = static_cast<int64_t>(p.spatial);
  require_rank(w, n + 2, "weight");
  if (rank(x) != n + 2 && rank(x) != n + 1) {
    throw ValueError(cat("Expected ", n + 1, "D (unbatched) or ", n + 2,
                         "D (batched) input to conv, but got input of size: ", text(x.sizes)));
  }
  check_params(p);
  if (x.dtype != w.dtype) {
    throw TypeError(cat("input has dtype ", dtype_name(x.dtype), ", but weight has dtype ",
                        dtype_name(w.dtype)));
  }
  const size_t first = x.sizes.size() - p.spatial;  // first spatial dimension
  check_channels(p, x, w, x.sizes[first - 1]);
  SymShape out(x.sizes.begin(), x.sizes.begin() + static_cast<int64_t>(first));
  out.back() = p.transposed ? w.sizes[1] * SymInt(p.groups) : w.sizes[0];
  if (!args.is_none(2) &&
      !(rank(args.meta(2)) == 1 && same_size(args.meta(2).sizes[0], out.back()))) {
    throw ValueError(cat("Given weight of size ", text(w.sizes),
                         ", expected bias to be 1-dimensional with ", out.back(),
                         " elements, but got bias of size ", text(args.meta(2).sizes), " instead"));
  }
  for (size_t i = 0; i < p.spatial; ++i) {
    const int64_t k = w.sizes[i + 2].constant();
    const SymInt& in = x.sizes[first + i];
    out.push_back(p.transposed
                      ? (in - SymInt(1)) * SymInt(p.stride[i]) +
                            SymInt(p.dilation[i] * (k - 1) + p.output_padding[i] + 1 - p.before[i] -
                                   p.after[i])
                      : window_size(in, k, p.stride[i], p.before[i], p.after[i], p.dilation[i]));
  }
  return with_sizes(x, out);
}

// `image` is the side the kernel slides over, `out` the positions: for a transposed convolution the
// output is the image.
Window make_window(const ConvParams& p, const Ints& image, const Ints& out, const Ints& kernel) {
  return Window{dims3(image, 1),    dims3(out, 1),      dims3(kernel, 1),
                dims3(p.stride, 1), dims3(p.before, 0), dims3(p.dilation, 1)};
}

template <typename T>
struct ConvData {
  const T* x;
  const T* w;
  const T* bias;  // may be null
  T* y;
  int64_t batch, in_channels, out_channels;
};

template <typename T>
void fill_bias(const ConvData<T>& d, int64_t plane) {
  for (int64_t i = 0; i < d.batch * d.out_channels; ++i) {
    std::fill(d.y + i * plane, d.y + (i + 1) * plane,
              d.bias == nullptr ? T(0) : d.bias[i % d.out_channels]);
  }
}

template <typename T>
void convolve(const Window& win, const ConvData<T>& d, int64_t groups) {
  const int64_t in_plane = volume(win.image), out_plane = volume(win.out);
  const int64_t cg = d.in_channels / groups, og = d.out_channels / groups;
  const int64_t depth = cg * volume(win.kernel);
  const bool pointwise = volume(win.kernel) == 1 && in_plane == out_plane &&
                         volume(win.stride) == 1 && win.padding == Dims3{0, 0, 0};
  fill_bias(d, out_plane);
  std::vector<T> columns(pointwise ? 0 : static_cast<size_t>(depth * out_plane));
  for (int64_t i = 0; i < d.batch * groups; ++i) {
    const int64_t g = i % groups;
    const T* image = d.x + (i / groups * d.in_channels + g * cg) * in_plane;
    if (!pointwise) im2col(win, cg, image, columns.data());
    gemm(og, out_plane, depth, d.w + g * og * depth, depth, pointwise ? image : columns.data(),
         out_plane, d.y + (i / groups * d.out_channels + g * og) * out_plane, out_plane);
  }
}

template <typename T>
void convolve_transposed(const Window& win, const ConvData<T>& d, int64_t groups) {
  const int64_t out_plane = volume(win.image), in_plane = volume(win.out);
  const int64_t cg = d.in_channels / groups, og = d.out_channels / groups;
  const int64_t depth = og * volume(win.kernel);
  fill_bias(d, out_plane);
  std::vector<T> columns(static_cast<size_t>(depth * in_plane));
  std::vector<T> turned(static_cast<size_t>(depth * cg));  // the group's weight as [depth][cg]
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t c = 0; c < cg; ++c) {
      for (int64_t k = 0; k < depth; ++k) turned[idx(k * cg + c)] = d.w[(g * cg + c) * depth + k];
    }
    for (int64_t b = 0; b < d.batch; ++b) {
      std::fill(columns.begin(), columns.end(), T(0));
      gemm(depth, in_plane, cg, turned.data(), cg, d.x + (b * d.in_channels + g * cg) * in_plane,
           in_plane, columns.data(), in_plane);
      col2im(win, og, columns.data(), d.y + (b * d.out_channels + g * og) * out_plane);
    }
  }
}

Value conv(const Args& args, ParamsFn params) {
  const TensorMeta meta = infer_output(args);
  const ConvParams p = params(args, args.tensor(1).sizes());
  const auto n = static_cast<int64_t>(p.spatial);
  return visit_compute(meta.dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = dense<T>(args.tensor(0));
    const Tensor w = dense<T>(args.tensor(1));
    const Tensor bias = args.is_none(2) ? Tensor() : dense<T>(args.tensor(2));
    Tensor y = make_output(with_dtype(meta, DTypeOf<T>::value));
    const Ints in(x.sizes().end() - n, x.sizes().end());
    const Ints out(y.sizes().end() - n, y.sizes().end());
    const Ints kernel(w.sizes().end() - n, w.sizes().end());
    const ConvData<T> data{x.data<T>(),
                           w.data<T>(),
                           bias.defined() ? bias.data<T>() : nullptr,
                           y.mutable_data<T>(),
                           x.dim() == n + 2 ? x.size(0) : 1,
                           x.size(-n - 1),
                           y.size(-n - 1)};
    if (y.numel() == 0) return y.to(meta.dtype);
    if (p.transposed) {
      convolve_transposed(make_window(p, out, in, kernel), data, p.groups);
    } else {
      convolve(make_window(p, in, out, kernel), data, p.groups);
    }
    return y.to(meta.dtype);
  });
}

void define_conv(OpTable& t, const std::string& name, const std::string& schema, ParamsFn params,
                 int channel_axis = 0) {
  OpDef& op = t.define("aten." + name, schema);
  op.infer = [params](const Args& args) -> Value { return infer_conv(args, params); };
  op.reference = [params](const Args& args) { return conv(args, params); };
  op.quant = own({0}, 1, 2, channel_axis);
}

// "(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, ...": n spatial dimensions.
std::string conv_schema(int n, const char* padding) {
  const std::string ints = cat("SymInt[", n, "]");
  return cat("(Tensor input, Tensor weight, Tensor? bias=None, ", ints, " stride=1, ",
             padding == nullptr ? cat(ints, " padding=0") : std::string(padding), ", ", ints,
             " dilation=1, SymInt groups=1) -> Tensor");
}

std::string transposed_schema(int n) {
  const std::string ints = cat("SymInt[", n, "]");
  return cat("(Tensor input, Tensor weight, Tensor? bias=None, ", ints, " stride=1, ", ints,
             " padding=0, ", ints, " output_padding=0, SymInt groups=1, ", ints,
             " dilation=1) -> Tensor");
}

}  // namespace

void register_conv(OpTable& t) {
  const char* by_name = "str padding=\"valid\"";
  define_conv(t, "conv1d.default", conv_schema(1, nullptr), forward_params<1>);
  define_conv(t, "conv2d.default", conv_schema(2, nullptr), forward_params<2>);
  define_conv(t, "conv3d.default", conv_schema(3, nullptr), forward_params<3>);
  define_conv(t, "conv1d.padding", conv_schema(1, by_name), string_params<1>);
  define_conv(t, "conv2d.padding", conv_schema(2, by_name), string_params<2>);
  define_conv(t, "conv3d.padding", conv_schema(3, by_name), string_params<3>);
  define_conv(t, "conv_transpose1d.default", transposed_schema(1), transposed_params<1>, 1);
  define_conv(t, "conv_transpose2d.input", transposed_schema(2), transposed_params<2>, 1);
  define_conv(t, "conv_transpose3d.input", transposed_schema(3), transposed_params<3>, 1);
  define_conv(t, "convolution.default",
              "(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, "
              "SymInt[] dilation, bool transposed, SymInt[] output_padding, SymInt groups) -> "
              "Tensor",
              general_params);
}

}  // namespace pt2q
