#include "onednn/step_makers.h"

namespace pt2q {

const std::unordered_map<std::string, StepMaker>& step_makers() {
  static const auto* makers = [] {
    auto* m = new StepMakerMap();
    add_conv_steps(*m);
    add_matmul_steps(*m);
    add_pool_steps(*m);
    add_pointwise_steps(*m);
    add_norm_steps(*m);
    add_qdq_steps(*m);
    add_lowered_steps(*m);
    add_qbinary_steps(*m);
    add_attention_steps(*m);
    add_cast_steps(*m);
    add_reduce_steps(*m);
    add_copy_steps(*m);
    add_dynamic_steps(*m);
    return m;
  }();
  return *makers;
}

}  // namespace pt2q
