// The three layouts of .pt2 archives (COVERAGE section 3.2), read into one form.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "io/io.h"

namespace pt2q {

struct Pt2Tensor {
  Tensor tensor;
  bool is_param = false;
};

struct Pt2Archive {
  Json program;                              // models/{name}.json
  std::map<std::string, Pt2Tensor> weights;  // the state dict
  std::map<std::string, Pt2Tensor> constants;
  std::map<std::string, std::string> refused;  // constants that need code: name → why
  std::map<std::string, std::string> extra_files;
};

Pt2Archive read_pt2_archive(const std::shared_ptr<Source>& source, const LoadLimits& limits);

}  // namespace pt2q
