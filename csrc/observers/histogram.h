// HistogramObserver: a running histogram whose range grows with the data, and a search for the
// clipping range with the least squared error (SPEC 2.3, the algorithm of PyTorch 2.5 and later).
#pragma once

#include <vector>

#include "observers/observer_base.h"

namespace pt2q {

// Buffers eps [1], histogram [bins], min_val [], max_val [], float32. Counts are exact within a
// batch and rounded to float32 when added, so a bin stops growing at 2^24 only between batches.
class HistogramObserver : public UniformObserverBase {
 public:
  // Throws NotImplementedError for per-channel schemes and is_dynamic, TypeError for dtypes that
  // are not integers, ValueError for bins outside [1, 2^24].
  HistogramObserver(int64_t bins, const UniformArgs& args);
  static std::shared_ptr<HistogramObserver> make(KwReader args);

  std::string type_name() const override { return "HistogramObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  // Infinite values are left out with a warning. Throws RuntimeError for NaN, and for a range whose
  // width is not finite; the statistics are then unchanged.
  Tensor forward(const Tensor& x) override;
  QParams calculate_qparams() override;
  // Adds counts; where the ranges differ both histograms are spread over the union, as forward does
  // with a batch of another range. Minimum, maximum and the number of counts are those of all the
  // data. Bound: a spreading moves a count by at most one bin of the new width, and a merge spreads
  // a histogram at most once; so with r spreadings (batches that widened the range, and merges) the
  // cumulative counts at x lie between the numbers of values up to x - (r + 1) bins and up to
  // x + (r + 1) bins. For exact merges take GridHistogramObserver.
  void merge(const Observer& other) override;
  void reset_min_max_vals() override { Observer::reset_min_max_vals(); }
  void load_state_dict(const std::map<std::string, Tensor>& state) override;
  std::string extra_repr() const override;

  int64_t bins() const { return bins_; }
  int64_t dst_nbins() const { return dst_nbins_; }
  int64_t upsample_rate() const { return kUpsampleRate; }
  // The range calculate_qparams uses: (new_min, new_max).
  std::pair<float, float> search_range() const;

 private:
  static constexpr int64_t kUpsampleRate = 16;

  bool initialized() const;
  void observe(const float* x, int64_t n, float min, float max);
  // Adds counts whose bins cover [min, max], a range that contains the present one.
  void add_counts(const float* counts, float min, float max);
  // Spreads a histogram over [from_min, from_max] into the bins of [to_min, to_max]; adds to `out`.
  void spread(const float* hist, float from_min, float from_max, float to_min, float to_max,
              float* out);

  int64_t bins_;
  int64_t dst_nbins_;
  std::vector<float> batch_;  // counts of the present batch
  std::vector<float> moved_;  // the running histogram in a new range
  std::vector<float> edges_;
};

}  // namespace pt2q
