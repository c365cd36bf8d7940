#include "passes/pass.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {

Rule replace_rule(const std::string& name, const std::string& pattern,
                  const std::string& replacement,
                  std::function<bool(const GraphModule&, const Match&)> guard) {
  auto text = std::make_shared<Replacement>(replacement);
  return Rule{name, Pattern(pattern), std::move(guard),
              [text](GraphModule& m, const Match& match) { text->apply(m.graph(), match); }};
}

namespace {

bool apply_rule(GraphModule& module, const Rule& rule) {
  bool changed = false;
  for (Node* n = module.graph().first(); n != nullptr;) {
    Node* next = n->next();  // a rewrite erases its root and adds nodes in front of it
    const auto match = rule.pattern.match_at(n);
    if (match && (!rule.guard || rule.guard(module, *match))) {
      rule.rewrite(module, *match);
      changed = true;
      while (next != nullptr && next->erased()) next = next->next();
    }
    n = next;
  }
  return changed;
}

void dump(const GraphModule& module, const std::string& dir, const std::string& name) {
  static std::atomic<int> counter{0};
  char number[16];
  std::snprintf(number, sizeof(number), "%03d_", counter++);
  const std::string path = dir + "/" + number + name + ".txt";
  std::ofstream out(path);
  out << module.graph().to_string();
  if (!out) {
    throw FileError(cat("cannot write the pass dump ", path),
                    "PT2Q_DUMP_PASSES must name an existing folder");
  }
}

}  // namespace

Pass rules_pass(const std::string& name, const std::string& about, std::vector<Rule> rules) {
  auto shared = std::make_shared<std::vector<Rule>>(std::move(rules));
  return Pass{name, about, [shared, name](GraphModule& module) {
                bool changed = false;
                // Every rule makes the graph smaller or more lowered; a cycle of rules is a defect.
                for (int round = 0; round < 100; ++round) {
                  bool again = false;
                  for (const Rule& rule : *shared) again = apply_rule(module, rule) || again;
                  if (!again) return changed;
                  changed = true;
                }
                throw InternalError(cat("rules of pass '", name, "' do not come to an end"));
              }};
}

PassOptions PassOptions::from_environment() {
  PassOptions options;
  if (const char* dir = std::getenv("PT2Q_DUMP_PASSES")) options.dump_dir = dir;
  if (const char* names = std::getenv("PT2Q_DISABLE_PASSES")) {
    for (const std::string& name : split(names, ',')) options.disabled.insert(strip(name));
  }
  return options;
}

std::vector<PassRecord> run_passes(GraphModule& module, const std::vector<Pass>& passes,
                                   const PassOptions& options) {
  std::vector<PassRecord> records;
  for (const Pass& pass : passes) {
    if (options.disabled.count(pass.name) > 0) continue;
    const auto start = std::chrono::steady_clock::now();
    const bool changed = pass.run(module);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    records.push_back({pass.name, took.count(), changed});
    if (options.lint && changed) {
      try {
        module.graph().lint();
      } catch (const Error& e) {
        throw InternalError(cat("after pass '", pass.name, "': ", e.message()));
      }
    }
    if (!options.dump_dir.empty()) dump(module, options.dump_dir, pass.name);
  }
  return records;
}

}  // namespace pt2q
