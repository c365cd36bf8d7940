#include "kernels/qdepthwise.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "base/strings.h"
#include "kernels/qconv_spec.h"
#include "kernels/qdepthwise_kernel.h"
#include "pt2q/error.h"

namespace pt2q::kernels {
namespace {

constexpr const char* kKind = "depthwise";
constexpr int kParts = 4;
constexpr int64_t kVectorBytes = 64;          // of a packed vector
constexpr int64_t kScratchBytes = 24 * 1024;  // interleaved columns of one tile: stay in L1
constexpr int64_t kGrainMacs = 1 << 20;       // work below which a thread is not worth waking

int taps_per_dot(Isa isa) {
  if (isa == Isa::portable) return 1;
  return isa >= Isa::avx512_vnni ? 4 : 2;
}

DepthwiseFn tile_function(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return depthwise_portable;
    case Isa::avx2:
      return depthwise_avx2;
    case Isa::avx512:
      return depthwise_avx512;
    default:
      return depthwise_vnni;
  }
}

// Where channel c of a block stands in packed order; see qdepthwise_tile-inl.h.
int64_t packed_position(Isa isa, int64_t c) {
  if (isa == Isa::portable) return c;
  const int64_t lane = c / 16, part = c % 16 / 4;
  return part * 16 + lane * 4 + c % 4;
}

// What packing depends on.
void check_shape(const ConvShape& s) {
  if (s.groups != s.in_c || s.out_c != s.in_c) {
    throw ValueError(cat("depthwise: expected groups = in_c = out_c, got ", s.groups, ", ", s.in_c,
                         ", ", s.out_c),
                     "use QConv for other grouped convolutions");
  }
  const int64_t sizes[] = {s.in_c, s.kernel_h, s.kernel_w, s.stride_h, s.dilation_h};
  if (*std::min_element(std::begin(sizes), std::end(sizes)) < 1)
    throw ValueError("depthwise: channels, kernel, stride and dilation must be positive");
  if (s.kernel_h > kMaxDepthwiseRows - 4) {
    throw ValueError(
        cat("depthwise: kernel height ", s.kernel_h, " is above ", kMaxDepthwiseRows - 4));
  }
}

int64_t blocks_of(int64_t channels) { return (channels + kDepthwiseBlock - 1) / kDepthwiseBlock; }

int64_t block_bytes(const PackedDepthwise& p) {
  const int64_t vectors = p.shared_rows * p.kernel_w * p.groups;
  return vectors * (p.rows_per_dot == 1 ? kDepthwiseBlock : kParts * kVectorBytes);
}

// Writes the weight of channel c for tap (kh, kw) of shared output row `row`.
void place_weight(const PackedDepthwise& p, int64_t c, int64_t row, int64_t kh, int64_t kw,
                  int8_t weight, uint8_t* data) {
  const int64_t from_top = kh + (p.dilation_h == 1 ? row * p.stride_h : 0);
  const int64_t group = from_top / p.rows_per_dot, tap = from_top % p.rows_per_dot;
  uint8_t* const block = data + c / kDepthwiseBlock * block_bytes(p);
  const int64_t column = (row * p.kernel_w + kw) * p.groups + group;
  const int64_t at = packed_position(p.isa, c % kDepthwiseBlock);
  if (p.rows_per_dot == 1) {
    block[column * kDepthwiseBlock + at] = static_cast<uint8_t>(weight);
    return;
  }
  uint8_t* const four = block + column * kParts * kVectorBytes + at * 4;
  if (p.rows_per_dot == 4) {
    four[tap] = static_cast<uint8_t>(weight);
  } else {
    const int16_t wide = weight;
    std::memcpy(four + 2 * tap, &wide, sizeof wide);
  }
}

}  // namespace

std::shared_ptr<const PackedDepthwise> pack_depthwise(const ConvShape& shape, const int8_t* weights,
                                                      Isa isa) {
  check_shape(shape);
  auto p = std::make_shared<PackedDepthwise>();
  p->channels = shape.in_c;
  p->kernel_h = shape.kernel_h;
  p->kernel_w = shape.kernel_w;
  p->stride_h = shape.stride_h;
  p->dilation_h = shape.dilation_h;
  p->isa = std::min(isa, Isa::avx512_vnni);
  p->rows_per_dot = taps_per_dot(p->isa);
  p->groups = (p->kernel_h + p->rows_per_dot - 1) / p->rows_per_dot;
  if (p->dilation_h == 1) {
    p->shared_rows = (p->groups * p->rows_per_dot - p->kernel_h) / p->stride_h + 1;
  }
  const int64_t blocks = blocks_of(p->channels);
  p->sums.assign(static_cast<size_t>(blocks * kDepthwiseBlock), 0);
  p->abs_sums.assign(p->sums.size(), 0);
  const size_t bytes = static_cast<size_t>(blocks * block_bytes(*p));
  p->data = AlignedBuffer(bytes);
  std::memset(p->data.data(), 0, bytes);
  for (int64_t c = 0; c < p->channels; ++c) {
    for (int64_t kh = 0; kh < p->kernel_h; ++kh) {
      for (int64_t kw = 0; kw < p->kernel_w; ++kw) {
        const int8_t w = weights[(c * p->kernel_h + kh) * p->kernel_w + kw];
        p->sums[static_cast<size_t>(c)] += w;
        p->abs_sums[static_cast<size_t>(c)] += w < 0 ? -w : w;
        for (int64_t row = 0; row < p->shared_rows; ++row) {
          place_weight(*p, c, row, kh, kw, w, p->data.data());
        }
      }
    }
  }
  return p;
}

std::shared_ptr<const PackedDepthwise> pack_depthwise(const ConvShape& shape,
                                                      const int8_t* weights) {
  return pack_depthwise(shape, weights, best_isa());
}

namespace {

// Brings what the next group of output rows reads anew into the cache, a share at a time. For
// inputs that come from memory; where they are in the cache already, asking again costs a few
// percent.
class RowPrefetch {
 public:
  static constexpr int64_t kLeast = 4 << 20;  // bytes of a whole input

  // Of [from, end), the `part`-th of `parts`, in `shares`.
  RowPrefetch(const uint8_t* from, const uint8_t* end, int64_t part, int64_t parts, int64_t shares)
      : at_(from + (end - from) * part / parts),
        end_(from + (end - from) * (part + 1) / parts),
        share_((end_ - at_) / shares + 1) {}
  void next() {
    const uint8_t* const to = std::min(end_, at_ + share_);
    for (; at_ < to; at_ += 64) __builtin_prefetch(at_, 0, 2);
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
  int64_t share_;
};

// What does not depend on the input's size; plans for other sizes share it.
struct DepthwiseConstants {
  QConvSpec spec;  // without its epilogue
  std::shared_ptr<const PackedDepthwise> weights;
  Epilogue epilogue;
  DepthwiseFn compute = nullptr;
  int64_t blocks = 0;
  uint8_t flip = 0, pad = 0;
  std::shared_ptr<const AlignedBuffer> rows;  // first accumulators, packed scale, packed bias
  const int32_t* init = nullptr;
  const float* packed_scale = nullptr;
  const float* packed_bias = nullptr;

  void set(const QConvSpec& given, std::shared_ptr<const PackedDepthwise> packed);
  void fill_rows();
};

void DepthwiseConstants::fill_rows() {
  const size_t padded = static_cast<size_t>(blocks * kDepthwiseBlock);
  auto buffer = std::make_shared<AlignedBuffer>(padded * 3 * sizeof(float));
  int32_t* const start = reinterpret_cast<int32_t*>(buffer->data());
  float* const scale = reinterpret_cast<float*>(start + padded);
  float* const bias = scale + padded;
  for (int64_t c = 0; c < static_cast<int64_t>(padded); ++c) {
    const int64_t block = c / kDepthwiseBlock * kDepthwiseBlock;
    const int64_t at = block + packed_position(weights->isa, c - block);
    const size_t from = static_cast<size_t>(c);
    const bool valid = c < weights->channels;
    start[at] = -int32_t{pad} * weights->sums[from];
    scale[at] = valid ? epilogue.scale[from] : 0.0f;
    bias[at] = valid ? epilogue.bias[from] : 0.0f;
  }
  init = start;
  packed_scale = scale;
  packed_bias = bias;
  rows = std::move(buffer);
}

void DepthwiseConstants::set(const QConvSpec& given,
                             std::shared_ptr<const PackedDepthwise> packed) {
  const ConvShape& s = given.shape;
  check_shape(s);
  check_spec(kKind, given);
  if (given.scaled_rows) throw ValueError("depthwise: rows have no parameters of their own");
  if (packed->channels != s.in_c || packed->kernel_h != s.kernel_h ||
      packed->kernel_w != s.kernel_w || packed->stride_h != s.stride_h ||
      packed->dilation_h != s.dilation_h) {
    throw ValueError("depthwise: the weights were packed for another shape");
  }
  spec = planned_spec(given);
  weights = std::move(packed);
  flip = spec.src_is_s8 ? 0x80 : 0;
  const int32_t zero_point = u8_zero_point(spec);
  pad = static_cast<uint8_t>(zero_point);
  const int64_t most = *std::max_element(weights->abs_sums.begin(), weights->abs_sums.end());
  const double max_abs_acc = static_cast<double>(most * std::max(zero_point, 255 - zero_point));
  epilogue = make_epilogue(given.epilogue, s.out_c, 1, max_abs_acc);
  compute = tile_function(weights->isa);
  blocks = blocks_of(s.in_c);
  fill_rows();
}

}  // namespace

struct QDepthwise::Plan : DepthwiseConstants {
  int64_t out_h = 0, out_w = 0;
  int64_t tile_outputs = 0;  // output columns of a tile
  int64_t tile_columns = 0;  // input columns of a tile
  int64_t row_groups = 0;    // per image
  AlignedBuffer pad_line;    // a row of padding

  void build();  // for spec.shape
  void choose_tile();
  RowPrefetch rows_ahead(const uint8_t* src, int64_t image, int64_t row, int64_t block) const;
  void run_tiles(const uint8_t* src, uint8_t* dst, const uint8_t* residual, int64_t item,
                 uint8_t* scratch) const;
  void set_rows(const uint8_t* image, int64_t first_row, int64_t block, DepthwiseTile& tile) const;
  size_t scratch_bytes() const {
    return static_cast<size_t>(tile_columns * weights->groups * kParts * kVectorBytes);
  }
};

void QDepthwise::Plan::build() {
  const ConvShape& s = spec.shape;
  out_h = s.out_h();
  out_w = s.out_w();
  row_groups = (out_h + weights->shared_rows - 1) / weights->shared_rows;
  pad_line = AlignedBuffer(static_cast<size_t>(s.in_w * spec.src_stride) + kDepthwiseBlock);
  std::memset(pad_line.data(), pad ^ flip, pad_line.size());
  choose_tile();
}

void QDepthwise::Plan::choose_tile() {
  const ConvShape& s = spec.shape;
  const int64_t reach = (s.kernel_w - 1) * s.dilation_w + 1;
  const int64_t most_columns = kScratchBytes / (weights->groups * kParts * kVectorBytes);
  const int64_t most = std::max<int64_t>(8, (most_columns - reach) / s.stride_w + 1);
  const int64_t tiles = (out_w + most - 1) / most;
  tile_outputs = ((out_w + tiles - 1) / tiles + 3) / 4 * 4;
  tile_columns = (tile_outputs - 1) * s.stride_w + reach;
}

QDepthwise::QDepthwise(const QConvSpec& spec, std::shared_ptr<const PackedDepthwise> weights)
    : plan_(std::make_unique<Plan>()) {
  if (weights == nullptr) throw ValueError("depthwise: no weights");
  plan_->set(spec, std::move(weights));
  plan_->build();
}

QDepthwise::QDepthwise(std::unique_ptr<Plan> plan) : plan_(std::move(plan)) {}

QDepthwise QDepthwise::resized(int64_t batch, int64_t in_h, int64_t in_w) const {
  return QDepthwise(resized_plan<Plan, DepthwiseConstants>(kKind, *plan_, batch, in_h, in_w));
}

QDepthwise::~QDepthwise() = default;
QDepthwise::QDepthwise(QDepthwise&&) noexcept = default;
QDepthwise& QDepthwise::operator=(QDepthwise&&) noexcept = default;

void QDepthwise::Plan::set_rows(const uint8_t* image, int64_t first_row, int64_t block,
                                DepthwiseTile& tile) const {
  const ConvShape& s = spec.shape;
  const int64_t rows = weights->groups * weights->rows_per_dot;
  // Rows below the last tap have zero weights: any memory will do, best what is read anyway.
  const int64_t used = (weights->shared_rows - 1) * s.stride_h + s.kernel_h;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t h = first_row + std::min(r, used - 1) * s.dilation_h;
    const bool inside = h >= 0 && h < s.in_h;
    tile.rows[r] =
        (inside ? image + h * s.in_w * spec.src_stride : pad_line.data()) + block * kDepthwiseBlock;
  }
  tile.column_stride = spec.src_stride;
}

RowPrefetch QDepthwise::Plan::rows_ahead(const uint8_t* src, int64_t image, int64_t row,
                                         int64_t block) const {
  const ConvShape& s = spec.shape;
  const int64_t row_bytes = s.in_w * spec.src_stride, all_rows = s.batch * s.in_h;
  const int64_t seen = image * s.in_h + row * s.stride_h - s.pad_top + s.kernel_h;
  const int64_t more =
      all_rows * row_bytes < RowPrefetch::kLeast ? 0 : weights->shared_rows * s.stride_h;
  const auto at = [&](int64_t r) { return src + std::clamp<int64_t>(r, 0, all_rows) * row_bytes; };
  return RowPrefetch(at(seen), at(seen + more), block, blocks,
                     (out_w + tile_outputs - 1) / tile_outputs);
}

// One block of channels of `shared_rows` output rows of one image.
void QDepthwise::Plan::run_tiles(const uint8_t* src, uint8_t* dst, const uint8_t* residual,
                                 int64_t item, uint8_t* scratch) const {
  const ConvShape& s = spec.shape;
  const int64_t block = item % blocks, group = item / blocks % row_groups;
  const int64_t image = item / blocks / row_groups;
  const int64_t row = group * weights->shared_rows;
  DepthwiseTile tile;
  set_rows(src + image * s.in_h * s.in_w * spec.src_stride, row * s.stride_h - s.pad_top, block,
           tile);
  tile.width = s.in_w;
  tile.flip = flip;
  tile.pad = pad;
  tile.channels =
      static_cast<int>(std::min<int64_t>(kDepthwiseBlock, s.in_c - block * kDepthwiseBlock));
  tile.scratch = scratch;
  tile.weights = weights->data.data() + block * block_bytes(*weights);
  tile.groups = weights->groups;
  tile.kernel_w = s.kernel_w;
  tile.stride_w = s.stride_w;
  tile.dilation_w = s.dilation_w;
  tile.out_rows = static_cast<int>(std::min(weights->shared_rows, out_h - row));
  tile.dst_stride = spec.dst_stride;
  tile.dst_row_stride = out_w * spec.dst_stride;
  tile.residual_stride = spec.residual_stride;
  tile.residual_row_stride = out_w * spec.residual_stride;
  tile.element_bytes = elem_bytes(epilogue.out);
  tile.residual_element_bytes = elem_bytes(epilogue.add.residual_type);
  tile.epilogue = &epilogue;
  const int64_t first_channel = block * kDepthwiseBlock;
  tile.init = init + first_channel;
  tile.packed_scale = packed_scale + first_channel;
  tile.packed_bias = packed_bias + first_channel;
  tile.scale = epilogue.scale.data() + first_channel;
  tile.bias = epilogue.bias.data() + first_channel;
  RowPrefetch prefetch = rows_ahead(src, image, row, block);
  for (int64_t o = 0; o < out_w; o += tile_outputs) {
    prefetch.next();
    tile.outputs = std::min(tile_outputs, out_w - o);
    tile.first_column = o * s.stride_w - s.pad_left;
    tile.columns = (tile.outputs - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
    const int64_t pixel = (image * out_h + row) * out_w + o;
    tile.dst = dst + (pixel * spec.dst_stride + first_channel) * tile.element_bytes;
    if (residual != nullptr) {
      tile.residual =
          residual + (pixel * spec.residual_stride + first_channel) * tile.residual_element_bytes;
    }
    compute(tile);
  }
}

void QDepthwise::run(const void* src, void* dst, const void* residual) const {
  const Plan& p = *plan_;
  const ConvShape& s = p.spec.shape;
  check_residual(kKind, p.spec, p.epilogue, residual);
  const int64_t items = s.batch * p.row_groups * p.blocks;
  const int64_t macs = p.weights->shared_rows * p.out_w * kDepthwiseBlock * s.kernel_h * s.kernel_w;
  parallel_for(items, kGrainMacs / macs + 1, [&](int64_t begin, int64_t end) {
    static thread_local AlignedBuffer scratch;  // kept: the same few sizes come again and again
    if (scratch.size() < p.scratch_bytes()) scratch = AlignedBuffer(p.scratch_bytes());
    for (int64_t item = begin; item < end; ++item) {
      p.run_tiles(static_cast<const uint8_t*>(src), static_cast<uint8_t*>(dst),
                  static_cast<const uint8_t*>(residual), item, scratch.data());
    }
  });
}

void QDepthwise::set_dst_stride(int64_t elements) {
  change_dst_stride(kKind, elements, &plan_->spec);
}

std::string QDepthwise::describe() const {
  const ConvShape& s = plan_->spec.shape;
  return cat(isa_label(plan_->weights->isa), " depthwise ", s.kernel_h, "x", s.kernel_w, " ",
             s.in_c);
}

Saturation QDepthwise::saturation() const {
  Saturation s;
  if (plan_->weights->rows_per_dot == 2) s.kind = Saturation::Kind::exact_route;
  return s;
}

}  // namespace pt2q::kernels
