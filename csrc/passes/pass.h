// Passes: named changes of a GraphModule, run in the orders of pipeline.cpp.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "ir/match.h"
#include "pt2q/graph_module.h"

namespace pt2q {

struct Pass {
  std::string name;   // "fold_conv_bn"
  std::string about;  // one sentence
  // Returns true when it changed something.
  std::function<bool(GraphModule&)> run;
};

// One rewrite: where `pattern` matches and `guard` agrees, `rewrite` changes the graph.
struct Rule {
  std::string name;
  Pattern pattern;
  std::function<bool(const GraphModule&, const Match&)> guard;  // empty: always
  std::function<void(GraphModule&, const Match&)> rewrite;
};
// A rule that replaces a match by graph text.
Rule replace_rule(const std::string& name, const std::string& pattern,
                  const std::string& replacement,
                  std::function<bool(const GraphModule&, const Match&)> guard = nullptr);
// A pass that applies all rules until none matches any more.
Pass rules_pass(const std::string& name, const std::string& about, std::vector<Rule> rules);

struct PassOptions {
  std::string dump_dir;            // "": no dump; else <dir>/<number>_<pass>.txt after each pass
  std::set<std::string> disabled;  // passes not to run
  bool lint = true;                // check the graph after each pass
  // From PT2Q_DUMP_PASSES=<dir> and PT2Q_DISABLE_PASSES=<name>,<name>.
  static PassOptions from_environment();
};

struct PassRecord {
  std::string name;
  double seconds = 0.0;
  bool changed = false;
};

// Runs `passes` in order. An error of a pass, or of the check after it, names the pass.
std::vector<PassRecord> run_passes(GraphModule& module, const std::vector<Pass>& passes,
                                   const PassOptions& options = PassOptions::from_environment());

}  // namespace pt2q
