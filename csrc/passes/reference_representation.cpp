// Quantize/dequantize around int8 operators becomes plain integer arithmetic (SPEC 5.8): what an
// integer-only machine computes, spelt in ATen operators. PyTorch writes out_dtype(op, int32, ...)
// where a result is truncated to int32; here the same is a cast to int32 behind the operator.
// Products and ratios of literal scales are rounded to float32, as PyTorch computes them.
#include <algorithm>

#include "passes/pt2e_passes.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

float number(const Match& m, const char* name) {
  return static_cast<float>(m.value(name).to_double());
}

// Adds "sxw" = sx * sw, "multiplier" = sx * sw / so, "rx" = sx / so and "ry" = sy / so, as far as
// the scales are literals of the match.
Match with_ratios(const Match& match) {
  Match out = match;
  const auto has = [&](const char* name) { return match.values.count(name) > 0; };
  const auto set = [&](const char* name, float v) {
    out.values[name] = Value(static_cast<double>(v));
  };
  if (has("sx") && has("sw")) set("sxw", number(match, "sx") * number(match, "sw"));
  if (has("so")) {
    const float so = number(match, "so");
    if (has("sw")) set("multiplier", number(match, "sx") * number(match, "sw") / so);
    if (has("sx")) set("rx", number(match, "sx") / so);
    if (has("sy")) set("ry", number(match, "sy") / so);
  }
  return out;
}

using Guard = std::function<bool(const GraphModule&, const Match&)>;

Rule integer_rule(const std::string& name, const std::string& pattern,
                  const std::string& replacement, Guard guard = nullptr) {
  auto text = std::make_shared<Replacement>(replacement);
  return Rule{name, Pattern(pattern), std::move(guard), [text](GraphModule& m, const Match& match) {
                text->apply(m.graph(), with_ratios(match));
              }};
}

bool is_float32(const Match& m, const char* name) {
  const Value& val = m.node(name)->meta.val;
  return val.is<TensorMeta>() && val.as<TensorMeta>().dtype == DType::Float32;
}

// Half inputs stay with the quantize operator, which widens them first.
bool float32_input(const GraphModule&, const Match& m) { return is_float32(m, "x"); }

bool integer_zero_points(const GraphModule&, const Match& m) {
  const Value& val = m.node("z")->meta.val;
  return val.is<TensorMeta>() && !is_floating_point(val.as<TensorMeta>().dtype);
}

const std::string kDequantX =
    "%x = quantized_decomposed.dequantize_per_tensor.default(%xq, $sx, $zx, $xmin, $xmax, int8)\n";
const std::string kDequantW =
    "%w = quantized_decomposed.dequantize_per_tensor.default(%wq, $sw, $zw, $wmin, $wmax, int8)\n";
const std::string kQuantOut =
    "%q = quantized_decomposed.quantize_per_tensor.default(%y, $so, $zo, $omin, $omax, int8)\n"
    "return %q\n";
// int8 values minus their zero points, in int32.
const std::string kCenterX =
    "%xc = aten.clamp.default(%xq, $xmin, $xmax)\n"
    "%xh = aten.to.dtype(%xc, int16)\n"
    "%xs = aten.sub.Tensor(%xh, $zx)\n"
    "%xi = aten.to.dtype(%xs, int32)\n";
const std::string kCenterW =
    "%wc = aten.clamp.default(%wq, $wmin, $wmax)\n"
    "%wh = aten.to.dtype(%wc, int16)\n"
    "%ws = aten.sub.Tensor(%wh, $zw)\n"
    "%wi = aten.to.dtype(%ws, int32)\n";
const std::string kBias =
    "%bf = aten.div.Tensor(%b, $sxw)\n"
    "%bi = aten.to.dtype(%bf, int32)\n";
// The accumulator in steps of the output.
const std::string kRequantize =
    "%rf = aten.mul.Tensor(%sum, $multiplier)\n"
    "%ri = aten.to.dtype(%rf, int32)\n"
    "%rz = aten.add.Tensor(%ri, $zo)\n"
    "%rc = aten.clamp.default(%rz, $omin, $omax)\n"
    "%out = aten.to.dtype(%rc, int8)\n"
    "return %out\n";

std::vector<Rule> dynamic_linear_rules() {
  const std::string quantized =
      "%qp = quantized_decomposed.choose_qparams.tensor(%f, $xmin, $xmax, $eps, int8)\n"
      "%sx = _operator.getitem(%qp, 0)\n"
      "%zx = _operator.getitem(%qp, 1)\n"
      "%xq = quantized_decomposed.quantize_per_tensor.tensor(%f, %sx, %zx, $xmin, $xmax, int8)\n"
      "%x = quantized_decomposed.dequantize_per_tensor.tensor(%xq, %sx, %zx, $xmin, $xmax, int8)\n";
  const std::string integers =
      "%qp = quantized_decomposed.choose_qparams.tensor(%f, $xmin, $xmax, $eps, int8)\n"
      "%sx = _operator.getitem(%qp, 0)\n"
      "%zx = _operator.getitem(%qp, 1)\n"
      "%xd = aten.div.Tensor(%f, %sx)\n"
      "%xr = aten.round.default(%xd)\n"
      "%xi = aten.to.dtype(%xr, int32)\n"
      "%xz = aten.add.Tensor(%xi, %zx)\n"
      "%xc = aten.clamp.default(%xz, $xmin, $xmax)\n"
      "%x8 = aten.to.dtype(%xc, int8)\n"
      "%xh = aten.to.dtype(%x8, int16)\n"
      "%xs = aten.sub.Tensor(%xh, %zx)\n"
      "%xa = aten.to.dtype(%xs, int32)\n" +
      kCenterW +
      "%acc = aten.linear.default(%xa, %wi)\n"
      "%s = aten.mul.Tensor(%sx, $sw)\n";
  const std::string scaled =
      "%real = aten.mul.Tensor(%sum, %s)\n"
      "%out = aten.to.dtype(%real, float32)\n"
      "return %out\n";
  std::vector<Rule> rules;
  rules.push_back(integer_rule(
      "dynamic_linear", quantized + kDequantW + "%y = aten.linear.default(%x, %w, %b)\nreturn %y\n",
      integers +
          "%bf = aten.div.Tensor(%b, %s)\n"
          "%bi = aten.to.dtype(%bf, int32)\n"
          "%sum = aten.add.Tensor(%acc, %bi)\n" +
          scaled));
  std::string sum = scaled;
  rules.push_back(
      integer_rule("dynamic_linear_no_bias",
                   quantized + kDequantW + "%y = aten.linear.default(%x, %w)\nreturn %y\n",
                   integers + sum.replace(sum.find("%sum"), 4, "%acc")));
  return rules;
}

// Weights of 4 bits in groups along the rows, activations quantized per token at run time.
bool is_int4_linear(const GraphModule&, const Match& m) {
  const std::vector<int64_t> x = m.value("xblock").to_ints();
  const std::vector<int64_t> w = m.value("wblock").to_ints();
  const bool per_token =
      std::all_of(x.begin(), x.end() - (x.empty() ? 0 : 1), [](int64_t b) { return b == 1; });
  return m.value("mapping") == Value("ASYMMETRIC") && per_token && w.size() == 2 && w[0] == 1;
}

Rule int4_linear_rule() {
  return integer_rule(
      "dynamic_linear_int4",
      "%qp = torchao.choose_qparams_affine.default(%f, $mapping, $xblock, int8, -128, 127, $eps, "
      "float32, int32)\n"
      "%sx = _operator.getitem(%qp, 0)\n"
      "%zx = _operator.getitem(%qp, 1)\n"
      "%xq = torchao.quantize_affine.default(%f, $xblock, %sx, %zx, int8, -128, 127)\n"
      "%x = torchao.dequantize_affine.default(%xq, $xblock, %sx, %zx, int8, -128, 127)\n"
      "%w = torchao.dequantize_affine.default(%wq, $wblock, %sw, %zw, int8, -8, 7)\n"
      "%y = aten.linear.default(%x, %w, %b?)\n"
      "return %y\n",
      "%out = torchao.reference_dqlinear_int4.default(%f, $eps, %wq, %sw, %zw, %b?, $wblock)\n"
      "return %out\n",
      is_int4_linear);
}

// Adds the rules of `op` between quantized operands, with and without bias. `more` are its further
// arguments; `unsqueeze` makes %bu of %bi where the bias needs trailing dimensions.
void add_static_rules(const std::string& name, const std::string& op, const std::string& more,
                      const std::string& unsqueeze, std::vector<Rule>* out) {
  const std::string tail = more.empty() ? ")\n" : ", " + more + ")\n";
  const std::string center = kCenterX + kCenterW;
  const std::string call = " = aten." + op + ".default(";
  out->push_back(integer_rule(name,
                              kDequantX + kDequantW + "%y" + call + "%x, %w, %b" + tail + kQuantOut,
                              center + "%acc" + call + "%xi, %wi, None" + tail + kBias + unsqueeze +
                                  "%sum = aten.add.Tensor(%acc, " +
                                  (unsqueeze.empty() ? "%bi" : "%bu") + ")\n" + kRequantize));
  out->push_back(integer_rule(
      name + "_no_bias", kDequantX + kDequantW + "%y" + call + "%x, %w, None" + tail + kQuantOut,
      center + "%sum" + call + "%xi, %wi, None" + tail + kRequantize));
}

std::vector<Rule> add_rules() {
  const std::string inputs =
      "%x = quantized_decomposed.dequantize_per_tensor.default(%xq, $sx, $zx, $min, $max, int8)\n"
      "%y = quantized_decomposed.dequantize_per_tensor.default(%yq, $sy, $zy, $min, $max, int8)\n"
      "%a = aten.add.Tensor(%x, %y)\n";
  const std::string centered =
      "%xi = aten.to.dtype(%xq, int32)\n"
      "%yi = aten.to.dtype(%yq, int32)\n"
      "%xs = aten.sub.Tensor(%xi, $zx)\n"
      "%ys = aten.sub.Tensor(%yi, $zy)\n"
      "%xf = aten.mul.Tensor(%xs, $rx)\n"
      "%yf = aten.mul.Tensor(%ys, $ry)\n";
  const std::string sum =
      "%s = aten.add.Tensor(%xt, %yt)\n"
      "%z = aten.add.Tensor(%s, $zo)\n";
  std::vector<Rule> rules;
  rules.push_back(integer_rule(
      "add_relu",
      inputs +
          "%r = aten.relu.default(%a)\n"
          "%q = quantized_decomposed.quantize_per_tensor.default(%r, $so, $zo, $min, $max, int8)\n"
          "return %q\n",
      centered +
          "%xt = aten.to.dtype(%xf, int32)\n"
          "%yt = aten.to.dtype(%yf, int32)\n" +
          sum +
          "%c = aten.clamp.default(%z, $zo, $max)\n"
          "%out = aten.to.dtype(%c, int8)\n"
          "return %out\n"));
  rules.push_back(integer_rule(
      "add",
      inputs +
          "%q = quantized_decomposed.quantize_per_tensor.default(%a, $so, $zo, $min, $max, int8)\n"
          "return %q\n",
      centered +
          "%xr = aten.round.default(%xf)\n"
          "%yr = aten.round.default(%yf)\n"
          "%xt = aten.to.dtype(%xr, int32)\n"
          "%yt = aten.to.dtype(%yr, int32)\n" +
          sum +
          "%c = aten.clamp.default(%z, -128, 127)\n"
          "%out = aten.to.dtype(%c, int8)\n"
          "return %out\n"));
  return rules;
}

Rule max_pool_rule() {
  return integer_rule(
      "max_pool2d",
      kDequantX + "%y = aten.max_pool2d.default(%x, $k, $st, $p, $d, $ceil)\n" + kQuantOut,
      "%xc = aten.clamp.default(%xq, $xmin, $xmax)\n"
      "%xw = aten.to.dtype(%xc, int32)\n"
      "%xi = aten.sub.Tensor(%xw, $zx)\n"
      "%m = aten.max_pool2d.default(%xi, $k, $st, $p, $d, $ceil)\n"
      "%f = aten.mul.Tensor(%m, $rx)\n"
      "%z = aten.add.Tensor(%f, $zo)\n"
      "%c = aten.clamp.default(%z, $omin, $omax)\n"
      "%out = aten.to.dtype(%c, int8)\n"
      "return %out\n");
}

// Quantize and dequantize on their own. `s` and `z` are "$s", "$z" for literals, "%s", "%z" for
// one-element tensors.
void add_per_tensor_rules(const std::string& overload, const std::string& s, const std::string& z,
                          std::vector<Rule>* out) {
  const std::string params = ", " + s + ", " + z + ", $min, $max, int8)\n";
  out->push_back(integer_rule(
      "quantize_per_tensor_" + overload,
      "%q = quantized_decomposed.quantize_per_tensor." + overload + "(%x" + params + "return %q\n",
      "%d = aten.div.Tensor(%x, " + s +
          ")\n"
          "%r = aten.round.default(%d)\n"
          "%i = aten.to.dtype(%r, int32)\n"
          "%a = aten.add.Tensor(%i, " +
          z +
          ")\n"
          "%c = aten.clamp.default(%a, $min, $max)\n"
          "%out = aten.to.dtype(%c, int8)\n"
          "return %out\n",
      float32_input));
  out->push_back(integer_rule("dequantize_per_tensor_" + overload,
                              "%f = quantized_decomposed.dequantize_per_tensor." + overload +
                                  "(%q" + params + "return %f\n",
                              "%c = aten.clamp.default(%q, $min, $max)\n"
                              "%r = aten.to.dtype(%c, float32)\n"
                              "%d = aten.sub.Tensor(%r, " +
                                  z +
                                  ")\n"
                                  "%m = aten.mul.Tensor(%d, " +
                                  s +
                                  ")\n"
                                  "%out = aten.to.dtype(%m, float32)\n"
                                  "return %out\n"));
}

std::vector<Rule> per_channel_rules() {
  std::vector<Rule> rules;
  rules.push_back(integer_rule(
      "quantize_per_channel",
      "%q = quantized_decomposed.quantize_per_channel.default(%x, %s, %z, $axis, $min, $max, "
      "int8)\n"
      "return %q\n",
      "%t = aten.transpose.int(%x, $axis, -1)\n"
      "%d = aten.div.Tensor(%t, %s)\n"
      "%r = aten.round.default(%d)\n"
      "%i = aten.to.dtype(%r, int32)\n"
      "%a = aten.add.Tensor(%i, %z)\n"
      "%c = aten.clamp.default(%a, $min, $max)\n"
      "%u = aten.transpose.int(%c, $axis, -1)\n"
      "%out = aten.to.dtype(%u, int8)\n"
      "return %out\n",
      [](const GraphModule& g, const Match& m) {
        return float32_input(g, m) && integer_zero_points(g, m);
      }));
  rules.push_back(integer_rule(
      "dequantize_per_channel",
      "%f = quantized_decomposed.dequantize_per_channel.default(%q, %s, %z, $axis, $min, $max, "
      "int8)\n"
      "return %f\n",
      "%c = aten.clamp.default(%q, $min, $max)\n"
      "%t = aten.transpose.int(%c, $axis, -1)\n"
      "%i = aten.to.dtype(%t, int32)\n"
      "%d = aten.sub.Tensor(%i, %z)\n"
      "%r = aten.to.dtype(%d, float32)\n"
      "%m = aten.mul.Tensor(%r, %s)\n"
      "%out = aten.transpose.int(%m, $axis, -1)\n"
      "return %out\n",
      integer_zero_points));
  return rules;
}

}  // namespace

// Whole operators first: what is left of their quantize and dequantize operators comes last.
Pass reference_representation_pass() {
  std::vector<Rule> rules = dynamic_linear_rules();
  rules.push_back(int4_linear_rule());
  add_static_rules("linear", "linear", "", "", &rules);
  add_static_rules("conv2d", "conv2d", "$stride, $padding, $dilation, $groups",
                   "%bv = aten.unsqueeze.default(%bi, -1)\n%bu = aten.unsqueeze.default(%bv, -1)\n",
                   &rules);
  for (Rule& rule : add_rules()) rules.push_back(std::move(rule));
  rules.push_back(max_pool_rule());
  Pass operators = rules_pass("", "", std::move(rules));
  std::vector<Rule> rest;
  add_per_tensor_rules("default", "$s", "$z", &rest);
  add_per_tensor_rules("tensor", "%s", "%z", &rest);
  for (Rule& rule : per_channel_rules()) rest.push_back(std::move(rule));
  Pass leftovers = rules_pass("", "", std::move(rest));
  return {"reference_representation", "int8 operators become integer arithmetic.",
          [operators, leftovers](GraphModule& module) {
            const bool changed = operators.run(module);
            return leftovers.run(module) || changed;
          }};
}

}  // namespace pt2q
