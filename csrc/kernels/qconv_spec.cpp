#include "kernels/qconv_spec.h"

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q::kernels {
namespace {

[[noreturn]] void fail(const char* kind, const ConvShape& shape, const std::string& what) {
  throw ValueError(cat(kind, " ", shape_text(shape), ": ", what));
}

void check_stride(const char* kind, const ConvShape& shape, const char* of, int64_t stride,
                  int64_t channels) {
  if (stride != 0 && stride < channels) {
    fail(kind, shape,
         cat("a pixel stride of ", stride, " for the ", of, " is smaller than its ", channels,
             " channels"));
  }
}

}  // namespace

std::string shape_text(const ConvShape& s) {
  return cat(s.kernel_h, "x", s.kernel_w, " ", s.in_c, "->", s.out_c, " @", s.in_h, "x", s.in_w);
}

void check_spec(const char* kind, const QConvSpec& spec) {
  const ConvShape& s = spec.shape;
  if (s.batch < 0 || s.in_h < 1 || s.in_w < 1 || s.in_c < 1 || s.out_c < 1 || s.kernel_h < 1 ||
      s.kernel_w < 1)
    fail(kind, s, "sizes must be positive");
  if (s.stride_h < 1 || s.stride_w < 1 || s.dilation_h < 1 || s.dilation_w < 1)
    fail(kind, s, "strides and dilations must be positive");
  if (s.pad_top < 0 || s.pad_left < 0 || s.pad_bottom < 0 || s.pad_right < 0)
    fail(kind, s, "negative padding");
  if (s.groups < 1 || s.in_c % s.groups != 0)
    fail(kind, s, cat("input channels do not divide into ", s.groups, " groups"));
  if (s.out_h() < 1 || s.out_w() < 1) fail(kind, s, "the kernel is larger than the padded input");
  const int32_t zero = u8_zero_point(spec);
  if (zero < 0 || zero > 255)
    fail(kind, s, cat("the source zero point ", spec.src_zero_point, " is outside its type"));
  check_stride(kind, s, "source", spec.src_stride, s.in_c);
  check_stride(kind, s, "destination", spec.dst_stride, s.out_c);
  check_stride(kind, s, "residual", spec.residual_stride, s.out_c);
}

QConvSpec planned_spec(const QConvSpec& given) {
  QConvSpec spec = given;
  spec.epilogue = EpilogueSpec();
  if (spec.src_stride == 0) spec.src_stride = spec.shape.in_c;
  if (spec.dst_stride == 0) spec.dst_stride = spec.shape.out_c;
  if (spec.residual_stride == 0) spec.residual_stride = spec.shape.out_c;
  return spec;
}

int32_t u8_zero_point(const QConvSpec& spec) {
  return spec.src_zero_point + (spec.src_is_s8 ? 128 : 0);
}

void check_residual(const char* kind, const QConvSpec& spec, const Epilogue& epilogue,
                    const void* residual) {
  if (epilogue.has_add && residual == nullptr) fail(kind, spec.shape, "no residual for the add");
}

void change_dst_stride(const char* kind, int64_t elements, QConvSpec* spec) {
  if (elements < 1) fail(kind, spec->shape, cat("a pixel stride of ", elements));
  check_stride(kind, spec->shape, "destination", elements, spec->shape.out_c);
  spec->dst_stride = elements;
}

}  // namespace pt2q::kernels
