// einsum: operands are contracted from left to right, each pair as one batched matrix product.
#include <algorithm>
#include <cctype>
#include <map>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/operands.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

// Dimensions covered by "..." get labels outside the letters; the last one has label 0.
using Label = int;
using Labels = std::vector<Label>;

constexpr Label kFirstLetter = 1000;

Label letter(char c) { return kFirstLetter + static_cast<unsigned char>(c); }

struct Equation {
  std::vector<Labels> inputs;
  Labels output;
};

// One term ("bhwc", "... i j"); `rank` < 0 for the output, where "..." stands for `ellipsis`
// labels.
Labels parse_term(const std::string& term, int64_t rank, const Labels& ellipsis) {
  Labels before, after;
  bool dots = false;
  for (size_t i = 0; i < term.size(); ++i) {
    const char c = term[i];
    if (c == ' ') continue;
    if (c == '.') {
      if (dots || term.compare(i, 3, "...") != 0) {
        throw ValueError(
            cat("einsum(): found '.' that is not part of any ellipsis in '", term, "'"));
      }
      dots = true;
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      (dots ? after : before).push_back(letter(c));
    } else {
      throw ValueError(cat("einsum(): invalid subscript '", c, "' in '", term,
                           "', subscripts must be in [a-zA-Z]"));
    }
  }
  Labels hidden = ellipsis;
  if (rank >= 0) {
    hidden.clear();
    const int64_t named = static_cast<int64_t>(before.size() + after.size());
    if (named > rank || (named < rank && !dots)) {
      throw ValueError(cat("einsum(): the number of subscripts in '", term,
                           "' does not match the number of dimensions (", rank,
                           ") of its operand"));
    }
    for (int64_t i = rank - named; i-- > 0;) hidden.push_back(static_cast<Label>(i));
  }
  if (dots) before.insert(before.end(), hidden.begin(), hidden.end());
  before.insert(before.end(), after.begin(), after.end());
  return before;
}

bool has(const Labels& labels, Label l) {
  return std::find(labels.begin(), labels.end(), l) != labels.end();
}

// Without "->": the ellipsis, then all letters that occur once, alphabetically.
Labels implicit_output(const std::vector<Labels>& inputs, const Labels& ellipsis) {
  std::map<Label, int> counts;
  for (const Labels& labels : inputs) {
    for (const Label l : labels) ++counts[l];
  }
  Labels out = ellipsis;
  for (const auto& [label, count] : counts) {
    if (label >= kFirstLetter && count == 1) out.push_back(label);
  }
  return out;
}

Equation parse_equation(const std::string& text, const std::vector<int64_t>& ranks) {
  const size_t arrow = text.find("->");
  const std::vector<std::string> terms = split(text.substr(0, arrow), ',');
  if (terms.size() != ranks.size()) {
    throw ValueError(cat("einsum(): '", text, "' has ", terms.size(), " operands, but ",
                         ranks.size(), " were given"));
  }
  Equation eq;
  Labels ellipsis;  // the longest
  for (size_t i = 0; i < terms.size(); ++i) {
    eq.inputs.push_back(parse_term(terms[i], ranks[i], {}));
    Labels hidden;
    for (const Label l : eq.inputs.back()) {
      if (l < kFirstLetter) hidden.push_back(l);
    }
    if (hidden.size() > ellipsis.size()) ellipsis = hidden;
  }
  eq.output = arrow == std::string::npos ? implicit_output(eq.inputs, ellipsis)
                                         : parse_term(text.substr(arrow + 2), -1, ellipsis);
  Labels seen;
  for (const Label l : eq.output) {
    const bool known = std::any_of(eq.inputs.begin(), eq.inputs.end(),
                                   [l](const Labels& labels) { return has(labels, l); });
    if (!known || has(seen, l)) {
      throw ValueError(
          cat("einsum(): output subscripts of '", text, "' must appear once, and in an input"));
    }
    seen.push_back(l);
  }
  return eq;
}

std::map<Label, SymInt> label_sizes(const Equation& eq, const std::vector<TensorMeta>& metas) {
  std::map<Label, SymInt> sizes;
  for (size_t i = 0; i < metas.size(); ++i) {
    for (size_t d = 0; d < eq.inputs[i].size(); ++d) {
      const SymInt& size = metas[i].sizes[d];
      const auto [it, added] = sizes.emplace(eq.inputs[i][d], size);
      if (added || same_size(it->second, size) || size == SymInt(1)) continue;
      if (!(it->second == SymInt(1))) {
        throw ValueError(
            cat("einsum(): operands do not broadcast with sizes ", it->second, " and ", size));
      }
      it->second = size;
    }
  }
  return sizes;
}

Equation equation_of(const Args& args, const std::vector<TensorMeta>& metas) {
  std::vector<int64_t> ranks;
  for (const TensorMeta& meta : metas) ranks.push_back(rank(meta));
  return parse_equation(args.string(0), ranks);
}

Value infer_einsum(const Args& args) {
  const std::vector<TensorMeta> metas = args.metas(1);
  if (metas.empty()) throw ValueError("einsum(): must provide at least one operand");
  const Equation eq = equation_of(args, metas);
  const auto sizes = label_sizes(eq, metas);
  TensorMeta out = metas[0];
  out.sizes.clear();
  for (const Label l : eq.output) out.sizes.push_back(sizes.at(l));
  return out;
}

// --- evaluation ----------------------------------------------------------------------------------

struct Operand {
  Tensor tensor;
  Labels labels;
};

// A label that occurs twice becomes the diagonal of its two dimensions.
void take_diagonals(Operand* x) {
  for (size_t i = 0; i < x->labels.size(); ++i) {
    for (size_t j = x->labels.size() - 1; j > i; --j) {
      if (x->labels[i] != x->labels[j]) continue;
      const Tensor& t = x->tensor;
      Shape sizes = t.sizes(), strides = t.strides();
      if (sizes[i] != sizes[j]) {
        throw ValueError("einsum(): a repeated subscript has dimensions of different size");
      }
      strides[i] += strides[j];
      sizes.erase(sizes.begin() + static_cast<int64_t>(j));
      strides.erase(strides.begin() + static_cast<int64_t>(j));
      x->tensor = t.as_strided(sizes, strides, t.storage_offset());
      x->labels.erase(x->labels.begin() + static_cast<int64_t>(j));
    }
  }
}

// Sums over the labels that nothing else needs.
void sum_unneeded(Operand* x, const Labels& needed) {
  Ints dims;
  Labels kept;
  for (size_t d = 0; d < x->labels.size(); ++d) {
    if (has(needed, x->labels[d])) {
      kept.push_back(x->labels[d]);
    } else {
      dims.push_back(static_cast<int64_t>(d));
    }
  }
  if (dims.empty()) return;
  x->tensor = call("aten.sum.dim_IntList", {x->tensor, dims}).as<Tensor>();
  x->labels = kept;
}

// The operand's dimensions in the order of `labels`; missing ones have size 1.
Tensor aligned(const Operand& x, const Labels& labels) {
  Ints order;
  for (const Label l : labels) {
    const auto it = std::find(x.labels.begin(), x.labels.end(), l);
    if (it != x.labels.end()) order.push_back(it - x.labels.begin());
  }
  Tensor t = x.tensor.permute(order);
  for (size_t i = 0; i < labels.size(); ++i) {
    if (!has(x.labels, labels[i])) t = t.unsqueeze(static_cast<int64_t>(i));
  }
  return t;
}

Shape sizes_of(const Labels& labels, const std::map<Label, int64_t>& sizes) {
  Shape out;
  for (const Label l : labels) out.push_back(sizes.at(l));
  return out;
}

// [batch][rows][columns] of the operand, each group expanded to its full sizes.
Tensor as_matrices(const Operand& x, const Labels& batch, const Labels& rows, const Labels& columns,
                   const std::map<Label, int64_t>& sizes) {
  Labels order = batch;
  order.insert(order.end(), rows.begin(), rows.end());
  order.insert(order.end(), columns.begin(), columns.end());
  return aligned(x, order)
      .expand(sizes_of(order, sizes))
      .reshape({numel_of(sizes_of(batch, sizes)), numel_of(sizes_of(rows, sizes)),
                numel_of(sizes_of(columns, sizes))});
}

// Labels of both operands are batch (needed later) or contracted; the others are rows and columns.
Operand contract(Operand a, Operand b, const Labels& needed) {
  Labels later_a = needed, later_b = needed;
  later_a.insert(later_a.end(), b.labels.begin(), b.labels.end());
  later_b.insert(later_b.end(), a.labels.begin(), a.labels.end());
  sum_unneeded(&a, later_a);
  sum_unneeded(&b, later_b);
  std::map<Label, int64_t> sizes;
  for (const Operand* x : {&a, &b}) {
    for (size_t d = 0; d < x->labels.size(); ++d) {
      int64_t& size = sizes.emplace(x->labels[d], 1).first->second;
      size = std::max(size, x->tensor.sizes()[d] == 1 ? size : x->tensor.sizes()[d]);
      if (x->tensor.sizes()[d] == 0) size = 0;
    }
  }
  Labels batch, inner, rows, columns;
  for (const Label l : a.labels) {
    if (!has(b.labels, l)) {
      rows.push_back(l);
    } else {
      (has(needed, l) ? batch : inner).push_back(l);
    }
  }
  for (const Label l : b.labels) {
    if (!has(a.labels, l)) columns.push_back(l);
  }
  const Tensor product = call("aten.bmm.default", {as_matrices(a, batch, rows, inner, sizes),
                                                   as_matrices(b, batch, inner, columns, sizes)})
                             .as<Tensor>();
  Labels out = batch;
  out.insert(out.end(), rows.begin(), rows.end());
  out.insert(out.end(), columns.begin(), columns.end());
  return {product.reshape(sizes_of(out, sizes)), out};
}

Value einsum(const Args& args) {
  const TensorMeta meta = infer_output(args);
  const std::vector<Tensor> tensors = args.tensors(1);
  std::vector<TensorMeta> metas;
  for (const Tensor& t : tensors) metas.push_back(meta_of(t));
  const Equation eq = equation_of(args, metas);
  std::vector<Operand> operands;
  for (size_t i = 0; i < tensors.size(); ++i) {
    operands.push_back({tensors[i], eq.inputs[i]});
    take_diagonals(&operands.back());
  }
  Operand result = operands[0];
  for (size_t i = 1; i < operands.size(); ++i) {
    Labels needed = eq.output;
    for (size_t j = i + 1; j < operands.size(); ++j) {
      needed.insert(needed.end(), operands[j].labels.begin(), operands[j].labels.end());
    }
    result = contract(result, operands[i], needed);
  }
  sum_unneeded(&result, eq.output);
  return aligned(result, eq.output).expand(hints(meta.sizes)).contiguous().to(meta.dtype);
}

}  // namespace

void register_einsum(OpTable& t) {
  OpDef& op = t.define("aten.einsum.default",
                       "(str equation, Tensor[] tensors, *, int[]? path=None) -> Tensor");
  op.infer = infer_einsum;
  op.reference = einsum;
  op.quant = own({1});
}

}  // namespace pt2q
