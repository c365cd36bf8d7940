// Enumerations and symbolic expressions as PyTorch's export schema 8.x spells them.
#pragma once

#include <map>
#include <string>

#include "io/json_reader.h"
#include "pt2q/dtype.h"
#include "pt2q/symint.h"

namespace pt2q {

// ScalarType numbers of the schema (not c10's). Throws NotImplementedError for complex and other
// types without a counterpart, FileError for unknown numbers.
DType dtype_of_code(int64_t code);
int code_of_dtype(DType dtype);

MemoryFormat memory_format_of_code(int64_t code);
int code_of_memory_format(MemoryFormat format);

// Of the export schema; another major version is not read.
constexpr int kSchemaMajor = 8;

constexpr int kStridedLayout = 7;

// A size written as sympy's srepr, e.g. "Mul(Integer(2), Symbol('s77', integer=True,
// positive=True))". `hint` is its value at export. Throws FileError for malformed text and
// NotImplementedError for functions other than + * // % max min.
SymInt parse_srepr(const std::string& text, int64_t hint,
                   const std::map<std::string, int64_t>& symbol_hints);
std::string to_srepr(const SymInt& value);
// The name in an srepr that is a single Symbol(...); "" for any other.
std::string symbol_name_of(const std::string& srepr);

}  // namespace pt2q
