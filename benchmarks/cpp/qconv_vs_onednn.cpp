// int8 convolutions of ResNet-18, ResNet-50 and MobileNetV2 (dense ones): the kernel that a plan
// would take (PT2Q_WINOGRAD=0: never Winograd's) against oneDNN, u8 x s8 -> u8 with ReLU, hot
// buffers, weights packed once. The two run in turn, round by round, and each keeps its best round:
// on a shared machine read the ratios, not the times. Rounds are shorter than a scheduler's time
// slice, so that some of them run undisturbed.
//
//   qconv_vs_onednn [--batch N] [--threads N] [--isa NAME] [--rounds N] [--only TEXT] [--zero-point
//   Z]
// --isa caps ours; cap oneDNN alike with ONEDNN_MAX_CPU_ISA (AVX512_CORE, AVX512_CORE_VNNI).
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <dnnl.hpp>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/parallel.h"
#include "kernels/qconv.h"
#include "kernels/winograd.h"

namespace {

using namespace pt2q::kernels;

struct Layer {
  const char* net;
  int64_t kernel, in_c, out_c, stride, size;
};

const Layer kLayers[] = {
    {"r18", 7, 3, 64, 2, 224},    {"r18", 3, 64, 64, 1, 56},    {"r18", 3, 64, 128, 2, 56},
    {"r18", 1, 64, 128, 2, 56},   {"r18", 3, 128, 128, 1, 28},  {"r18", 3, 128, 256, 2, 28},
    {"r18", 1, 128, 256, 2, 28},  {"r18", 3, 256, 256, 1, 14},  {"r18", 3, 256, 512, 2, 14},
    {"r18", 1, 256, 512, 2, 14},  {"r18", 3, 512, 512, 1, 7},   {"r50", 1, 64, 64, 1, 56},
    {"r50", 1, 64, 256, 1, 56},   {"r50", 1, 256, 64, 1, 56},   {"r50", 1, 256, 128, 1, 56},
    {"r50", 3, 128, 128, 2, 56},  {"r50", 1, 256, 512, 2, 56},  {"r50", 1, 128, 512, 1, 28},
    {"r50", 1, 512, 128, 1, 28},  {"r50", 1, 512, 256, 1, 28},  {"r50", 3, 256, 256, 2, 28},
    {"r50", 1, 512, 1024, 2, 28}, {"r50", 1, 256, 1024, 1, 14}, {"r50", 1, 1024, 256, 1, 14},
    {"r50", 1, 1024, 512, 1, 14}, {"r50", 3, 512, 512, 2, 14},  {"r50", 1, 1024, 2048, 2, 14},
    {"r50", 1, 512, 2048, 1, 7},  {"r50", 1, 2048, 512, 1, 7},  {"mv2", 3, 3, 32, 2, 224},
    {"mv2", 1, 32, 16, 1, 112},   {"mv2", 1, 16, 96, 1, 112},   {"mv2", 1, 96, 24, 1, 56},
    {"mv2", 1, 24, 144, 1, 56},   {"mv2", 1, 144, 24, 1, 56},   {"mv2", 1, 144, 32, 1, 28},
    {"mv2", 1, 32, 192, 1, 28},   {"mv2", 1, 192, 32, 1, 28},   {"mv2", 1, 192, 64, 1, 14},
    {"mv2", 1, 64, 384, 1, 14},   {"mv2", 1, 384, 64, 1, 14},   {"mv2", 1, 384, 96, 1, 14},
    {"mv2", 1, 96, 576, 1, 14},   {"mv2", 1, 576, 96, 1, 14},   {"mv2", 1, 576, 160, 1, 7},
    {"mv2", 1, 160, 960, 1, 7},   {"mv2", 1, 960, 160, 1, 7},   {"mv2", 1, 960, 320, 1, 7},
    {"mv2", 1, 320, 1280, 1, 7},
};

struct Options {
  int64_t batch = 1;
  int threads = 1;
  int rounds = 40;
  int32_t zero_point = 0;
  std::string isa = "amx";
  std::string only;
};

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    const char* value = argv[i + 1];
    if (key == "--batch") o.batch = std::atoll(value);
    if (key == "--threads") o.threads = std::atoi(value);
    if (key == "--rounds") o.rounds = std::atoi(value);
    if (key == "--isa") o.isa = value;
    if (key == "--only") o.only = value;
    if (key == "--zero-point") o.zero_point = std::atoi(value);
  }
  return o;
}

struct Problem {
  ConvShape shape;
  std::vector<int8_t> weights;
  std::vector<uint8_t> src, dst_ours, dst_onednn;
  float scale;
  int32_t zero_point;
};

Problem make_problem(const Layer& layer, const Options& o) {
  Problem p;
  ConvShape& s = p.shape;
  s.batch = o.batch;
  s.in_h = s.in_w = layer.size;
  s.in_c = layer.in_c;
  s.out_c = layer.out_c;
  s.kernel_h = s.kernel_w = layer.kernel;
  s.stride_h = s.stride_w = layer.stride;
  s.pad_top = s.pad_left = s.pad_bottom = s.pad_right = layer.kernel / 2;
  std::mt19937 rng(1);
  std::uniform_int_distribution<int> w(-60, 60);  // exact without VNNI too
  std::uniform_int_distribution<int> x(0, 255);
  p.weights.resize(static_cast<size_t>(s.out_c * s.in_c * s.kernel_h * s.kernel_w));
  for (auto& v : p.weights) v = static_cast<int8_t>(w(rng));
  p.src.resize(static_cast<size_t>(s.batch * s.in_h * s.in_w * s.in_c));
  for (auto& v : p.src) v = static_cast<uint8_t>(x(rng));
  p.dst_ours.resize(static_cast<size_t>(s.batch * s.out_h() * s.out_w() * s.out_c));
  p.dst_onednn.resize(p.dst_ours.size());
  p.scale = 0.01F / std::sqrt(static_cast<float>(s.in_c * s.kernel_h * s.kernel_w));
  p.zero_point = o.zero_point;
  return p;
}

// oneDNN's primitive with everything it needs to run again.
struct OneDnn {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::primitive primitive;
  std::unordered_map<int, dnnl::memory> args;
  std::string implementation;
  float scale = 1;
  int32_t zero_point = 0;

  explicit OneDnn(Problem& p) : scale(p.scale), zero_point(p.zero_point) {
    using dnnl::memory;
    using dt = memory::data_type;
    using tag = memory::format_tag;
    const ConvShape& s = p.shape;
    const memory::dims src_dims = {s.batch, s.in_c, s.in_h, s.in_w};
    const memory::dims w_dims = {s.out_c, s.in_c, s.kernel_h, s.kernel_w};
    const memory::dims dst_dims = {s.batch, s.out_c, s.out_h(), s.out_w()};
    const memory::desc src_md(src_dims, dt::u8, tag::nhwc);
    const memory::desc w_md(w_dims, dt::s8, tag::any);
    const memory::desc dst_md(dst_dims, dt::u8, tag::nhwc);
    const memory::dims strides = {s.stride_h, s.stride_w};
    const memory::dims pad = {s.pad_top, s.pad_left};
    dnnl::primitive_attr attr;
    dnnl::post_ops ops;
#if DNNL_VERSION_MAJOR >= 3
    attr.set_scales_mask(DNNL_ARG_WEIGHTS, 0);
    if (zero_point != 0) attr.set_zero_points_mask(DNNL_ARG_SRC, 0);
    ops.append_eltwise(dnnl::algorithm::eltwise_relu, 0, 0);
    attr.set_post_ops(ops);
    const dnnl::convolution_forward::primitive_desc pd(engine, dnnl::prop_kind::forward_inference,
                                                       dnnl::algorithm::convolution_direct, src_md,
                                                       w_md, dst_md, strides, pad, pad, attr);
#else
    attr.set_output_scales(0, {scale});
    if (zero_point != 0) attr.set_zero_points(DNNL_ARG_SRC, 0, {zero_point});
    ops.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
    attr.set_post_ops(ops);
    const dnnl::convolution_forward::primitive_desc pd(
        {dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, src_md, w_md,
         dst_md, strides, pad, pad},
        attr, engine);
#endif
    implementation = pd.impl_info_str();
    memory plain({w_dims, dt::s8, tag::oihw}, engine, p.weights.data());
    memory packed(pd.weights_desc(), engine);
    dnnl::reorder(plain, packed).execute(stream, plain, packed);
    args[DNNL_ARG_SRC] = memory(src_md, engine, p.src.data());
    args[DNNL_ARG_WEIGHTS] = packed;
    args[DNNL_ARG_DST] = memory(dst_md, engine, p.dst_onednn.data());
#if DNNL_VERSION_MAJOR >= 3
    args[DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS] = memory({{1}, dt::f32, tag::x}, engine, &scale);
    if (zero_point != 0)
      args[DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC] =
          memory({{1}, dt::s32, tag::x}, engine, &zero_point);
#endif
    primitive = dnnl::convolution_forward(pd);
    stream.wait();
  }

  void run() {
    primitive.execute(stream, args);
    stream.wait();
  }
};

double seconds(const std::function<void()>& fn, int repeats) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) fn();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats;
}

struct Totals {
  double ours = 0, onednn = 0, log_ratio = 0;
  int count = 0, behind = 0;
};

struct Ours {
  std::string name;
  std::function<void(const void* src, void* dst)> run;
};

template <class Conv>
Ours ours_of(std::shared_ptr<const Conv> conv) {
  const auto scratch = std::make_shared<AlignedBuffer>(conv->scratch_bytes());
  return {conv->describe(),
          [=](const void* src, void* dst) { conv->run(src, dst, scratch->data()); }};
}

Ours choose(const QConvSpec& spec, const Problem& p, Isa isa) {
  const WeightShape shape = weight_shape(spec.shape);
  if (winograd_pays(spec.shape, isa)) {
    if (auto packed = pack_winograd(shape, p.weights.data(), isa))
      return ours_of(std::make_shared<const WinogradConv>(spec, packed));
  }
  return ours_of(std::make_shared<const QConv>(
      spec, pack_weights(shape, p.weights.data(), choose_route(isa))));
}

void bench(const Layer& layer, const Options& o, Totals& totals) {
  Problem p = make_problem(layer, o);
  const ConvShape& s = p.shape;
  const Isa isa = std::min(best_isa(), isa_from_label(o.isa));
  QConvSpec spec;
  spec.shape = s;
  spec.src_zero_point = p.zero_point;
  spec.epilogue.scale = {p.scale};
  spec.epilogue.ops = {PostOp{}};
  const Ours ours = choose(spec, p, isa);
  OneDnn theirs(p);
  const auto run_ours = [&] { ours.run(p.src.data(), p.dst_ours.data()); };
  const auto run_theirs = [&] { theirs.run(); };
  const double once = std::min(seconds(run_ours, 3), seconds(run_theirs, 3));
  const int repeats = std::max(1, static_cast<int>(0.0004 / once));
  double best_ours = 1e9, best_theirs = 1e9;
  for (int round = 0; round < o.rounds; ++round) {
    best_ours = std::min(best_ours, seconds(run_ours, repeats));
    best_theirs = std::min(best_theirs, seconds(run_theirs, repeats));
  }
  int worst = 0;  // oneDNN rounds alike with a unit output scale; saturates without VNNI
  for (size_t i = 0; i < p.dst_ours.size(); ++i)
    worst = std::max(worst, std::abs(int{p.dst_ours[i]} - int{p.dst_onednn[i]}));
  const double gop = 2e-9 * static_cast<double>(s.batch * s.out_h() * s.out_w() * s.out_c * s.in_c *
                                                s.kernel_h * s.kernel_w);
  std::printf(
      "%-4s %-34s %9.1f us %7.0f GOP/s | onednn %9.1f us %7.0f GOP/s | x%.2f  diff %d  %s\n",
      layer.net, ours.name.c_str(), best_ours * 1e6, gop / best_ours, best_theirs * 1e6,
      gop / best_theirs, best_theirs / best_ours, worst, theirs.implementation.c_str());
  std::fflush(stdout);
  totals.ours += best_ours;
  totals.onednn += best_theirs;
  totals.log_ratio += std::log(best_theirs / best_ours);
  totals.behind += best_theirs < best_ours ? 1 : 0;
  ++totals.count;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  pt2q::set_num_threads(o.threads);
  Totals totals;
  for (const Layer& layer : kLayers) {
    const std::string name = std::string(layer.net) + "_" + std::to_string(layer.kernel) + "x" +
                             std::to_string(layer.kernel) + "_" + std::to_string(layer.in_c) +
                             "to" + std::to_string(layer.out_c) + "@" + std::to_string(layer.size);
    if (name.find(o.only) == std::string::npos) continue;
    bench(layer, o, totals);
  }
  std::printf(
      "sum: ours %.3f ms, onednn %.3f ms, x%.2f; geometric mean x%.2f; behind on %d of %d\n",
      totals.ours * 1e3, totals.onednn * 1e3, totals.onednn / totals.ours,
      std::exp(totals.log_ratio / totals.count), totals.behind, totals.count);
  return 0;
}
