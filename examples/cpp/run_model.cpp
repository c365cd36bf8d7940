// run_model <model.pt2> <samples.npy> [<output.npy>]
// Loads a float or quantized model, lowers it to fused kernels, and runs it on samples.
#include <chrono>

#include "batches.h"

int main(int argc, char** argv) {
  using namespace pt2q;
  return guarded([&] {
    if (argc != 3 && argc != 4)
      throw ValueError("usage: run_model <model.pt2> <samples.npy> [<output.npy>]");
    const auto model = load_pt2(argv[1]);
    const auto compiled = compile(*model);
    std::cout << compiled->explain();

    std::vector<Tensor> results;
    const auto begin = std::chrono::steady_clock::now();
    for (const Tensor& batch : batches_for(*model, load_npy(argv[2])))
      results.push_back((*compiled)({batch}).as<Tensor>());
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
    std::cout << results.size() << " batches in " << time.count()
              << " ms, the first one included\n";

    const Tensor all = call("aten.cat.default", {results}).as<Tensor>();
    std::cout << "output: " << describe(all) << "\n";
    if (argc == 4) save_npy(all, argv[3]);
    return 0;
  });
}
