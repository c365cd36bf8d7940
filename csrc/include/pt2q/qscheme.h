// Quantization schemes under PyTorch's names.
#pragma once

#include <cstdint>
#include <string>

namespace pt2q {

enum class QScheme : uint8_t {
  PerTensorAffine,
  PerTensorSymmetric,
  PerChannelAffine,
  PerChannelSymmetric,
  PerChannelAffineFloatQParams,
};
const char* qscheme_name(QScheme scheme);        // "per_tensor_affine", ...
QScheme parse_qscheme(const std::string& name);  // also "torch.per_tensor_affine"; ValueError
bool is_per_channel(QScheme scheme);
bool is_symmetric(QScheme scheme);

}  // namespace pt2q
