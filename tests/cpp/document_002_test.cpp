// The flow of the post-training quantization document in C++ alone: ResNet-18 from a file,
// baseline, XNNPACK quantizer, calibration, conversion, size, accuracy, save and reload. Public
// headers only.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "graph_builder.h"
#include "io_test_util.h"
#include "pt2q/pt2q.h"

namespace pt2q {
namespace {

using testing::make_resnet;
using testing::random_tensor;

constexpr int64_t kBatch = 4;
constexpr int64_t kImage = 64;

struct Batch {
  Tensor images;
  std::vector<int64_t> labels;
};

// The indices of the `k` largest scores of row `i`.
std::vector<int64_t> top(const Tensor& scores, int64_t i, size_t k) {
  const int64_t classes = scores.size(1);
  const float* row = scores.data<float>() + i * classes;
  std::vector<int64_t> order(static_cast<size_t>(classes));
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
                    [&](int64_t a, int64_t b) { return row[a] > row[b]; });
  order.resize(k);
  return order;
}

struct Scores {
  double top1 = 0.0, top5 = 0.0, loss = 0.0;
};

Scores evaluate(GraphModule& model, const std::vector<Batch>& data) {
  Scores out;
  for (const Batch& batch : data) {
    const Tensor scores = run(model, {batch.images}).list().at(0).as<Tensor>();
    const Tensor labels = Tensor::from_vector(batch.labels, {kBatch});
    out.loss += call("aten.cross_entropy_loss.default", {scores, labels}).as<Tensor>().item();
    for (int64_t i = 0; i < kBatch; ++i) {
      const auto best = top(scores, i, 5);
      const int64_t label = batch.labels[static_cast<size_t>(i)];
      out.top1 += best[0] == label;
      out.top5 += std::count(best.begin(), best.end(), label) > 0;
    }
  }
  const auto batches = static_cast<double>(data.size());
  return {out.top1 / (batches * kBatch), out.top5 / (batches * kBatch), out.loss / batches};
}

// Random images; the label is what the float model says, so that its own accuracy is 1.
std::vector<Batch> make_data(GraphModule& model, int count, unsigned seed) {
  std::vector<Batch> out;
  for (int i = 0; i < count; ++i) {
    Batch batch{random_tensor({kBatch, 3, kImage, kImage}, seed + static_cast<unsigned>(i)), {}};
    const Tensor scores = run(model, {batch.images}).list().at(0).as<Tensor>();
    for (int64_t k = 0; k < kBatch; ++k) batch.labels.push_back(top(scores, k, 1)[0]);
    out.push_back(std::move(batch));
  }
  return out;
}

TEST(Document002, QuantizeEvaluateSaveReload) {
  const pt2q_test::TempDir dir;
  const std::string float_file = dir / "resnet18_float.pt2", int8_file = dir / "resnet18_int8.pt2";
  save_pt2(*make_resnet(kBatch, {2, 2, 2, 2}, false, true, kImage), float_file);

  const auto model = load_pt2(float_file);
  const auto train = make_data(*model, 4, 100), test = make_data(*model, 3, 200);
  const Scores baseline = evaluate(*model, test);
  EXPECT_EQ(baseline.top1, 1.0);

  XNNPACKQuantizer quantizer;
  quantizer.set_global(get_symmetric_quantization_config());
  prepare_pt2e(*model, quantizer);
  for (const Batch& batch : train) run(*model, {batch.images});
  convert_pt2e(*model);

  const Scores quantized = evaluate(*model, test);
  EXPECT_GE(quantized.top5, 0.9);  // random weights: the winner is often a narrow one
  EXPECT_LT(std::abs(quantized.loss - baseline.loss), 0.1 * baseline.loss + 0.1);

  save_pt2(*model, int8_file);
  EXPECT_LT(static_cast<double>(std::filesystem::file_size(int8_file)),
            0.3 * static_cast<double>(std::filesystem::file_size(float_file)));
  const auto loaded = load_pt2(int8_file);
  const Tensor before = run(*model, {test[0].images}).list().at(0).as<Tensor>();
  const Tensor after = run(*loaded, {test[0].images}).list().at(0).as<Tensor>();
  EXPECT_TRUE(testing::same_bits(before, after));

  // Lowered, the reloaded model gives the same accuracy from int8 kernels.
  const auto compiled = compile(*loaded);
  const Scores fast = evaluate(compiled->module(), test);
  EXPECT_GE(fast.top5, 0.9);
  const auto steps = compiled->steps({test[0].images});
  EXPECT_GE(std::count_if(steps.begin(), steps.end(),
                          [](const StepReport& s) { return s.op == "pt2q.qconv.default"; }),
            20);
}

}  // namespace
}  // namespace pt2q
