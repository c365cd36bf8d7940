// GridHistogramObserver: a histogram whose result does not depend on how the data are split into
// batches, observers or workers. Not in PyTorch.
#pragma once

#include <vector>

#include "observers/observer_base.h"

namespace pt2q {

// Bins are [k * 2^e, (k + 1) * 2^e). The exponent e is the smallest for which the bins from the
// minimum's to the maximum's are at most `bins` (and no finer than float32 resolves at the largest
// magnitude): a function of the range alone. When the range grows, pairs of bins become one, which
// loses nothing, so the histogram is that of all data on the final grid, in any order, and merge is
// exact. calculate_qparams searches it as HistogramObserver does; with 2^e between 1/2 and 1 of the
// width of that observer's 2048 bins at the default of 4096, it is at least as fine.
//
// Buffers eps [1] float32, histogram [bins] int64, min_val [], max_val [] float32.
class GridHistogramObserver : public UniformObserverBase {
 public:
  // Throws NotImplementedError for per-channel schemes and is_dynamic, TypeError for dtypes that
  // are not integers, ValueError for bins outside [4, 2^24].
  GridHistogramObserver(int64_t bins, const UniformArgs& args);
  static std::shared_ptr<GridHistogramObserver> make(KwReader args);

  std::string type_name() const override { return "GridHistogramObserver"; }
  std::shared_ptr<Observer> clone() const override { return clone_of(*this); }
  // Infinite values are left out with a warning. Throws RuntimeError for NaN; the statistics are
  // then unchanged.
  Tensor forward(const Tensor& x) override;
  QParams calculate_qparams() override;
  void merge(const Observer& other) override;
  void reset_min_max_vals() override;
  void load_state_dict(const std::map<std::string, Tensor>& state) override;
  std::string extra_repr() const override;

  int64_t bins() const { return bins_; }
  int exponent() const {
    return exponent_;
  }  // of the bin width; meaningless before the first batch

 private:
  bool initialized() const;
  // Widens range and bins so that they hold [min, max].
  void cover(float min, float max);
  void find_grid();  // exponent_ and origin_ from min_val and max_val

  int64_t bins_;
  int64_t dst_nbins_;
  int exponent_ = 0;
  int64_t origin_ = 0;  // number k of the first bin
  std::vector<int64_t> moved_;
  std::vector<float> counts_;
};

}  // namespace pt2q
