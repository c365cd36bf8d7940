// AMX int8 tiles. Instructions are written out: compilers' intrinsics do not order them against
// ordinary stores to the memory they read.
#include "kernels/qconv_kernel.h"
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
  template <int kTile>
  static void load(const void* p, ptrdiff_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(kTile) : "memory");
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

}  // namespace

const TileTable& tile_table_amx() {
  static const TileTable table = make_tile_table<Amx>();
  return table;
}

}  // namespace pt2q::kernels
