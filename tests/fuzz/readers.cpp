#include "readers.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/file.h"
#include "base/strings.h"
#include "base/zip.h"
#include "io/pickle.h"
#include "pt2q/error.h"
#include "pt2q/io.h"

namespace pt2q_fuzz {
namespace {

using namespace pt2q;  // NOLINT: test code

// Small limits: a fuzzer looks for wrong code, not for slow machines.
LoadLimits small_limits() {
  LoadLimits limits;
  limits.tensor_bytes = 1 << 20;
  limits.nodes = 1000;
  limits.json_values = 100000;
  return limits;
}

std::unique_ptr<GraphModule> small_model() {
  auto m = std::make_unique<GraphModule>();
  Graph& g = m->graph();
  Node* x = g.placeholder("x");
  x->meta.val = TensorMeta{{SymInt::symbol("s0", 2), 3}, DType::Float32, Device()};
  m->input_names.push_back("x");
  m->set_attr("fc.weight", Tensor::full({4, 3}, 0.5), AttrKind::Parameter);
  m->set_attr("fc.bias", Tensor::zeros({4}), AttrKind::Parameter);
  Node* w = g.get_attr("fc.weight");
  Node* b = g.get_attr("fc.bias");
  Node* y = g.call_function("aten.linear.default", {x, w, b});
  y = g.call_function("aten.relu.default", {y});
  g.output(g.call_function("aten.sum.dim_IntList", {y, Value::List{int64_t{1}}, true}));
  m->propagate_shapes();
  return m;
}

StateDict small_state() {
  StateDict state;
  state["w"] = Tensor::from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  state["w_t"] = state["w"].transpose(0, 1);
  state["n"] = Tensor::scalar_int(3);
  state["q"] = Tensor::from_vector<int8_t>({-1, 0, 1}, {3});
  return state;
}

void read_pt2(const uint8_t* data, size_t size) { load_pt2(data, size, small_limits()); }

void read_pth(const uint8_t* data, size_t size) {
  const std::string copy(reinterpret_cast<const char*>(data), size);
  const LoadLimits limits = small_limits();
  const PickleGraph graph = read_torch_save(open_bytes(Bytes::copy_of(copy), "<fuzz>"), limits);
  full_state_dict_of(graph, limits);
  state_dict_of(graph, true);
}

void read_safetensors_bytes(const uint8_t* data, size_t size) {
  load_safetensors(data, size, small_limits());
}

// Checksums of an archive turn most damage away at the door; these two mutate what is behind it:
// the program of a .pt2 file and the pickle of a .pth file, in an archive that is intact.
using Members = std::vector<std::pair<std::string, std::string>>;

Members unpack(const std::string& archive) {
  Members out;
  const ZipReader zip(open_bytes(Bytes::copy_of(archive), "<seed>"));
  for (const ZipEntry& entry : zip.entries())
    out.emplace_back(entry.name, std::string(zip.read(entry).text()));
  return out;
}

std::string& member(Members& members, const std::string& suffix) {
  for (auto& [name, content] : members) {
    if (ends_with(name, suffix)) return content;
  }
  throw std::runtime_error("the seed has no member " + suffix);
}

std::string repack(Members members, const std::string& suffix, const uint8_t* data, size_t size) {
  member(members, suffix).assign(reinterpret_cast<const char*>(data), size);
  MemorySink sink;
  ZipWriter zip(&sink);
  for (const auto& [name, content] : members) zip.add(name, content);
  zip.finish();
  return std::move(sink.buffer);
}

std::string small_pt2() { return save_pt2_to_string(*small_model()); }

std::string small_pth() {
  char path[] = "/tmp/pt2q_fuzz_XXXXXX";
  const int handle = ::mkstemp(path);
  if (handle < 0) throw std::runtime_error("mkstemp failed");
  ::close(handle);
  save_pth(small_state(), path);
  const auto file = open_file(path);
  std::string content(file->read(0, static_cast<size_t>(file->size())).text());
  std::remove(path);
  return content;
}

constexpr char kProgram[] = "models/model.json";
constexpr char kPickle[] = "data.pkl";

void read_program(const uint8_t* data, size_t size) {
  static const Members members = unpack(small_pt2());
  const std::string archive = repack(members, kProgram, data, size);
  read_pt2(reinterpret_cast<const uint8_t*>(archive.data()), archive.size());
}

void read_pickle(const uint8_t* data, size_t size) {
  static const Members members = unpack(small_pth());
  const std::string archive = repack(members, kPickle, data, size);
  read_pth(reinterpret_cast<const uint8_t*>(archive.data()), archive.size());
}

std::vector<std::string> seed_of(const std::string& archive, const char* suffix) {
  Members members = unpack(archive);
  return {member(members, suffix)};
}

std::vector<std::string> pt2_seeds() {
  return {small_pt2(), save_pt2_to_string(*small_model(), {{"notes.txt", "text"}})};
}

std::vector<std::string> pth_seeds() { return {small_pth()}; }

std::vector<std::string> safetensors_seeds() {
  return {save_safetensors_to_string(small_state(), {{"format", "pt"}})};
}

}  // namespace

const std::vector<Reader>& readers() {
  static const std::vector<Reader> all = {
      {"pt2", read_pt2, pt2_seeds},
      {"pt2_program", read_program, [] { return seed_of(small_pt2(), kProgram); }},
      {"pth", read_pth, pth_seeds},
      {"pth_pickle", read_pickle, [] { return seed_of(small_pth(), kPickle); }},
      {"safetensors", read_safetensors_bytes, safetensors_seeds},
  };
  return all;
}

const Reader* find_reader(const std::string& name) {
  for (const Reader& r : readers()) {
    if (name == r.name) return &r;
  }
  return nullptr;
}

void check(const Reader& reader, const uint8_t* data, size_t size) {
  try {
    reader.read(data, size);
  } catch (const InternalError& e) {
    std::fprintf(stderr, "%s: internal error: %s\n", reader.name, e.what());
    std::abort();
  } catch (const Error&) {
    // refused with a typed error: right
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: untyped error: %s\n", reader.name, e.what());
    std::abort();
  }
}

}  // namespace pt2q_fuzz
