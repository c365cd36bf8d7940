// quantize_model <float.pt2> <calibration.npy> <int8.pt2>
// Post-training quantization without Python: load a model that torch.export.save wrote, calibrate
// it on samples, convert, save. The result runs with run_model, and torch.export.load opens it.
#include "batches.h"

int main(int argc, char** argv) {
  using namespace pt2q;
  return guarded([&] {
    if (argc != 4)
      throw ValueError("usage: quantize_model <float.pt2> <calibration.npy> <int8.pt2>");
    const auto model = load_pt2(argv[1]);
    const auto batches = batches_for(*model, load_npy(argv[2]));
    const Tensor expected = run(*model, {batches[0]}).as<Tensor>();

    X86InductorQuantizer quantizer;
    quantizer.set_global(get_default_x86_inductor_quantization_config());
    prepare_pt2e(*model, quantizer);
    for (const Tensor& batch : batches) run(*model, {batch});
    convert_pt2e(*model);

    const auto compiled = compile(*model);
    const Tensor got = (*compiled)({batches[0]}).as<Tensor>();
    std::cout << "calibrated on " << batches.size()
              << " batches; int8 against float: " << sqnr(expected, got) << " dB\n";
    for (const StepReport& layer : compiled->refused())
      std::cout << "stays in float: " << layer.node << ": " << layer.note << "\n";
    save_pt2(*model, argv[3]);
    return 0;
  });
}
