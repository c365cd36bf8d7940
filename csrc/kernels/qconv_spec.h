// What QConv and QDepthwise do alike with a QConvSpec: checks, defaults, other input sizes.
// `kind` is the kernel's name in messages.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/qconv.h"

namespace pt2q::kernels {

std::string shape_text(const ConvShape& shape);  // "3x3 64->32 @56x56"

// Throws ValueError for sizes, strides, padding or a zero point that no convolution can have.
void check_spec(const char* kind, const QConvSpec& spec);
// As plans keep it: with strides instead of their defaults and without the epilogue, which is kept
// in another form.
QConvSpec planned_spec(const QConvSpec& spec);
// Of the source, as uint8.
int32_t u8_zero_point(const QConvSpec& spec);
// Throws ValueError when the residual that an `add` needs is missing.
void check_residual(const char* kind, const QConvSpec& spec, const Epilogue& epilogue,
                    const void* residual);
void change_dst_stride(const char* kind, int64_t elements, QConvSpec* spec);

// A plan that shares the constants of another one, for an input of another size.
template <class Plan, class Constants>
std::unique_ptr<Plan> resized_plan(const char* kind, const Constants& from, int64_t batch,
                                   int64_t in_h, int64_t in_w) {
  auto plan = std::make_unique<Plan>();
  static_cast<Constants&>(*plan) = from;
  ConvShape& shape = plan->spec.shape;
  shape.batch = batch;
  shape.in_h = in_h;
  shape.in_w = in_w;
  check_spec(kind, plan->spec);
  plan->build();
  return plan;
}

}  // namespace pt2q::kernels
