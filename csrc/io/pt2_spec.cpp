#include "io/pt2_spec.h"

#include "base/strings.h"
#include "io/json_reader.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

Json parse_spec(const std::string& text, const char* what) {
  Json whole = parse_json(text, what, LoadLimits());
  if (!whole.is_array() || whole.size() != 2) throw FileError(cat(what, " is malformed"));
  return std::move(whole[1]);
}

bool is_leaf(const Json& spec) { return json_field(spec, "type").is_null(); }

size_t count_leaves(const Json& spec) {
  if (is_leaf(spec)) return 1;
  size_t count = 0;
  for (const Json& child : json_array(json_field(spec, "children_spec"), "children_spec"))
    count += count_leaves(child);
  return count;
}

}  // namespace

std::string leaf_spec() { return R"({"type": null, "context": null, "children_spec": []})"; }

std::string tuple_spec(const std::vector<std::string>& children) {
  return cat(R"({"type": "builtins.tuple", "context": "null", "children_spec": [)",
             join(children, ", "), "]}");
}

size_t spec_leaves(const std::string& text, const char* what) {
  return count_leaves(parse_spec(text, what));
}

bool is_leaf_spec(const std::string& text, const char* what) {
  return is_leaf(parse_spec(text, what));
}

}  // namespace pt2q
