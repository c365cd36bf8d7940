// custom_quantizer <float.pt2> <calibration.npy>
// A quantizer of one's own: it says, node by node, which tensors shall be quantized and how;
// prepare and convert do the rest. This one quantizes convolutions with many weights, where int8
// pays, and leaves the small ones in float.
#include "batches.h"

namespace {

using namespace pt2q;

std::shared_ptr<QuantizationSpec> spec(DType dtype, int64_t low, int64_t high, QScheme scheme,
                                       const std::string& observer) {
  auto out = std::make_shared<QuantizationSpec>();
  out->dtype = dtype;
  out->quant_min = low;
  out->quant_max = high;
  out->qscheme = scheme;
  out->observer_or_fake_quant_ctr = observer_class(observer);
  return out;
}

class LargeConvQuantizer : public Quantizer {
 public:
  explicit LargeConvQuantizer(int64_t smallest) : smallest_(smallest) {
    activation_ = spec(DType::UInt8, 0, 255, QScheme::PerTensorAffine, "HistogramObserver");
    auto weight =
        spec(DType::Int8, -127, 127, QScheme::PerChannelSymmetric, "PerChannelMinMaxObserver");
    weight->ch_axis = 0;
    weight_ = weight;
  }

  void annotate(GraphModule& model) override {
    for (Node* node : model.graph().nodes()) {
      if (!node->is_call("aten.conv2d.default")) continue;
      Node* input = node->arg_node(0);
      Node* weight = node->arg_node(1);
      if (weight->opcode() != OpCode::GetAttr || model.attr_of(*weight).numel() < smallest_)
        continue;
      annotate_input_qspec_map(node, input, activation_);
      annotate_input_qspec_map(node, weight, weight_);
      annotate_output_qspec(node, activation_);
      node->meta.quantization_annotation->annotated = true;
      std::cout << "quantized: " << node->name() << " (" << weight->target() << ")\n";
    }
  }

  std::string class_name() const override { return "LargeConvQuantizer"; }

 private:
  int64_t smallest_;
  SpecPtr activation_, weight_;
};

}  // namespace

int main(int argc, char** argv) {
  return guarded([&] {
    if (argc != 3) throw ValueError("usage: custom_quantizer <float.pt2> <calibration.npy>");
    const auto model = load_pt2(argv[1]);
    const auto batches = batches_for(*model, load_npy(argv[2]));
    const Tensor expected = run(*model, {batches[0]}).as<Tensor>();
    LargeConvQuantizer quantizer(1000);
    prepare_pt2e(*model, quantizer);
    for (const Tensor& batch : batches) run(*model, {batch});
    convert_pt2e(*model);
    std::cout << model->graph().to_string();
    std::cout << "int8 against float: " << sqnr(expected, run(*model, {batches[0]}).as<Tensor>())
              << " dB\n";
    return 0;
  });
}
