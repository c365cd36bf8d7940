// The one place that knows oneDNN 2.x from 3.x. On the CPU everything here is floating point:
// integer arithmetic is done by our own kernels, which are exact on every machine. On a GPU oneDNN
// does it, with the scales as post-operations; the source zero point is the only attribute.
#pragma once

#include <dnnl.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pt2q/tensor.h"

namespace pt2q::onednn {

const dnnl::engine& cpu_engine();
// Intel GPUs; 0 when there is no driver. Asked once.
int gpu_count();
// The engine of the first GPU; null without one.
const dnnl::engine* gpu_engine();
// Tests: another engine takes the GPU's part (null: the real one again).
void set_gpu_engine_for_testing(const dnnl::engine* engine);

// The engine primitives are made for on this thread: the CPU's, unless a scope says otherwise.
const dnnl::engine& current_engine();
bool on_gpu();  // the current engine is not the CPU's
class EngineScope {
 public:
  explicit EngineScope(const dnnl::engine& engine);
  ~EngineScope();
  EngineScope(const EngineScope&) = delete;
  EngineScope& operator=(const EngineScope&) = delete;

 private:
  const dnnl::engine* saved_;
};

// True for implementations that are 100 to 1000 times too slow to use ("ref:any", "simple:any").
bool is_reference_implementation(const std::string& impl);

dnnl::memory::data_type to_dnnl(DType dtype);
// Descriptor of strided data.
dnnl::memory::desc desc_of(const Shape& sizes, const Shape& strides, DType dtype);
// "Choose the layout": for weights.
dnnl::memory::desc desc_any(const Shape& sizes, DType dtype);

enum class Eltwise { Relu, Clip, HardSwish, Silu, Tanh, GeluErf, GeluTanh, Sigmoid, LeakyRelu };

struct PostOps {
  dnnl::post_ops ops;
  // oneDNN 2.6 keeps one generated kernel per algorithm, so a second use would get the parameters
  // of the first (two clips, relu and leaky relu). No primitive is made of such a chain.
  bool repeats_algorithm = false;
  void eltwise(Eltwise kind, float alpha = 0.0F, float beta = 0.0F);
  void add(const dnnl::memory::desc& other);
  void binary(dnnl::algorithm algorithm, const dnnl::memory::desc& other);
  void sum();  // adds what the destination held

 private:
  std::vector<dnnl::algorithm> eltwise_used_;
};

// What a primitive descriptor says, whatever the primitive.
struct Primitive {
  dnnl::primitive primitive;
  std::string impl;
  dnnl::memory::desc src, weights, bias, dst, scratchpad;

  explicit operator bool() const { return static_cast<bool>(primitive.get(true)); }
};

struct ConvSpec {
  dnnl::memory::desc src, weights, bias, dst;  // bias: zero desc for none
  bool has_bias = false;
  Shape stride, dilation, padding_low, padding_high;  // dilation as in PyTorch: 1 = dense
  bool src_zero_point = false;                        // given at run time as ATTR_ZERO_POINTS | SRC
};
// Empty (false) when oneDNN has no usable implementation.
Primitive make_convolution(const ConvSpec& spec, const PostOps& post_ops);
Primitive make_inner_product(const dnnl::memory::desc& src, const dnnl::memory::desc& weights,
                             const dnnl::memory::desc* bias, const dnnl::memory::desc& dst,
                             const PostOps& post_ops);
Primitive make_matmul(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                      const dnnl::memory::desc* bias, const dnnl::memory::desc& dst,
                      const PostOps& post_ops);

enum class PoolKind { Max, AvgIncludePadding, AvgExcludePadding };
struct PoolSpec {
  PoolKind kind = PoolKind::Max;
  dnnl::memory::desc src, dst;
  Shape kernel, stride, padding_low, padding_high;
};
Primitive make_pooling(const PoolSpec& spec);
Primitive make_eltwise(Eltwise kind, const dnnl::memory::desc& data, float alpha, float beta);
Primitive make_binary_add(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                          const dnnl::memory::desc& dst, bool multiply);
// Inference with given statistics: arguments SRC, MEAN, VARIANCE, SCALE, SHIFT, DST.
Primitive make_batch_norm(const dnnl::memory::desc& data, float eps);
Primitive make_softmax(const dnnl::memory::desc& data, int axis);

// Between host memory and memory of any engine, whole descriptors.
void upload(const void* from, dnnl::memory* to);
void download(const dnnl::memory& from, void* to);
// A copy of `data`, host memory, in the layout `wanted` on the current engine (weights packing).
dnnl::memory pack(const dnnl::memory::desc& plain, const void* data,
                  const dnnl::memory::desc& wanted);
// The same into memory that exists.
void repack(const dnnl::memory::desc& plain, const void* data, dnnl::memory& to);

}  // namespace pt2q::onednn
