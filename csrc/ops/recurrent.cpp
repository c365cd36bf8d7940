// Recurrent layers (LSTM, GRU, plain RNN) and their single cells.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "ops/support/facts.h"
#include "ops/support/gemm.h"
#include "ops/support/operands.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using namespace ops;

enum class Kind { Tanh, Relu, Gru, Lstm };

int64_t gates_of(Kind kind) { return kind == Kind::Lstm ? 4 : kind == Kind::Gru ? 3 : 1; }

template <typename T>
T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

// One step for one sample. gx, gh: gates from the input and from the previous state, biases
// included; h: state in, state out; c: LSTM cell state.
template <typename T>
void cell_step(Kind kind, int64_t n, const T* gx, const T* gh, T* h, T* c) {
  for (int64_t i = 0; i < n; ++i) {
    switch (kind) {
      case Kind::Tanh:
        h[i] = std::tanh(gx[i] + gh[i]);
        break;
      case Kind::Relu:
        h[i] = std::max(gx[i] + gh[i], T(0));
        break;
      case Kind::Gru: {  // reset, update, new
        const T reset = sigmoid(gx[i] + gh[i]);
        const T update = sigmoid(gx[n + i] + gh[n + i]);
        const T fresh = std::tanh(gx[2 * n + i] + reset * gh[2 * n + i]);
        h[i] = (h[i] - fresh) * update + fresh;
        break;
      }
      case Kind::Lstm: {  // input, forget, cell, output
        const T in = sigmoid(gx[i] + gh[i]);
        const T forget = sigmoid(gx[n + i] + gh[n + i]);
        const T fresh = std::tanh(gx[2 * n + i] + gh[2 * n + i]);
        const T out = sigmoid(gx[3 * n + i] + gh[3 * n + i]);
        c[i] = forget * c[i] + in * fresh;
        h[i] = out * std::tanh(c[i]);
        break;
      }
    }
  }
}

// Weights of one layer and direction, dense in the compute type; biases may be undefined.
struct Weights {
  Tensor w_ih, w_hh, b_ih, b_hh;
  Tensor w_hr;  // LSTM with a projection: [proj, hidden]
};

template <typename T>
const T* data_or_null(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

// Runs all steps of one direction. x: [steps][batch][in]; h: [batch][state], c: [batch][hidden],
// both updated; writes [batch][state] of step t to out + t * out_step, rows out_row apart.
template <typename T>
void run_direction(Kind kind, const Weights& w, const Tensor& x, bool reverse, T* h, T* c, T* out,
                   int64_t out_step, int64_t out_row) {
  const int64_t steps = x.size(0), batch = x.size(1), hidden = w.w_hh.size(0) / gates_of(kind);
  const int64_t state = w.w_hh.size(1), width = gates_of(kind) * hidden;
  std::vector<T> gx(idx(steps * batch * width)), gh(idx(batch * width)), full(idx(batch * hidden));
  gemm_transposed(steps * batch, width, x.size(2), x.data<T>(), w.w_ih.data<T>(),
                  data_or_null<T>(w.b_ih), gx.data());
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t t = reverse ? steps - 1 - s : s;
    gemm_transposed(batch, width, state, h, w.w_hh.data<T>(), data_or_null<T>(w.b_hh), gh.data());
    T* target = w.w_hr.defined() ? full.data() : h;
    for (int64_t b = 0; b < batch; ++b) {
      cell_step(kind, hidden, gx.data() + (t * batch + b) * width, gh.data() + b * width,
                target + b * hidden, c == nullptr ? nullptr : c + b * hidden);
    }
    if (w.w_hr.defined()) {
      gemm_transposed<T>(batch, state, hidden, full.data(), w.w_hr.data<T>(), nullptr, h);
    }
    for (int64_t b = 0; b < batch; ++b) {
      std::copy_n(h + b * state, state, out + t * out_step + b * out_row);
    }
  }
}

// --- layers --------------------------------------------------------------------------------------

// (input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)
struct Layers {
  bool biases, bidirectional, batch_first;
  int64_t layers;
  double dropout;
};

Layers layers_of(const Args& args) {
  return {args.boolean(3), args.boolean(7), args.boolean(8), args.integer(4),
          args.boolean(6) ? args.number(5) : 0};
}

// Initial states as a list: {h} or {h, c}.
Value::List states(const Args& args) {
  return args.value(1).is<Value::List>() ? args.value(1).list() : Value::List{args.value(1)};
}

Value infer_layers(const Args& args) {
  const TensorMeta& x = args.meta(0);
  require_rank(x, 3, "input");
  const Layers l = layers_of(args);
  const Value::List hx = states(args);
  const TensorMeta h = meta_of(hx.at(0));
  require_rank(h, 3, "hx");
  const int64_t directions = l.bidirectional ? 2 : 1;
  const SymInt& batch = x.sizes[l.batch_first ? 0 : 1];
  if (!same_size(h.sizes[0], l.layers * directions) || !same_size(h.sizes[1], batch)) {
    throw ValueError(cat("Expected hidden size (", l.layers * directions, ", ", batch,
                         ", hidden_size), got ", text(h.sizes)));
  }
  SymShape out = x.sizes;
  out[2] = h.sizes[2] * SymInt(directions);
  Value::List results = {with_sizes(x, out)};
  for (const Value& state : hx) results.emplace_back(meta_of(state));
  return results;
}

template <typename T>
std::vector<Weights> read_weights(const Args& args, const Layers& l, bool projected) {
  const std::vector<Tensor> params = args.tensors(2);
  const auto directions = l.bidirectional ? 2U : 1U;
  const size_t each = (l.biases ? 4U : 2U) + (projected ? 1U : 0U);
  if (params.size() != each * idx(l.layers) * directions) {
    throw ValueError(cat("expected ", each * idx(l.layers) * directions, " weight tensors, got ",
                         params.size()));
  }
  std::vector<Weights> out;
  for (size_t i = 0; i < params.size(); i += each) {
    Weights w;
    w.w_ih = dense<T>(params[i]);
    w.w_hh = dense<T>(params[i + 1]);
    if (l.biases) {
      w.b_ih = dense<T>(params[i + 2]);
      w.b_hh = dense<T>(params[i + 3]);
    }
    if (projected) w.w_hr = dense<T>(params[i + each - 1]);
    out.push_back(std::move(w));
  }
  return out;
}

Value run_layers(const Args& args, Kind kind) {
  const Value inferred = infer_outputs(args);
  const Layers l = layers_of(args);
  const Value::List hx = states(args);
  const DType dtype = args.tensor(0).dtype();
  return visit_float(dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    Tensor x = args.tensor(0).to(DTypeOf<T>::value);
    if (l.batch_first) x = x.transpose(0, 1);
    x = x.contiguous();
    Tensor h = dense<T>(hx[0].as<Tensor>()).clone();
    Tensor c = kind == Kind::Lstm ? dense<T>(hx.at(1).as<Tensor>()).clone() : Tensor();
    const int64_t batch = h.size(1), state = h.size(2);
    const int64_t hidden = c.defined() ? c.size(2) : state;
    const auto weights = read_weights<T>(args, l, hidden != state);
    const int64_t directions = l.bidirectional ? 2 : 1, width = state * directions;
    for (int64_t layer = 0; layer < l.layers; ++layer) {
      Tensor y = Tensor::empty({x.size(0), batch, width}, DTypeOf<T>::value);
      for (int64_t d = 0; d < directions; ++d) {
        const int64_t i = layer * directions + d;
        run_direction<T>(kind, weights[idx(i)], x, d == 1, h.mutable_data<T>() + i * batch * state,
                         c.defined() ? c.mutable_data<T>() + i * batch * hidden : nullptr,
                         y.mutable_data<T>() + d * state, batch * width, width);
      }
      x = y;
      if (l.dropout > 0 && layer + 1 < l.layers) {
        x = call("aten.dropout.default", {x, l.dropout, true}).as<Tensor>();
      }
    }
    if (l.batch_first) x = x.transpose(0, 1).contiguous();
    Value::List out = {x.to(dtype), h.to(dtype)};
    if (c.defined()) out.emplace_back(c.to(dtype));
    return out;
  });
}

void define_layers(OpTable& t, const std::string& name, Kind kind) {
  const bool lstm = kind == Kind::Lstm;
  OpDef& op = t.define("aten." + name + ".input",
                       cat("(Tensor input, ", lstm ? "Tensor[]" : "Tensor",
                           " hx, Tensor[] params, bool has_biases, int num_layers, float dropout, "
                           "bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor",
                           lstm ? ", Tensor)" : ")"));
  op.infer = infer_layers;
  op.reference = [kind](const Args& args) { return run_layers(args, kind); };
  op.quant.activations = {0};
}

// --- cells: (input, hx, w_ih, w_hh, b_ih, b_hh) --------------------------------------------------

Value infer_cell(const Args& args) {
  const TensorMeta h = meta_of(states(args).at(0));
  const TensorMeta& x = args.meta(0);
  if (rank(x) != 2 || rank(h) != 2 || !same_size(x.sizes[1], args.meta(2).sizes.at(1)) ||
      !same_size(h.sizes[1], args.meta(3).sizes.at(1))) {
    throw ValueError(cat("cell shapes do not fit: input ", text(x.sizes), ", state ", text(h.sizes),
                         ", weights ", text(args.meta(2).sizes), " and ",
                         text(args.meta(3).sizes)));
  }
  const TensorMeta out = with_sizes(h, {x.sizes[0], h.sizes[1]});
  if (args.value(1).is<Value::List>()) return Value::List{out, out};
  return out;
}

Value run_cell(const Args& args, Kind kind) {
  infer_outputs(args);
  const Value::List hx = states(args);
  const DType dtype = args.tensor(0).dtype();
  return visit_float(dtype, [&](auto tag) -> Value {
    using T = decltype(tag);
    const Tensor x = dense<T>(args.tensor(0)).unsqueeze(0);
    Tensor h = dense<T>(hx[0].as<Tensor>()).clone();
    Tensor c = kind == Kind::Lstm ? dense<T>(hx.at(1).as<Tensor>()).clone() : Tensor();
    Weights w;
    w.w_ih = dense<T>(args.tensor(2));
    w.w_hh = dense<T>(args.tensor(3));
    if (!args.is_none(4)) w.b_ih = dense<T>(args.tensor(4));
    if (!args.is_none(5)) w.b_hh = dense<T>(args.tensor(5));
    Tensor y = Tensor::empty(h.sizes(), DTypeOf<T>::value);
    run_direction<T>(kind, w, x, false, h.mutable_data<T>(),
                     c.defined() ? c.mutable_data<T>() : nullptr, y.mutable_data<T>(), 0,
                     h.size(1));
    if (c.defined()) return Value::List{h.to(dtype), c.to(dtype)};
    return h.to(dtype);
  });
}

void define_cell(OpTable& t, const std::string& name, Kind kind) {
  const bool lstm = kind == Kind::Lstm;
  OpDef& op =
      t.define("aten." + name + ".default",
               cat("(Tensor input, ", lstm ? "Tensor[]" : "Tensor",
                   " hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None) -> ",
                   lstm ? "(Tensor, Tensor)" : "Tensor"));
  op.infer = infer_cell;
  op.reference = [kind](const Args& args) { return run_cell(args, kind); };
  op.quant.activations = {0};
}

}  // namespace

void register_recurrent(OpTable& t) {
  define_layers(t, "lstm", Kind::Lstm);
  define_layers(t, "gru", Kind::Gru);
  define_layers(t, "rnn_tanh", Kind::Tanh);
  define_layers(t, "rnn_relu", Kind::Relu);
  define_cell(t, "lstm_cell", Kind::Lstm);
  define_cell(t, "gru_cell", Kind::Gru);
  define_cell(t, "rnn_tanh_cell", Kind::Tanh);
  define_cell(t, "rnn_relu_cell", Kind::Relu);
}

}  // namespace pt2q
