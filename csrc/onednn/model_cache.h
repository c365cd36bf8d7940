// What is kept with a model between runs: plans per input signature, folded constants and packed
// weights. Everything is dropped when the graph changes.
#pragma once

#include <any>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "onednn/plan.h"
#include "pt2q/graph_module.h"

namespace pt2q {

// A plan with the contexts that wait for the next run.
class PlanEntry {
 public:
  PlanEntry(std::string signature, std::shared_ptr<const Plan> plan,
            std::shared_ptr<WorkspacePool> workspaces)
      : signature_(std::move(signature)),
        plan_(std::move(plan)),
        workspaces_(std::move(workspaces)) {}

  const std::string& signature() const { return signature_; }
  const std::shared_ptr<const Plan>& plan() const { return plan_; }
  // A context with memory to work in.
  std::unique_ptr<RunContext> acquire();
  void give_back(std::unique_ptr<RunContext> context);

 private:
  std::string signature_;
  std::shared_ptr<const Plan> plan_;
  std::shared_ptr<WorkspacePool> workspaces_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<RunContext>> idle_;
};

// A node whose arguments are known when plans are built, and what it gave. The arguments may depend
// on the inputs' shapes, so they are kept to compare.
struct FoldedNode {
  std::vector<Value> args;
  Value result;
};

// Says that the tensor has been packed: pages mapped from a file leave memory.
void release_pages(const Tensor& tensor);

class ModelCache {
 public:
  static constexpr size_t kMaxPlans = 64;

  // The cache of `model`, emptied when its graph has changed since the last call.
  static std::shared_ptr<ModelCache> of(GraphModule& model);

  std::shared_ptr<PlanEntry> find(const std::string& signature);
  std::shared_ptr<PlanEntry> insert(std::shared_ptr<PlanEntry> entry);  // drops the oldest
  size_t plan_count();
  std::shared_ptr<PlanEntry> latest();  // null before the first
  const std::shared_ptr<WorkspacePool>& workspaces() const { return workspaces_; }
  // Before the first plan: draws from the pool of several models.
  void share(std::shared_ptr<WorkspacePool> pool) { workspaces_ = std::move(pool); }

  // Held while a plan is built: the members below are shared by all builds.
  std::mutex build_mutex;
  std::map<const Node*, FoldedNode> folded;                        // constant subgraphs
  std::map<std::pair<const void*, std::string>, std::any> packed;  // by tensor identity and form
  std::vector<Tensor> kept_alive;  // tensors whose identity is a key

 private:
  uint64_t graph_id_ = 0;
  uint64_t version_ = 0;
  std::mutex mutex_;
  std::list<std::shared_ptr<PlanEntry>> entries_;  // most recent first
  std::shared_ptr<WorkspacePool> workspaces_ = std::make_shared<WorkspacePool>();
};

}  // namespace pt2q
