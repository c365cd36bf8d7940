// PyTorch's serialized pytree specs: how flat leaves nest.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace pt2q {

// Without the version that a whole spec begins with.
std::string leaf_spec();
std::string tuple_spec(const std::vector<std::string>& children);

// The leaves of a whole spec, [version, spec]. Throws FileError naming `what` when it is malformed.
size_t spec_leaves(const std::string& text, const char* what);
// Whether it is a single value.
bool is_leaf_spec(const std::string& text, const char* what);

}  // namespace pt2q
