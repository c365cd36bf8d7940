#include "onednn/model_cache.h"

#include <algorithm>

#include "base/cpu.h"
#include "base/memory.h"

namespace pt2q {
namespace {

// Contexts kept for the next calls: as many as can run at once.
size_t max_idle() {
  static const size_t count = static_cast<size_t>(std::max(4, available_cpus()));
  return count;
}

}  // namespace

void release_pages(const Tensor& tensor) {
  if (tensor.is_read_only() && tensor.is_contiguous())
    release_pages(tensor.raw_data(), static_cast<size_t>(tensor.nbytes()));
}

std::unique_ptr<RunContext> PlanEntry::acquire() {
  std::unique_ptr<RunContext> context;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      context = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!context) context = std::make_unique<RunContext>(plan_);
  context->attach(workspaces_->take(plan_->workspace_bytes()));
  return context;
}

void PlanEntry::give_back(std::unique_ptr<RunContext> context) {
  workspaces_->give_back(context->detach());
  const std::lock_guard<std::mutex> lock(mutex_);
  if (idle_.size() < max_idle()) idle_.push_back(std::move(context));
}

std::shared_ptr<ModelCache> ModelCache::of(GraphModule& model) {
  static std::mutex caches_mutex;
  const Graph& graph = model.graph();
  const std::lock_guard<std::mutex> lock(caches_mutex);
  const auto known = std::static_pointer_cast<ModelCache>(model.run_cache);
  if (known && known->graph_id_ == graph.id() && known->version_ == graph.version()) return known;
  auto fresh = std::make_shared<ModelCache>();
  fresh->graph_id_ = graph.id();
  fresh->version_ = graph.version();
  model.run_cache = fresh;
  return fresh;
}

std::shared_ptr<PlanEntry> ModelCache::find(const std::string& signature) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto it = std::find_if(entries_.begin(), entries_.end(),
                               [&](const auto& e) { return e->signature() == signature; });
  if (it == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, it);
  return entries_.front();
}

std::shared_ptr<PlanEntry> ModelCache::insert(std::shared_ptr<PlanEntry> entry) {
  const std::lock_guard<std::mutex> lock(mutex_);
  entries_.push_front(std::move(entry));
  if (entries_.size() <= kMaxPlans) return entries_.front();
  entries_.pop_back();
  int64_t largest = 0;
  for (const auto& e : entries_) largest = std::max(largest, e->plan()->workspace_bytes());
  workspaces_->trim(largest);
  return entries_.front();
}

size_t ModelCache::plan_count() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return entries_.size();
}

std::shared_ptr<PlanEntry> ModelCache::latest() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return entries_.empty() ? nullptr : entries_.front();
}

}  // namespace pt2q
