// AMX int8 tiles with the epilogue in AVX-512 between the tile instructions. Tile instructions are
// written out: compilers' intrinsics do not order them against the stores to memory they read.

// GCC 12 takes the undefined pass-through operands of its own AVX-512 intrinsics for a defect.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include "kernels/qconv_kernel.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")
#include "kernels/qconv_tile.h"

namespace pt2q::kernels {
namespace {

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t column_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64, "the layout LDTILECFG reads");

struct Amx {
  // Weights (tiles 6 and 7) pass by with a hint not to displace the pixels in L1: 1.4 times as fast
  // where weights and pixels of a block exceed L1 together.
  template <int kTile>
  static void load(const void* p, ptrdiff_t stride) {
    if (kTile >= 6) {
      __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(kTile)
                       : "memory");
    } else {
      __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(kTile)
                       : "memory");
    }
  }
  template <int kTile>
  static void zero() {
    __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  static void store(void* p, ptrdiff_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kAcc, int kA, int kB>
  static void dot() {
    __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kAcc), "i"(kA), "i"(kB));
  }
  // Pixel and accumulator tiles get `tile_rows` rows, weight tiles 16.
  static void configure(int tile_rows) {
    TileConfig config;
    for (int t = 0; t < 8; ++t) {
      config.column_bytes[t] = 64;
      config.rows[t] = static_cast<uint8_t>(t < 6 ? tile_rows : 16);
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(config));
  }
  static void release() { __asm__ volatile("tilerelease" ::); }
};

// 64 results at a time: two pixels of 32 channels or four of 16. kFull: all 16 * kPanels channels
// are valid. kLean: u8 with zero point 0 and the whole range, which saturation alone clamps. Rows
// are repeated up to a multiple of four; a step reads all its residuals before it writes, so that a
// repeated row is the same twice.
template <int kPanels, int kAdd, bool kFull, bool kLean>
class FusedStore {
 public:
  static constexpr int kPixels = 4 / kPanels;

  explicit FusedStore(const TileArgs& args) : FusedStore(*args.epilogue, *args.previous) {
    slots_ = 4 * args.piece_count + 3;
    steps_ = static_cast<int>(end_) / kPixels;
  }

  FusedStore(const Epilogue& e, const TileStore& p)
      : store_(&p),
        rows_(p.rows),
        end_(p.rows == nullptr ? 0 : (p.rows->count + kPixels - 1) / kPixels * kPixels) {
    const int shift = e.out == ElemType::s8 ? 128 : 0;  // s8 is computed as u8 shifted by 128
    inv_scale_ = _mm512_set1_ps(e.inv_scale);
    zero_point_ = _mm512_set1_epi16(static_cast<int16_t>(e.zero_point + shift));
    qmin_ = _mm512_set1_epi8(static_cast<char>(e.qmin + shift));
    qmax_ = _mm512_set1_epi8(static_cast<char>(e.qmax + shift));
    flip_ = _mm512_set1_epi8(static_cast<char>(shift));
    order_ = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    residual_scale_ = _mm512_set1_ps(e.add.residual_scale);
    residual_zero_ = _mm512_set1_epi32(e.add.residual_zero_point);
    for (int j = 0; j < kPanels; ++j) {
      scale_[j] = end_ > 0 ? _mm512_loadu_ps(p.scale + 16 * j) : _mm512_setzero_ps();
      bias_[j] = end_ > 0 ? _mm512_loadu_ps(p.bias + 16 * j) : _mm512_setzero_ps();
    }
    if (!kFull) mask_ = static_cast<uint32_t>((uint64_t{1} << p.channels) - 1);
  }

  // Spreads the steps evenly over the slots: both want the same execution ports.
  void slot() {
    credit_ += steps_;
    while (credit_ >= slots_) {
      credit_ -= slots_;
      step();
    }
  }
  void drain() {
    while (next_ != end_) step();
  }

 private:
  __m512i quantize(ptrdiff_t row, int j) const {
    const __m512 acc = _mm512_cvtepi32_ps(
        _mm512_load_si512(store_->acc + rows_->acc[row] * (16 * kPanels) + 16 * j));
    __m512 y = _mm512_fmadd_ps(acc, scale_[j], bias_[j]);
    if (kAdd != 0) {
      const uint8_t* at = store_->residual + rows_->residual[row] + 16 * j;
      const __m128i r = kFull ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(at))
                              : _mm_maskz_loadu_epi8(static_cast<__mmask16>(mask_ >> (16 * j)), at);
      const __m512i wide = kAdd == 2 ? _mm512_cvtepi8_epi32(r) : _mm512_cvtepu8_epi32(r);
      y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(wide, residual_zero_)),
                          residual_scale_, y);
    }
    return _mm512_cvtps_epi32(_mm512_mul_ps(y, inv_scale_));
  }

  void step() {
    __m512i q[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) q[i] = quantize(next_ + i / kPanels, i % kPanels);
    __m512i ab = _mm512_packs_epi32(q[0], q[1]);
    __m512i cd = _mm512_packs_epi32(q[2], q[3]);
    if (!kLean) {
      ab = _mm512_adds_epi16(ab, zero_point_);
      cd = _mm512_adds_epi16(cd, zero_point_);
    }
    __m512i x = _mm512_packus_epi16(ab, cd);
    if (!kLean) {
      x = _mm512_min_epu8(_mm512_max_epu8(x, qmin_), qmax_);
      x = _mm512_xor_si512(x, flip_);
    }
    x = _mm512_permutexvar_epi32(order_, x);
    if constexpr (kPanels == 2) {
      put(store_->dst + rows_->dst[next_ + 0], _mm512_castsi512_si256(x));
      put(store_->dst + rows_->dst[next_ + 1], _mm512_extracti64x4_epi64(x, 1));
    } else {
      put(store_->dst + rows_->dst[next_ + 0], _mm512_castsi512_si128(x));
      put(store_->dst + rows_->dst[next_ + 1], _mm512_extracti32x4_epi32(x, 1));
      put(store_->dst + rows_->dst[next_ + 2], _mm512_extracti32x4_epi32(x, 2));
      put(store_->dst + rows_->dst[next_ + 3], _mm512_extracti32x4_epi32(x, 3));
    }
    next_ += kPixels;
  }

  void put(uint8_t* to, __m256i x) const {
    if (kFull) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), x);
    } else {
      _mm256_mask_storeu_epi8(to, mask_, x);
    }
  }
  void put(uint8_t* to, __m128i x) const {
    if (kFull) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), x);
    } else {
      _mm_mask_storeu_epi8(to, static_cast<__mmask16>(mask_), x);
    }
  }

  const TileStore* const store_;
  const TileRows* const rows_;
  ptrdiff_t next_ = 0;
  const ptrdiff_t end_;
  int steps_ = 0, slots_ = 1, credit_ = 0;
  __m512 inv_scale_, residual_scale_;
  __m512i zero_point_, qmin_, qmax_, flip_, order_, residual_zero_;
  __m512 scale_[kPanels], bias_[kPanels];
  uint32_t mask_ = 0;
};

template <int kPanels>
using StoreLean = FusedStore<kPanels, 0, true, true>;
template <int kPanels>
using StorePlain = FusedStore<kPanels, 0, true, false>;
template <int kPanels>
using StoreAddU8 = FusedStore<kPanels, 1, true, false>;
template <int kPanels>
using StoreAddS8 = FusedStore<kPanels, 2, true, false>;

template <int kPanels>
void flush(const Epilogue& e, const TileStore& store) {
  if (!e.has_add) {
    FusedStore<kPanels, 0, false, false>(e, store).drain();
  } else if (e.add.residual_type == ElemType::s8) {
    FusedStore<kPanels, 2, false, false>(e, store).drain();
  } else {
    FusedStore<kPanels, 1, false, false>(e, store).drain();
  }
}

TileTable make_amx_table() {
  TileTable table = make_tile_table<Amx>();
  fill_tile_functions<Amx, StoreLean>(table.fused[0]);
  fill_tile_functions<Amx, StorePlain>(table.fused[1]);
  fill_tile_functions<Amx, StoreAddU8>(table.fused[2]);
  fill_tile_functions<Amx, StoreAddS8>(table.fused[3]);
  table.flush[0] = &flush<1>;
  table.flush[1] = &flush<2>;
  return table;
}

}  // namespace

const TileTable& tile_table_amx() {
  static const TileTable table = make_amx_table();
  return table;
}

}  // namespace pt2q::kernels
#pragma GCC pop_options
