// Engines, and memory on them.
#include <cstring>

#include "kernels/isa.h"
#include "onednn/compat.h"

namespace pt2q::onednn {
namespace {

// oneDNN's counterpart of a limit to our kernels. All CPUs with bfloat16 have VNNI.
dnnl::cpu_isa counterpart(kernels::Isa cap) {
  switch (cap) {
    case kernels::Isa::portable:
      return dnnl::cpu_isa::sse41;  // the least there is
    case kernels::Isa::avx2:
      return dnnl::cpu_isa::avx2_vnni;
    case kernels::Isa::avx512:
      return dnnl::cpu_isa::avx512_core;
    case kernels::Isa::avx512_vnni:
      return dnnl::cpu_isa::avx512_core_bf16;
    case kernels::Isa::amx:
      break;
  }
  return dnnl::cpu_isa::all;
}

}  // namespace

const dnnl::engine& cpu_engine() {
  static const auto* engine = [] {
    // Before anything else: oneDNN takes a limit until it has chosen its first kernel.
    const kernels::Isa cap = kernels::environment_cap();
    if (cap < kernels::native_isa()) dnnl::set_max_cpu_isa(counterpart(cap));
    return new dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return *engine;
}

namespace {

const dnnl::engine* testing_engine = nullptr;
thread_local const dnnl::engine* scoped_engine = nullptr;
}  // namespace

int gpu_count() {
  static const int count = [] {
    try {
      return static_cast<int>(dnnl::engine::get_count(dnnl::engine::kind::gpu));
    } catch (const dnnl::error&) {
      return 0;
    }
  }();
  return testing_engine != nullptr ? 1 : count;
}

const dnnl::engine* gpu_engine() {
  if (testing_engine != nullptr) return testing_engine;
  if (gpu_count() == 0) return nullptr;
  static const auto* engine = new dnnl::engine(dnnl::engine::kind::gpu, 0);
  return engine;
}

void set_gpu_engine_for_testing(const dnnl::engine* engine) { testing_engine = engine; }

const dnnl::engine& current_engine() {
  return scoped_engine != nullptr ? *scoped_engine : cpu_engine();
}

bool on_gpu() { return scoped_engine != nullptr && scoped_engine != &cpu_engine(); }

EngineScope::EngineScope(const dnnl::engine& engine) : saved_(scoped_engine) {
  scoped_engine = &engine;
}

EngineScope::~EngineScope() { scoped_engine = saved_; }

void upload(const void* from, dnnl::memory* to) {
  void* mapped = to->map_data<void>();
  std::memcpy(mapped, from, to->get_desc().get_size());
  to->unmap_data(mapped);
}

void download(const dnnl::memory& from, void* to) {
  void* mapped = from.map_data<void>();
  std::memcpy(to, mapped, from.get_desc().get_size());
  from.unmap_data(mapped);
}

void repack(const dnnl::memory::desc& plain, const void* data, dnnl::memory& to) {
  const dnnl::engine engine = to.get_engine();
  dnnl::memory from;
  if (engine == cpu_engine()) {
    from = dnnl::memory(plain, engine, const_cast<void*>(data));
  } else {
    from = dnnl::memory(plain, engine);
    upload(data, &from);
  }
  dnnl::stream stream(engine);
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
}

dnnl::memory pack(const dnnl::memory::desc& plain, const void* data,
                  const dnnl::memory::desc& wanted) {
  dnnl::memory to(wanted, current_engine());
  repack(plain, data, to);
  return to;
}

}  // namespace pt2q::onednn
