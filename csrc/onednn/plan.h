// A Plan: the flat list of steps that runs one graph for one input signature. Immutable once built,
// shared by all threads; what changes during a run is in a RunContext.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/saturation.h"
#include "pt2q/graph.h"
#include "pt2q/tensor.h"

namespace pt2q {

struct Plan;
struct RunContext;

// Where the bytes of a value are.
enum class Storage {
  Input,     // the caller's tensor
  Constant,  // a tensor kept by the plan
  Arena,     // at a fixed place of the context's arena
  Output,    // a tensor made anew for each run and handed to the caller
  Held,      // a tensor that a step made (reference kernels); layout known only at run time
};

struct PlanValue {
  Storage storage = Storage::Arena;
  bool known = false;  // sizes, strides and dtype hold (Held values from kernels: sizes only)
  bool layout_known = false;
  Shape sizes;
  Shape strides;
  DType dtype = DType::Float32;
  int root = -1;             // value whose memory this one views; itself when it owns memory
  int64_t view_offset = 0;   // bytes from the root's start
  Tensor constant;           // Storage::Constant
  int input_index = -1;      // Storage::Input
  int64_t arena_offset = 0;  // Storage::Arena roots
  int64_t bytes = 0;
  int first_step = -1;  // roots: steps between which the memory is in use
  int last_step = -1;
};

// What the report says of a step.
struct StepInfo {
  std::string node;    // graph node, "" for glue such as layout changes
  std::string op;      // "aten.conv2d.default"
  std::string kernel;  // "onednn brgconv:avx512_core", "pt2q qconv amx", "reference"
  std::string dtype;   // "float32", "uint8*int8 -> uint8"
  std::string layout;  // "nhwc", "contiguous", ...
  std::string note;    // exactness, why a faster route was refused
  double flops = 0.0;  // 2 * multiply-adds, 0 when not meaningful
  bool reference = false;
  std::optional<kernels::Saturation> saturation = std::nullopt;  // int8 layers
  std::string tuning{};  // int8 layers: "modelled", "measured" or "measured earlier"
};

// Rows of `width` elements, `stride` elements apart; a stride of 0: dense.
struct Rows {
  int64_t width = 0;
  int64_t stride = 0;
};

class Step {
 public:
  virtual ~Step() = default;
  // Makes per-context state (oneDNN memory objects ...); called once per context.
  virtual void prepare(RunContext&) const {}
  virtual void run(RunContext& ctx) const = 0;
  // Whether output 0, dense as [rows, width] (pixels by channels, say), can be written with gaps
  // between its rows, as into a slice of a wider array; `spread` asks for that.
  virtual bool can_spread() const { return false; }
  virtual void spread(const Rows& rows);

  StepInfo info;
  std::vector<int> inputs;   // value ids
  std::vector<int> outputs;  // value ids
  int index = -1;
  // Output 0 may use the memory of this input when it is not needed any more; -1: never.
  int in_place_input = -1;
};

// What a node yields: one tensor, a list, or a plain value known at plan time.
struct Bound {
  enum class Kind { Plain, Tensor, List };
  Kind kind = Kind::Plain;
  Value plain;
  int value = -1;
  std::vector<Bound> items;

  static Bound of_plain(Value v);
  static Bound of_tensor(int id);
  static Bound of_list(std::vector<Bound> items);
};

struct Plan {
  std::vector<PlanValue> values;
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<std::vector<int>> release;  // held values to drop after each step
  std::vector<int> inputs;                // values with Storage::Input that own their memory
  std::vector<int> moving_views;          // views of Input and Output roots, in order
  std::vector<int> outputs;               // values with Storage::Output
  Bound result;
  int64_t arena_bytes = 0;
  size_t scratchpad_bytes = 0;
  int threads = 1;

  int64_t workspace_bytes() const;
};

// The memory that one run works in: arena, then scratchpad.
struct Workspace {
  std::shared_ptr<char> memory;
  int64_t bytes = 0;
};

// The workspaces of one model. All its plans draw from here, so that a plan for new sizes finds
// memory whose pages exist already, and many plans cost no more memory than the largest.
// Thread-safe.
class WorkspacePool {
 public:
  Workspace take(int64_t bytes);
  void give_back(Workspace workspace);
  // Keeps nothing that is much larger than `bytes`, what the plans in use need.
  void trim(int64_t bytes);
  size_t idle_count();

 private:
  std::mutex mutex_;
  std::vector<Workspace> idle_;
};

// The mutable side of one run. Contexts are pooled; one run uses one at a time.
struct RunContext {
  explicit RunContext(std::shared_ptr<const Plan> plan);

  // Works in this memory, of at least plan->workspace_bytes(), until detach().
  void attach(Workspace workspace);
  Workspace detach();

  const PlanValue& value(int id) const { return plan->values[static_cast<size_t>(id)]; }
  void* data(int id) const { return pointers[static_cast<size_t>(id)]; }
  template <typename T>
  T* data(int id) const {
    return static_cast<T*>(data(id));
  }
  // The tensor of a value: a view of arena memory, or the tensor that is held.
  Tensor tensor(int id);
  // Any held value; steps store kernel results here.
  void hold(int id, Value v);
  bool in_arena(const void* p) const;

  std::shared_ptr<const Plan> plan;
  std::shared_ptr<char> arena;  // while attached
  char* scratchpad = nullptr;
  std::vector<void*> pointers;
  std::vector<Value> held;
  std::vector<Tensor> views;
  std::vector<std::shared_ptr<void>> step_state;
  std::shared_ptr<void> stream, gpu_stream;
  std::unordered_map<int, std::shared_ptr<void>> gpu_values;  // memory of values on the GPU
  std::vector<Tensor> inputs;

 private:
  const char* placed_at_ = nullptr;  // the arena that `pointers` lead to
  int64_t workspace_bytes_ = 0;
  std::vector<int> viewed_;  // values with a tensor in `views`
};

// The value a node yields at run time.
Value materialize(const Bound& bound, RunContext& ctx);

// Same memory order, ignoring dimensions of size 1.
bool same_layout(const Shape& sizes, const Shape& a, const Shape& b);
// Strides of the dense layout steps prefer: channels last for 4-D and 5-D, else row-major.
Shape preferred_strides(const Shape& sizes);
// No gaps and no overlaps, in whatever order.
bool is_dense(const Shape& sizes, const Shape& strides);
std::string layout_name(const Shape& sizes, const Shape& strides);

// Aligned memory that nobody has touched yet.
std::shared_ptr<char> aligned_buffer(int64_t bytes);

// What the arena must hold at least: the values that are alive at the fullest step.
int64_t alive_bytes(const Plan& plan);

// Gives every Arena root its offset: values whose lives do not overlap share memory.
void plan_memory(Plan& plan);

}  // namespace pt2q
