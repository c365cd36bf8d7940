// The machine: threads and instruction sets.
#include "base/cpu.h"
#include "base/parallel.h"
#include "bindings/bindings.h"
#include "kernels/isa.h"

namespace pt2q::python {

void bind_system(py::module_& m) {
  kernels::best_isa();  // a wrong PT2Q_MAX_ISA is told now
  m.def(
      "_has_vnni",
      [] {
        const CpuFeatures& cpu = cpu_features();
        return cpu.avx512vnni || cpu.avxvnni;
      },
      "Whether this CPU adds int8 products without 16-bit saturation.");
  m.def(
      "cpu_info",
      [] {
        const CpuFeatures& f = cpu_features();
        py::dict out;
        out["isa"] = kernels::isa_title(kernels::native_isa());
        out["cpus"] = available_cpus();
        out["avx2"] = f.avx2;
        out["avx512bw"] = f.avx512bw;
        out["avx512vnni"] = f.avx512vnni;
        out["avxvnni"] = f.avxvnni;
        out["avx512bf16"] = f.avx512bf16;
        out["amx_int8"] = f.amx_int8;
        out["amx_bf16"] = f.amx_bf16;
        return out;
      },
      "What the running CPU can do, and how many cores this process may use.");
}

}  // namespace pt2q::python
