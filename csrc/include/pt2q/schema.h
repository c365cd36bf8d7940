// ATen schema strings, e.g. "(Tensor input, Tensor? bias=None, SymInt[2] stride=1) -> Tensor".
#pragma once

#include <string>
#include <vector>

#include "pt2q/value.h"

namespace pt2q {

enum class ArgType {
  Tensor,
  Int,    // int and SymInt
  Float,  // float and double
  Bool,
  Scalar,  // int, float or bool
  String,
  DType,  // ScalarType
  Device,
  Layout,
  MemoryFormat,
  Generator,
  Any,  // for operator.* helpers
};

struct SchemaArg {
  std::string name;
  ArgType type = ArgType::Tensor;
  bool is_list = false;
  int list_size = 0;            // SymInt[2]: a single int is accepted and repeated
  bool optional = false;        // "Tensor?", "int[]?"
  bool optional_items = false;  // "Tensor?[]"
  bool kwarg_only = false;
  bool written = false;  // "Tensor(a!)": an in-place operator writes it
  bool has_default = false;
  Value default_value;
};

struct SchemaReturn {
  ArgType type = ArgType::Tensor;
  bool is_list = false;
  std::string name;
};

struct Schema {
  std::vector<SchemaArg> args;
  std::vector<SchemaReturn> returns;
  std::string text;  // the declaration as written

  int index_of(const std::string& name) const;  // -1 when absent
  size_t positional_count() const;              // arguments before '*'
};

// Parses "(...) -> ..."; throws ValueError with the position of the mistake.
Schema parse_schema(const std::string& text);

}  // namespace pt2q
