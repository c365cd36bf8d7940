#include "observers/recording.h"

namespace pt2q {

std::shared_ptr<RecordingObserver> RecordingObserver::make(KwReader args) {
  const DType dtype = args.dtype("dtype", DType::QUInt8);
  args.finish();
  return std::make_shared<RecordingObserver>(dtype);
}

Tensor RecordingObserver::forward(const Tensor& x) {
  tensor_val_.push_back(x.clone());
  return x;
}

void RecordingObserver::merge(const Observer& other) {
  check_mergeable(other);
  const auto& values = dynamic_cast<const RecordingObserver&>(other).tensor_val_;
  tensor_val_.insert(tensor_val_.end(), values.begin(), values.end());
}

}  // namespace pt2q
