#include "onednn/model_cache.h"

#include <algorithm>

namespace pt2q {

std::unique_ptr<RunContext> PlanEntry::acquire() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      auto context = std::move(idle_.back());
      idle_.pop_back();
      return context;
    }
  }
  return std::make_unique<RunContext>(plan_);
}

void PlanEntry::give_back(std::unique_ptr<RunContext> context) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (idle_.size() < kMaxIdle) idle_.push_back(std::move(context));
}

std::shared_ptr<ModelCache> ModelCache::of(GraphModule& model) {
  static std::mutex extras_mutex;
  static const std::string kKey = "pt2q.plans";
  const std::lock_guard<std::mutex> lock(extras_mutex);
  std::any& slot = model.extras[kKey];
  const auto* known = std::any_cast<std::shared_ptr<ModelCache>>(&slot);
  // A deep copy of a model carries the cache of the original: recognised by the graph.
  if (known != nullptr && (*known)->graph_ == &model.graph() &&
      (*known)->version_ == model.graph().version()) {
    return *known;
  }
  auto fresh = std::make_shared<ModelCache>();
  fresh->graph_ = &model.graph();
  fresh->version_ = model.graph().version();
  slot = fresh;
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
  if (entries_.size() > kMaxPlans) entries_.pop_back();
  return entries_.front();
}

std::shared_ptr<PlanEntry> ModelCache::latest() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return entries_.empty() ? nullptr : entries_.front();
}

}  // namespace pt2q
