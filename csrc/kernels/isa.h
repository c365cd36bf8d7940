// Which instruction set the dispatched kernels use: the best the CPU has, up to a cap.
#pragma once

#include <string>

namespace pt2q::kernels {

// In rising order; each includes the ones before it.
enum class Isa { portable, avx2, avx512, avx512_vnni, amx };

// The best instruction set this CPU offers, ignoring the cap.
Isa native_isa();
// The environment variable PT2Q_MAX_ISA (portable, avx2, avx512, avx512_vnni or amx) when the
// process started; amx without it. Throws ValueError for an unknown name.
Isa environment_cap();
// native_isa() limited by set_isa_cap() or, until that is called, by environment_cap().
Isa best_isa();
// Affects plans made later, and all kernels that are not part of a plan, in the whole process.
// oneDNN takes its limit once: only environment_cap() holds for it.
// Returns the cap until then.
Isa set_isa_cap(Isa cap);

const char* isa_label(Isa isa);  // "avx512_vnni"
std::string isa_title(Isa isa);  // "AVX512_VNNI"; "BASELINE" for portable
// Throws ValueError for an unknown name.
Isa isa_from_label(const std::string& label);

}  // namespace pt2q::kernels
