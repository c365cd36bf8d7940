// Which instruction set the dispatched kernels use: the best the CPU has, up to a cap.
#pragma once

#include <string>

namespace pt2q::kernels {

// In rising order; each includes the ones before it.
enum class Isa { portable, avx2, avx512, avx512_vnni, amx };

// The best instruction set this CPU offers, ignoring the cap.
Isa native_isa();
// native_isa() limited by set_isa_cap() or, until that is called, by the environment variable
// PT2Q_MAX_ISA (portable, avx2, avx512, avx512_vnni or amx; read once).
Isa best_isa();
// Affects plans made later, and all kernels that are not part of a plan, in the whole process.
void set_isa_cap(Isa cap);

const char* isa_label(Isa isa);
// Throws ValueError for an unknown name.
Isa isa_from_label(const std::string& label);

}  // namespace pt2q::kernels
