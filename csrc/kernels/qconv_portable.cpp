// The compute routes in plain C++: emulations of vpdpbusd, vpmaddubsw + vpmaddwd, vpmaddwd and AMX
// tiles that run the same packing and loops as the vector kernels on any machine.
#include <cmath>
#include <cstring>

#include "kernels/epilogue_kernel.h"
#include "kernels/qconv_dot.h"
#include "kernels/qconv_kernel.h"
#include "kernels/qconv_tile.h"
#include "kernels/vec_portable.h"

namespace pt2q::kernels {
namespace {

struct EmulatedBase {
  struct Acc {
    int32_t v[16];
  };
  using W = const int8_t*;
  static constexpr bool kStores = false;
  static Acc load(const int32_t* p) {
    Acc a;
    std::memcpy(a.v, p, sizeof a.v);
    return a;
  }
  static void store(int32_t* p, const Acc& a) { std::memcpy(p, a.v, sizeof a.v); }
  using Src = const uint8_t*;
  static Src bcast(const uint8_t* p) { return p; }
  static W weights(const int8_t* p) { return p; }
};

struct EmulatedVnni : EmulatedBase {
  static constexpr int kMaxPanels = 4;
  static constexpr bool kMixed = false;
  static constexpr int kPixels1 = 8;
  static void mac(Acc& acc, Src s, W w) {
    for (int i = 0; i < 16; ++i) {
      acc.v[i] += s[0] * w[4 * i] + s[1] * w[4 * i + 1] + s[2] * w[4 * i + 2] + s[3] * w[4 * i + 3];
    }
  }
};

// vpdpwssd, and vpmaddwd + vpaddd: sums wrap.
struct EmulatedWords : EmulatedVnni {
  static uint32_t product(Src s, W w) {
    int16_t a, b;
    std::memcpy(&a, s, 2);
    std::memcpy(&b, w, 2);
    return static_cast<uint32_t>(a * b);
  }
  static void mac(Acc& acc, Src s, W w) {
    for (int i = 0; i < 16; ++i) {
      const uint32_t pair = product(s, w + 4 * i) + product(s + 2, w + 4 * i + 2);
      acc.v[i] = static_cast<int32_t>(static_cast<uint32_t>(acc.v[i]) + pair);
    }
  }
};

struct EmulatedReals : EmulatedVnni {
  static float value(const void* p) {
    float x;
    std::memcpy(&x, p, 4);
    return x;
  }
  static void mac(Acc& acc, Src s, W w) {
    for (int i = 0; i < 16; ++i) {
      const float sum = std::fma(value(s), value(w + 4 * i), value(&acc.v[i]));
      std::memcpy(&acc.v[i], &sum, 4);
    }
  }
};

// With the saturation of vpmaddubsw and 16-bit additions that wrap, so that a wrong overflow proof
// shows in a test anywhere.
struct EmulatedMixed : EmulatedBase {
  using Weights = const int8_t*;
  static constexpr bool kMixed = true;
  static constexpr int kMaxPanels = 2;
  static constexpr int kPixels1 = 5;
  static constexpr int kPixels2 = 3;
  static int32_t pair(const uint8_t* s, const int8_t* w) {
    const int32_t sum = s[0] * w[0] + s[1] * w[1];
    return sum > 32767 ? 32767 : (sum < -32768 ? -32768 : sum);
  }
  static int32_t wide_weight(Weights w, int i) {
    int16_t x;
    std::memcpy(&x, w + 2 * i, 2);
    return x;
  }
  template <DotStep kStep>
  static Weights weights_of(const int8_t* p) {
    return p;
  }
  template <DotStep kStep, int kPanels>
  static void mac(Acc (&acc)[kPanels], const uint8_t* s, const uint8_t* next,
                  const Weights (&w)[kPanels]) {
    for (int j = 0; j < kPanels; ++j) mac_panel<kStep>(acc[j], s, next, w[j]);
  }
  template <DotStep kStep>
  static void mac_panel(Acc& acc, const uint8_t* s, const uint8_t* next, Weights w) {
    for (int i = 0; i < 16; ++i) {
      if (kStep == DotStep::wide) {
        acc.v[i] += s[0] * wide_weight(w, 2 * i) + s[2] * wide_weight(w, 2 * i + 1) +
                    s[1] * wide_weight(w, 32 + 2 * i) + s[3] * wide_weight(w, 32 + 2 * i + 1);
        continue;
      }
      for (int half = 0; half < 4; half += 2) {
        int32_t sum = pair(s + half, w + 4 * i + half);
        if (kStep == DotStep::pair) sum += pair(next + half, w + 64 + 4 * i + half);
        acc.v[i] += static_cast<int16_t>(static_cast<uint16_t>(sum));
      }
    }
  }
};

// AMX's eight tiles and u8 x s8 dot product, one set per thread.
struct EmulatedTiles {
  struct State {
    uint8_t tile[8][16][64];
    int rows;
  };
  static State& state() {
    static thread_local State value;
    return value;
  }
  static int rows_of(int tile) { return tile < 6 ? state().rows : 16; }

  template <int kTile>
  static void load(const void* p, ptrdiff_t stride) {
    for (int r = 0; r < rows_of(kTile); ++r) {
      std::memcpy(state().tile[kTile][r], static_cast<const uint8_t*>(p) + r * stride, 64);
    }
  }
  template <int kTile>
  static void zero() {
    std::memset(state().tile[kTile], 0, sizeof state().tile[kTile]);
  }
  template <int kTile>
  static void store(void* p, ptrdiff_t stride) {
    for (int r = 0; r < rows_of(kTile); ++r) {
      std::memcpy(static_cast<uint8_t*>(p) + r * stride, state().tile[kTile][r], 64);
    }
  }
  template <int kAcc, int kA, int kB>
  static void dot() {
    State& s = state();
    for (int r = 0; r < rows_of(kAcc); ++r) {
      int32_t acc[16];
      std::memcpy(acc, s.tile[kAcc][r], 64);
      for (int k = 0; k < 64; ++k) {
        for (int c = 0; c < 16; ++c) {
          acc[c] += s.tile[kA][r][k] * static_cast<int8_t>(s.tile[kB][k / 4][4 * c + k % 4]);
        }
      }
      std::memcpy(s.tile[kAcc][r], acc, 64);
    }
  }
  static void configure(int tile_rows) { state().rows = tile_rows; }
  static void release() {}
};

}  // namespace

const TileTable& tile_table_portable() {
  static const TileTable table = make_tile_table<EmulatedTiles>();
  return table;
}

const DotTable& dot_table_portable(DotKind kind) {
  static const DotTable vnni = make_dot_table<EmulatedVnni>();
  static const DotTable mixed = make_dot_table<EmulatedMixed>();
  return kind == DotKind::vnni ? vnni : mixed;
}

const DotTable& word_table_portable() {
  static const DotTable table = make_dot_table<EmulatedWords>();
  return table;
}

const DotTable& real_table_portable() {
  static const DotTable table = make_dot_table<EmulatedReals>();
  return table;
}

void epilogue_portable(const Epilogue& epilogue, const EpilogueBlock& block) {
  EpilogueKernel<VecPortable>::run(epilogue, block);
}

}  // namespace pt2q::kernels
