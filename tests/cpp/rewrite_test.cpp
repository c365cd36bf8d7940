// Golden tests of passes: every file of tests/cases/rewrites holds a graph, "--- becomes ---" and
// the graph the pass must turn it into.
//
//   # pass: duplicate_dq           (or "prepare x86", "quantize xnnpack" ...)
//   # annotate: conv2d relu      (these nodes carry a quantization annotation of all their inputs)
//
// PT2Q_UPDATE_GOLDENS=1 writes what the passes give into the files, for review with git diff.
// Attributes are filled with a ramp of the dtype and shape that their get_attr nodes state.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "ir/text.h"
#include "onednn/lower.h"
#include "passes/pt2e_passes.h"
#include "pt2q/debug.h"
#include "pt2q/error.h"
#include "pt2q/qconfig.h"
#include "pt2q/quantizers.h"

namespace pt2q {
namespace {

namespace fs = std::filesystem;

// "prepare ..." observes; "quantize ..." also converts, uncalibrated: scale 1, zero point 0.
template <typename SomeQuantizer>
void add_prepare(const std::string& name, const ConfigPtr& config, std::vector<Pass>* out) {
  const auto prepare = [config](GraphModule& m) {
    SomeQuantizer quantizer;
    quantizer.set_global(config);
    prepare_pt2e(m, quantizer);
    return true;
  };
  out->push_back({name, "", prepare});
  out->push_back({"quantize" + name.substr(7), "", [prepare](GraphModule& m) {
                    prepare(m);
                    convert_pt2e(m);
                    return true;
                  }});
}

const std::vector<Pass>& passes() {
  static const std::vector<Pass> all = [] {
    std::vector<Pass> out = convert_passes(true, true);
    for (Pass& pass : lowering_passes(true)) out.push_back(std::move(pass));
    out.push_back({"mixed bfloat16", "", [](GraphModule& m) {
                     cast_to_bfloat16(m);
                     propagate_int8(m);
                     return fuse_int8_compute(m);
                   }});
    out.push_back({"qat_conv_bn", "", qat_conv_bn});
    out.push_back({"insert_output_loggers", "", [](GraphModule& m) {
                     insert_output_loggers(m);
                     return true;
                   }});
    add_prepare<X86InductorQuantizer>("prepare x86", get_default_x86_inductor_quantization_config(),
                                      &out);
    add_prepare<XPUInductorQuantizer>("prepare xpu", get_default_xpu_inductor_quantization_config(),
                                      &out);
    add_prepare<ArmInductorQuantizer>("prepare arm", get_default_arm_inductor_quantization_config(),
                                      &out);
    add_prepare<X86InductorQuantizer>(
        "prepare x86 dynamic", get_default_x86_inductor_quantization_config(false, true), &out);
    add_prepare<X86InductorQuantizer>("prepare fp16", get_x86_inductor_linear_dynamic_fp16_config(),
                                      &out);
    add_prepare<XNNPACKQuantizer>("prepare xnnpack", get_symmetric_quantization_config(), &out);
    const QConfig minmax{observer_class("MinMaxObserver"),
                         observer_class("MinMaxObserver")
                             .with_args({{"dtype", Value(DType::QInt8)},
                                         {"qscheme", Value("per_tensor_symmetric")}})};
    out.push_back({"fuse_sums", "", fuse_sums});
    out.push_back({"prepare jit", "", [minmax](GraphModule& m) {
                     prepare_jit(m, {{"", minmax}});
                     return true;
                   }});
    out.push_back({"quantize jit", "", [minmax](GraphModule& m) {
                     prepare_jit(m, {{"", minmax}});
                     convert_jit(m);
                     return true;
                   }});
    return out;
  }();
  return all;
}

struct Case {
  std::string pass;
  std::vector<std::string> annotate;
  std::string before;
  std::string after;
};

Case read_case(const fs::path& path) {
  Case c;
  std::ifstream in(path);
  std::string* part = &c.before;
  for (std::string line; std::getline(in, line);) {
    if (starts_with(line, "# pass:")) {
      c.pass = strip(line.substr(7));
    } else if (starts_with(line, "# annotate:")) {
      std::istringstream names(line.substr(11));
      for (std::string name; names >> name;) c.annotate.push_back(name);
    } else if (line == "--- becomes ---") {
      part = &c.after;
    } else if (!starts_with(line, "#")) {
      *part += line + "\n";
    }
  }
  return c;
}

void write_after(const fs::path& path, const std::string& after) {
  std::ifstream in(path);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::string mark = "--- becomes ---\n";
  std::ofstream(path) << text.substr(0, text.find(mark)) << mark << after;
}

void fill_attributes(GraphModule& module) {
  for (const Node* n : module.graph().nodes()) {
    if (n->opcode() != OpCode::GetAttr || module.has_attr(n->target())) continue;
    const auto& meta = n->meta.val.as<TensorMeta>();
    const Shape sizes = hints(meta.sizes);
    Tensor ramp = Tensor::empty(sizes, DType::Float32);
    for (int64_t i = 0; i < ramp.numel(); ++i) {
      ramp.mutable_data<float>()[i] = static_cast<float>(i + 1) / 8.0F;
    }
    module.set_attr(n->target(), ramp.to(meta.dtype), AttrKind::Parameter);
  }
}

class Rewrite : public testing::TestWithParam<fs::path> {};

TEST_P(Rewrite, BecomesTheGoldenGraph) {
  const Case c = read_case(GetParam());
  ASSERT_FALSE(c.after.empty() && std::getenv("PT2Q_UPDATE_GOLDENS") == nullptr)
      << "no '--- becomes ---' in " << GetParam();
  const auto pass = std::find_if(passes().begin(), passes().end(),
                                 [&](const Pass& p) { return p.name == c.pass; });
  ASSERT_NE(pass, passes().end()) << "unknown pass '" << c.pass << "'";
  GraphModule module;
  parse_graph(c.before, module.graph());
  fill_attributes(module);
  module.propagate_shapes();
  for (const std::string& name : c.annotate) {
    Node* node = module.graph().find(name);
    ASSERT_NE(node, nullptr) << name;
    for (Node* input : node->input_nodes()) annotate_input_qspec_map(node, input, nullptr);
  }
  run_passes(module, {*pass});
  if (std::getenv("PT2Q_UPDATE_GOLDENS") != nullptr) {
    write_after(GetParam(), module.graph().to_string());
    GTEST_SKIP() << "golden rewritten";
  }
  EXPECT_EQ(module.graph().to_string(), parse_graph(c.after)->to_string());
}

std::vector<fs::path> cases() {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(PT2Q_SOURCE_DIR "/tests/cases/rewrites")) {
    if (entry.path().extension() == ".txt") out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

INSTANTIATE_TEST_SUITE_P(Cases, Rewrite, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.stem().string(); });

}  // namespace
}  // namespace pt2q
