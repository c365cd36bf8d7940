#include "kernels/bfloat16.h"
#include "kernels/qconv.h"

namespace pt2q::kernels {
namespace {

int32_t window_sum(const QConvSpec& spec, const int8_t* weights, const uint8_t* src,
                   int32_t zero_point, int64_t n, int64_t oh, int64_t ow, int64_t oc) {
  const ConvShape& s = spec.shape;
  const int64_t stride = spec.src_stride != 0 ? spec.src_stride : s.in_c;
  const int64_t group_in = s.in_c / s.groups;
  const int64_t first = oc / (s.out_c / s.groups) * group_in;
  int32_t acc = 0;
  for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
    for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
      const int64_t ih = oh * s.stride_h - s.pad_top + kh * s.dilation_h;
      const int64_t iw = ow * s.stride_w - s.pad_left + kw * s.dilation_w;
      if (ih < 0 || ih >= s.in_h || iw < 0 || iw >= s.in_w) continue;  // padding counts as zero
      const uint8_t* pixel = src + ((n * s.in_h + ih) * s.in_w + iw) * stride + first;
      for (int64_t c = 0; c < group_in; ++c) {
        const int32_t x =
            spec.src_is_s8 ? int32_t{static_cast<int8_t>(pixel[c])} : int32_t{pixel[c]};
        const int8_t w = weights[((oc * group_in + c) * s.kernel_h + kh) * s.kernel_w + kw];
        acc += (x - zero_point) * w;
      }
    }
  }
  return acc;
}

const void* residual_at(const EpilogueSpec& epilogue, const void* residual, int64_t at) {
  for (const PostOp& op : epilogue.ops) {
    if (op.kind != PostOpKind::add) continue;
    if (op.residual_type == ElemType::f32) return static_cast<const float*>(residual) + at;
    return static_cast<const uint8_t*>(residual) + at;
  }
  return nullptr;
}

}  // namespace

void qconv_reference(const QConvSpec& spec, const int8_t* weights, const void* src, void* dst,
                     const void* residual, const RowScales& rows) {
  const ConvShape& s = spec.shape;
  const int64_t dst_stride = spec.dst_stride != 0 ? spec.dst_stride : s.out_c;
  const int64_t residual_stride = spec.residual_stride != 0 ? spec.residual_stride : s.out_c;
  for (int64_t pixel = 0; pixel < s.batch * s.out_h() * s.out_w(); ++pixel) {
    const int64_t ow = pixel % s.out_w();
    const int64_t oh = pixel / s.out_w() % s.out_h();
    const int64_t n = pixel / (s.out_w() * s.out_h());
    const RowScales row = rows.from(pixel);
    const int32_t zero = row.scale != nullptr ? *row.zero : spec.src_zero_point;
    for (int64_t oc = 0; oc < s.out_c; ++oc) {
      const int32_t acc =
          window_sum(spec, weights, static_cast<const uint8_t*>(src), zero, n, oh, ow, oc);
      const void* r = residual_at(spec.epilogue, residual, pixel * residual_stride + oc);
      const float y =
          epilogue_value(spec.epilogue, acc, oc, r, row.scale != nullptr ? *row.scale : 1.0F);
      const int64_t at = pixel * dst_stride + oc;
      if (spec.epilogue.out == ElemType::f32) {
        static_cast<float*>(dst)[at] = y;
      } else if (spec.epilogue.out == ElemType::bf16) {
        static_cast<uint16_t*>(dst)[at] = to_bfloat16(y);
      } else {
        static_cast<uint8_t*>(dst)[at] = static_cast<uint8_t>(epilogue_quantize(spec.epilogue, y));
      }
    }
  }
}

}  // namespace pt2q::kernels
