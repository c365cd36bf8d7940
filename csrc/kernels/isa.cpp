#include "kernels/isa.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdlib>

#include "base/cpu.h"
#include "hwy/targets.h"
#include "pt2q/error.h"

namespace pt2q::kernels {
namespace {

constexpr Isa kAll[] = {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_vnni, Isa::amx};

// Keeps Highway's kernels within the cap, too: they choose among targets of their own. Of two
// targets the better one is the lower bit.
void limit_highway(Isa cap) {
  int64_t disabled = 0;
  if (cap == Isa::avx512) disabled = HWY_AVX3 - 1;
  if (cap == Isa::avx2) disabled = HWY_AVX2 - 1;
  if (cap == Isa::portable) disabled = 2 * HWY_SSSE3 - 1;
  hwy::DisableTargets(disabled);
  hwy::GetChosenTarget().DeInit();  // the next call chooses anew
}

Isa first_cap() {
  const Isa cap = environment_cap();
  if (cap < Isa::amx) limit_highway(cap);
  return cap;
}

std::atomic<Isa>& cap() {
  static std::atomic<Isa> value{first_cap()};
  return value;
}

// When the library is loaded: a kernel of Highway may run before anybody asks for best_isa().
[[maybe_unused]] const bool limited = [] {
  try {
    cap();
  } catch (const ValueError&) {
    return false;  // best_isa() throws it again
  }
  return true;
}();

}  // namespace

Isa environment_cap() {
  static const std::string text = [] {
    const char* value = std::getenv("PT2Q_MAX_ISA");
    return std::string(value == nullptr ? "" : value);
  }();
  if (text.empty()) return Isa::amx;
  try {
    return isa_from_label(text);
  } catch (const ValueError& e) {
    throw ValueError("PT2Q_MAX_ISA: " + e.message(), e.hint());
  }
}

Isa native_isa() {
  const CpuFeatures& f = cpu_features();
  if (f.amx_int8) return Isa::amx;
  if (f.avx512vnni) return Isa::avx512_vnni;
  if (f.avx512bw) return Isa::avx512;
  if (f.avx2 && f.fma) return Isa::avx2;
  return Isa::portable;
}

Isa best_isa() { return std::min(native_isa(), cap().load()); }

Isa set_isa_cap(Isa value) {
  const Isa previous = cap().exchange(value);
  limit_highway(value);
  return previous;
}

const char* isa_label(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return "portable";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_vnni:
      return "avx512_vnni";
    case Isa::amx:
      return "amx";
  }
  return "portable";
}

std::string isa_title(Isa isa) {
  if (isa == Isa::portable) return "BASELINE";
  std::string title = isa_label(isa);
  for (char& c : title) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return title;
}

Isa isa_from_label(const std::string& label) {
  for (const Isa isa : kAll) {
    if (label == isa_label(isa)) return isa;
  }
  throw ValueError("unknown instruction set '" + label + "'",
                   "use portable, avx2, avx512, avx512_vnni or amx");
}

}  // namespace pt2q::kernels
