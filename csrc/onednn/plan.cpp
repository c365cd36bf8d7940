#include "onednn/plan.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <new>

#include "base/cpu.h"
#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

constexpr int64_t kAlignment = 64;
int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

Bound Bound::of_plain(Value v) {
  Bound b;
  b.plain = std::move(v);
  return b;
}
Bound Bound::of_tensor(int id) {
  Bound b;
  b.kind = Kind::Tensor;
  b.value = id;
  return b;
}
Bound Bound::of_list(std::vector<Bound> items) {
  Bound b;
  b.kind = Kind::List;
  b.items = std::move(items);
  return b;
}

bool same_layout(const Shape& sizes, const Shape& a, const Shape& b) {
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] != 1 && a[d] != b[d]) return false;
  }
  return true;
}

Shape preferred_strides(const Shape& sizes) {
  return sizes.size() == 4 || sizes.size() == 5 ? channels_last_strides(sizes)
                                                : contiguous_strides(sizes);
}

bool is_dense(const Shape& sizes, const Shape& strides) {
  std::vector<std::pair<int64_t, int64_t>> dims;  // stride, size
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 0) return true;
    if (sizes[d] != 1) dims.emplace_back(strides[d], sizes[d]);
  }
  std::sort(dims.begin(), dims.end());
  int64_t expected = 1;
  for (const auto& [stride, size] : dims) {
    if (stride != expected) return false;
    expected *= size;
  }
  return true;
}

std::string layout_name(const Shape& sizes, const Shape& strides) {
  if (same_layout(sizes, strides, contiguous_strides(sizes))) return "contiguous";
  if (sizes.size() == 4 && same_layout(sizes, strides, channels_last_strides(sizes))) return "nhwc";
  if (sizes.size() == 5 && same_layout(sizes, strides, channels_last_strides(sizes)))
    return "ndhwc";
  return is_dense(sizes, strides) ? "permuted" : "strided";
}

void Step::spread(const Rows&) { throw InternalError(cat(info.kernel, ": rows cannot be spread")); }

std::shared_ptr<char> aligned_buffer(int64_t bytes) {
  if (bytes <= 0) return nullptr;
  void* p = std::aligned_alloc(kAlignment, static_cast<size_t>(aligned(bytes)));
  if (p == nullptr) throw RuntimeError(cat("out of memory: ", bytes, " bytes for activations"));
  return {static_cast<char*>(p), [](char* q) { std::free(q); }};
}

// --- memory plan ---------------------------------------------------------------------------------
namespace {

struct Block {
  int first = 0;
  int last = 0;
  int64_t bytes = 0;
  int64_t offset = -1;
  std::vector<int> roots;
};

void find_lives(Plan& plan) {
  const auto use = [&](int id, int step) {
    PlanValue& root = plan.values[static_cast<size_t>(plan.values[static_cast<size_t>(id)].root)];
    if (root.first_step < 0) root.first_step = step;
    root.last_step = std::max(root.last_step, step);
  };
  for (const auto& step : plan.steps) {
    for (const int id : step->inputs) use(id, step->index);
    for (const int id : step->outputs) use(id, step->index);
  }
  const int end = static_cast<int>(plan.steps.size());
  const std::function<void(const Bound&)> keep = [&](const Bound& b) {
    if (b.kind == Bound::Kind::Tensor) use(b.value, end);
    for (const Bound& item : b.items) keep(item);
  };
  keep(plan.result);
}

// Whether the two are the same elements at the same places within their roots, so that writing one
// over the other loses nothing that is still to be read.
bool same_places(const PlanValue& a, const PlanValue& b) {
  return a.view_offset == b.view_offset && itemsize(a.dtype) == itemsize(b.dtype) &&
         a.sizes == b.sizes && same_layout(a.sizes, a.strides, b.strides);
}

// The block that output 0 of the step takes over from the input it works in place on; -1: none.
int block_to_take_over(const Plan& plan, const Step& step, const std::vector<Block>& blocks,
                       const std::vector<int>& block_of) {
  if (step.in_place_input < 0) return -1;
  const auto value = [&](int id) -> const PlanValue& {
    return plan.values[static_cast<size_t>(id)];
  };
  const int in = value(step.in_place_input).root, out = value(step.outputs[0]).root;
  const int block = block_of[static_cast<size_t>(in)];
  if (block < 0 || blocks[static_cast<size_t>(block)].last != step.index ||
      value(in).last_step != step.index || value(in).bytes != value(out).bytes ||
      !same_places(value(step.in_place_input), value(step.outputs[0]))) {
    return -1;
  }
  // Another input in the same memory would be overwritten while it is read.
  const auto sharing = std::count_if(step.inputs.begin(), step.inputs.end(),
                                     [&](int id) { return value(id).root == in; });
  return sharing == 1 ? block : -1;
}

// One block per Arena root; a step that works in place extends the block of its input.
std::vector<Block> make_blocks(const Plan& plan) {
  std::vector<Block> blocks;
  std::vector<int> block_of(plan.values.size(), -1);
  for (const auto& step : plan.steps) {
    for (size_t k = 0; k < step->outputs.size(); ++k) {
      const int out = plan.values[static_cast<size_t>(step->outputs[k])].root;
      const PlanValue& v = plan.values[static_cast<size_t>(out)];
      int& block = block_of[static_cast<size_t>(out)];
      if (v.storage != Storage::Arena || block >= 0) continue;
      if (k == 0) block = block_to_take_over(plan, *step, blocks, block_of);
      if (block >= 0) {
        Block& taken = blocks[static_cast<size_t>(block)];
        taken.last = std::max(taken.last, v.last_step);
        taken.roots.push_back(out);
        continue;
      }
      block = static_cast<int>(blocks.size());
      blocks.push_back({v.first_step, v.last_step, aligned(v.bytes), -1, {out}});
    }
  }
  return blocks;
}

}  // namespace

void plan_memory(Plan& plan) {
  find_lives(plan);
  std::vector<Block> blocks = make_blocks(plan);
  std::vector<Block*> order;
  for (Block& b : blocks) order.push_back(&b);
  std::stable_sort(order.begin(), order.end(),
                   [](const Block* a, const Block* b) { return a->bytes > b->bytes; });
  std::vector<Block*> placed;  // sorted by offset
  for (Block* block : order) {
    int64_t offset = 0;
    for (const Block* other : placed) {
      if (other->last < block->first || other->first > block->last) continue;
      if (offset + block->bytes <= other->offset) break;
      offset = std::max(offset, other->offset + other->bytes);
    }
    block->offset = offset;
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), block,
                         [](const Block* a, const Block* b) { return a->offset < b->offset; }),
        block);
    plan.arena_bytes = std::max(plan.arena_bytes, offset + block->bytes);
    for (const int root : block->roots)
      plan.values[static_cast<size_t>(root)].arena_offset = offset;
  }
  plan.release.assign(plan.steps.size(), {});
  for (size_t i = 0; i < plan.values.size(); ++i) {
    const PlanValue& v = plan.values[i];
    if (v.storage == Storage::Held && v.last_step >= 0 &&
        v.last_step < static_cast<int>(plan.steps.size())) {
      plan.release[static_cast<size_t>(v.last_step)].push_back(static_cast<int>(i));
    }
  }
}

// --- workspaces ----------------------------------------------------------------------------------

int64_t Plan::workspace_bytes() const {
  return aligned(arena_bytes) + aligned(static_cast<int64_t>(scratchpad_bytes));
}

Workspace WorkspacePool::take(int64_t bytes) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      Workspace last = std::move(idle_.back());  // the one whose pages are warm
      idle_.pop_back();
      if (last.bytes >= bytes) return last;
    }
  }
  // Room for somewhat larger inputs: pages that nobody touches cost nothing.
  const int64_t roomy = bytes + bytes / 4;
  return {aligned_buffer(roomy), roomy};
}

void WorkspacePool::give_back(Workspace workspace) {
  static const size_t most = static_cast<size_t>(std::max(4, available_cpus()));
  const std::lock_guard<std::mutex> lock(mutex_);
  if (idle_.size() < most) idle_.push_back(std::move(workspace));
}

void WorkspacePool::trim(int64_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto large = [bytes](const Workspace& w) { return w.bytes > 2 * bytes; };
  idle_.erase(std::remove_if(idle_.begin(), idle_.end(), large), idle_.end());
}

size_t WorkspacePool::idle_count() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return idle_.size();
}

// --- RunContext ----------------------------------------------------------------------------------

RunContext::RunContext(std::shared_ptr<const Plan> p) : plan(std::move(p)) {
  const size_t n = plan->values.size();
  pointers.assign(n, nullptr);
  held.resize(n);
  views.resize(n);
  step_state.resize(plan->steps.size());
  for (size_t i = 0; i < n; ++i) {
    const PlanValue& v = plan->values[i];
    const PlanValue& root = plan->values[static_cast<size_t>(v.root)];
    if (root.storage != Storage::Constant) continue;
    pointers[i] =
        const_cast<char*>(static_cast<const char*>(root.constant.raw_data())) + v.view_offset;
  }
  for (const auto& step : plan->steps) step->prepare(*this);
}

void RunContext::attach(Workspace workspace) {
  arena = std::move(workspace.memory);
  workspace_bytes_ = workspace.bytes;
  scratchpad = arena.get() + aligned(plan->arena_bytes);
  if (placed_at_ == arena.get()) return;
  placed_at_ = arena.get();
  for (size_t i = 0; i < pointers.size(); ++i) {
    const PlanValue& v = plan->values[i];
    const PlanValue& root = plan->values[static_cast<size_t>(v.root)];
    if (root.storage == Storage::Arena)
      pointers[i] = arena.get() + root.arena_offset + v.view_offset;
  }
}

Workspace RunContext::detach() {
  for (const int id : viewed_) views[static_cast<size_t>(id)] = Tensor();
  viewed_.clear();
  return {std::move(arena), workspace_bytes_};
}

bool RunContext::in_arena(const void* p) const {
  const char* q = static_cast<const char*>(p);
  return arena && q >= arena.get() && q < arena.get() + plan->arena_bytes;
}

void RunContext::hold(int id, Value v) {
  if (v.is<Tensor>())
    pointers[static_cast<size_t>(id)] = const_cast<void*>(v.as<Tensor>().raw_data());
  held[static_cast<size_t>(id)] = std::move(v);
}

Tensor RunContext::tensor(int id) {
  const PlanValue& v = value(id);
  if (v.storage == Storage::Constant) return v.constant;
  const PlanValue& root = value(v.root);
  if (root.storage == Storage::Held || (root.storage == Storage::Output && v.root == id)) {
    return held[static_cast<size_t>(id)].as<Tensor>();
  }
  if (root.storage == Storage::Input && v.root == id)
    return inputs[static_cast<size_t>(root.input_index)];
  Tensor& view = views[static_cast<size_t>(id)];
  void* p = data(id);
  if (view.defined() && view.raw_data() == p) return view;
  if (!view.defined()) viewed_.push_back(id);
  if (root.storage == Storage::Arena) {
    view = Tensor::from_blob(p, v.sizes, v.strides, v.dtype, arena);
  } else {  // keeps alive, and is known to share, the memory of the tensor that it views
    const Tensor whole = tensor(v.root);
    view = whole.as_strided(
        v.sizes, v.strides,
        whole.storage_offset() + v.view_offset / static_cast<int64_t>(itemsize(v.dtype)));
  }
  return view;
}

Value materialize(const Bound& bound, RunContext& ctx) {
  switch (bound.kind) {
    case Bound::Kind::Plain:
      return bound.plain;
    case Bound::Kind::List: {
      Value::List items;
      for (const Bound& item : bound.items) items.push_back(materialize(item, ctx));
      return Value(std::move(items));
    }
    case Bound::Kind::Tensor:
      break;
  }
  const PlanValue& v = ctx.value(bound.value);
  if (v.storage == Storage::Held) return ctx.held[static_cast<size_t>(bound.value)];
  return ctx.tensor(bound.value);
}

namespace {

// The arena memory that a step's work keeps busy: every root alive then, but an output that may
// take the memory of its last-used input of the same size counts once with it.
int64_t alive_bytes(const Plan& plan, int step) {
  int64_t sum = 0;
  for (size_t i = 0; i < plan.values.size(); ++i) {
    const PlanValue& v = plan.values[i];
    if (v.storage != Storage::Arena || v.root != static_cast<int>(i) || v.first_step < 0) continue;
    if (v.first_step <= step && step <= v.last_step) sum += v.bytes;
  }
  const Step& s = *plan.steps[static_cast<size_t>(step)];
  if (s.in_place_input < 0 || s.outputs.empty()) return sum;
  const auto root_of = [&](int id) -> const PlanValue& {
    return plan.values[static_cast<size_t>(plan.values[static_cast<size_t>(id)].root)];
  };
  const PlanValue& in = root_of(s.in_place_input);
  const PlanValue& out = root_of(s.outputs[0]);
  const bool merges = in.storage == Storage::Arena && out.storage == Storage::Arena &&
                      in.last_step == step && in.bytes == out.bytes;
  return merges ? sum - out.bytes : sum;
}

}  // namespace

int64_t alive_bytes(const Plan& plan) {
  int64_t most = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i)
    most = std::max(most, alive_bytes(plan, static_cast<int>(i)));
  return most;
}

}  // namespace pt2q
