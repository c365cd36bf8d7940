// .safetensors and .pth files.
#include "error_message.h"
#include "io/pickle.h"
#include "io_test_util.h"
#include "pt2q/io.h"

namespace pt2q {
namespace {

using namespace std::string_literals;

using pt2q_test::expect_prefixes_refused;
using pt2q_test::read_text;
using pt2q_test::run_mutations;
using pt2q_test::source_of;
using pt2q_test::TempDir;
using pt2q_test::values_of;
using pt2q_test::write_text;

StateDict sample_state() {
  StateDict state;
  state["conv.weight"] = Tensor::from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  state["conv.weight_t"] = state["conv.weight"].transpose(0, 1);  // shares memory
  state["count"] = Tensor::scalar_int(41);
  state["empty"] = Tensor::empty({0, 3});
  state["q"] = Tensor::from_vector<int8_t>({-128, 0, 127}, {3});
  state["flags"] = Tensor::from_vector<uint8_t>({0, 1, 1}, {3}).to(DType::Bool);
  state["half"] = Tensor::from_vector<float>({0.5F, -2, 65504}, {3}).to(DType::Float16);
  state["bf"] = Tensor::from_vector<float>({1, -3}, {2}).to(DType::BFloat16);
  state["u16"] = Tensor::from_vector<uint16_t>({65535, 7}, {2});
  return state;
}

void expect_equal(const StateDict& got, const StateDict& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (const auto& [name, tensor] : wanted) {
    ASSERT_EQ(got.count(name), 1U) << name;
    const Tensor& t = got.at(name);
    EXPECT_EQ(t.sizes(), tensor.sizes()) << name;
    EXPECT_EQ(t.dtype(), tensor.dtype()) << name;
    EXPECT_EQ(values_of<double>(t.to(DType::Float64)), values_of<double>(tensor.to(DType::Float64)))
        << name;
  }
}

TEST(Safetensors, RoundTrip) {
  const TempDir dir;
  save_safetensors(sample_state(), dir / "m.safetensors", {{"format", "pt"}});
  std::map<std::string, std::string> metadata;
  expect_equal(load_safetensors(dir / "m.safetensors", {}, &metadata), sample_state());
  EXPECT_EQ(metadata.at("format"), "pt");
  expect_equal(load_state_dict(dir / "m.safetensors"), sample_state());
  expect_equal(load_safetensors(dir / "m.safetensors"), sample_state());
  const std::string nothing = save_safetensors_to_string({});
  EXPECT_TRUE(load_safetensors(nothing.data(), nothing.size()).empty());
}

std::string safetensors_file(const std::string& header, const std::string& data) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>((header.size() >> (8 * i)) & 0xff);
  return out + header + data;
}

void read_safetensors_text(const std::string& content) {
  load_safetensors(content.data(), content.size());
}

TEST(Safetensors, RefusesBadFiles) {
  const std::string four(4, '\0');
  const auto refused = [&](const std::string& header, const std::string& data) {
    EXPECT_THROW(read_safetensors_text(safetensors_file(header, data)), Error) << header;
  };
  EXPECT_NO_THROW(read_safetensors_text(
      safetensors_file(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four)));
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", four);
  refused(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", four);
  refused(R"({"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", four);
  refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", four);
  refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", four);
  refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", four + four);  // a hole
  refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four + four);  // trailing
  refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
          R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
          four);  // overlap
  refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
          R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
          four);  // duplicate key
  refused(R"({"a":{"dtype":"F32","shape":[4398046511105,4194304],"data_offsets":[0,4]}})", four);
  refused(R"({"a":{"dtype":"F32","shape":[9223372036854775807,2],"data_offsets":[0,4]}})", four);
  refused(R"({"a":{"dtype":"F32","shape":[1e99],"data_offsets":[0,4]}})", four);
  refused(R"({"a":[)", four);
  refused(R"([])", four);
  refused(std::string(100000, '['), four);
  refused("{\"\xff\xfe\":1}", four);
  EXPECT_THROW(read_safetensors_text(std::string(8, '\xff')), FileError);
}

TEST(Safetensors, HostileContent) {
  StateDict state;
  state["w"] = Tensor::from_vector<float>({1, 2, 3, 4}, {2, 2});
  state["b"] = Tensor::from_vector<int64_t>({1}, {1});
  const std::string content = save_safetensors_to_string(state);
  expect_prefixes_refused(content, read_safetensors_text);
  run_mutations(content, 4000, 11, read_safetensors_text);
}

// --- pth -----------------------------------------------------------------------------------------

TEST(Pth, RoundTripKeepsSharedMemory) {
  const TempDir dir;
  save_pth(sample_state(), dir / "m.pth");
  const StateDict state = load_state_dict(dir / "m.pth");
  expect_equal(state, sample_state());
  EXPECT_TRUE(state.at("conv.weight").shares_storage(state.at("conv.weight_t")));
  EXPECT_FALSE(state.at("conv.weight").shares_storage(state.at("q")));
}

TEST(Pth, SmallViewsDoNotSaveTheWholeStorage) {
  const TempDir dir;
  const Tensor big = Tensor::zeros({1000, 1000});
  save_pth({{"row", big.select(0, 500)}, {"column", big.select(1, 3)}}, dir / "m.pth");
  EXPECT_LT(std::filesystem::file_size(dir / "m.pth"), 20000U);
  const StateDict state = load_state_dict(dir / "m.pth");
  EXPECT_EQ(state.at("column").sizes(), (Shape{1000}));
}

std::string archive_of(const std::string& pickle, const std::string& storage = "") {
  MemorySink sink;
  ZipWriter zip(&sink);
  zip.add("archive/data.pkl", pickle);
  if (!storage.empty()) zip.add("archive/data/0", storage);
  zip.finish();
  return sink.buffer;
}

void read_pth(const std::string& content) { read_torch_save(source_of(content), {}); }

TEST(Pth, RefusesCode) {
  const auto refused = [](const std::string& body) {
    EXPECT_THROW(read_pth(archive_of("\x80\x02" + body)), Error) << body;
  };
  EXPECT_NO_THROW(read_pth(archive_of("\x80\x02}.")));
  refused("cos\nsystem\n(X\4\0\0\0echotR.");
  refused("cposix\nsystem\n.");
  refused("c__builtin__\neval\n.");
  refused("ctorch\nFloatStorage\n.");
  refused("c__main__\nNet\n)\x81.");                                // NEWOBJ
  refused("(i__builtin__\neval\n.");                                // INST
  refused("}}b.");                                                  // BUILD on a dict
  refused("\x82\x01.");                                             // EXT1
  refused("P0\n.");                                                 // PERSID
  refused("N");                                                     // no STOP
  refused(".");                                                     // empty stack
  refused("(.");                                                    // only a mark
  refused("h\5.");                                                  // unknown memo
  refused("NR.");                                                   // REDUCE of nothing
  refused("t.");                                                    // no mark
  refused("](Nu.");                                                 // SETITEMS on a list
  refused("}(Nu.");                                                 // a key without value
  refused("X\xff\xff\xff\xff.");                                    // a string of 4 GiB
  refused("\x8a\xff.");                                             // LONG1 beyond the end
  refused(std::string("\x8a\x09") + std::string(9, '\x7f') + ".");  // beyond 64 bits
  refused("\x80\x09N.");                                            // protocol 9
  EXPECT_THROW(read_pth(archive_of("N.")), Error);
  EXPECT_THROW(read_pth("\x80\x02}."), NotImplementedError);  // not a ZIP archive
}

std::string tensor_pickle(const std::string& offset, const std::string& sizes,
                          const std::string& strides, const std::string& count = "K\4") {
  return std::string("\x80\x02") +
         "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\n"s +
         "FloatStorage\nX\1\0\0\0"s + "0X\3\0\0\0cpu"s + count + "tQ" + offset + sizes + strides +
         "\x89" + "ccollections\nOrderedDict\n)RtR.";
}

TEST(Pth, RefusesTensorsOutsideTheirStorage) {
  const std::string storage(16, '\0');
  const std::string largest = std::string("\x8a\x08") + std::string(7, '\xff') + "\x7f";
  const auto read = [&](const std::string& pickle) { read_pth(archive_of(pickle, storage)); };
  EXPECT_NO_THROW(read(tensor_pickle("K\0"s, "K\4\x85", "K\1\x85")));
  EXPECT_THROW(read(tensor_pickle("K\1", "K\4\x85", "K\1\x85")), FileError);
  EXPECT_THROW(read(tensor_pickle("K\0"s, "K\2K\2\x86", "K\3K\1\x86")), FileError);
  EXPECT_THROW(read(tensor_pickle("K\0"s, "K\4\x85", "J\xff\xff\xff\xff\x85")), FileError);
  EXPECT_THROW(read(tensor_pickle("J\xff\xff\xff\xff", "K\2\x85", "K\1\x85")), FileError);
  EXPECT_THROW(read(tensor_pickle("K\0"s, "K\4K\1\x86", "K\1\x85")), FileError);
  EXPECT_THROW(read(tensor_pickle("K\0"s, largest + "\x85", largest + "\x85")), FileError);
  EXPECT_THROW(read(tensor_pickle("K\0"s, largest + largest + "\x86", "K\0K\0\x86"s)), FileError);
  EXPECT_THROW(read(tensor_pickle(largest, "K\1\x85", "K\1\x85")), FileError);
  EXPECT_THROW(read(tensor_pickle("K\0"s, "K\4\x85", "K\1\x85", "K\5")), FileError);
}

TEST(Pth, SharedObjectsDoNotMultiply) {
  // l1 = [l0, l0], l2 = [l1, l1] ...: 2^60 elements if copied.
  std::string body = "]q\1"s;
  for (int i = 0; i < 60; ++i) body += "0]q\2(h\1h\1eq\1"s;  // '0' is POP, not allowed
  EXPECT_THROW(read_pth(archive_of("\x80\x02" + body + ".")), FileError);
  body = "]q\1"s;
  for (int i = 0; i < 60; ++i) body += "](h\1h\1eq\1"s;
  EXPECT_NO_THROW(read_pth(archive_of("\x80\x02" + body + ".")));
}

TEST(Pth, TensorsWithoutValuesAreRefusedByName) {
  const TempDir dir;
  const StateDict state = {{"bias", Tensor()}};
  const std::string path = dir / "m.pth";
  for (const auto& message :
       {testing::error_message<ValueError>([&] { save_pth(state, path); }),
        testing::error_message<ValueError>([&] { save_safetensors(state, path); }),
        testing::error_message<ValueError>([&] {
          save_full_state_dict({{"bias", {Tensor()}}}, path);
        })}) {
    EXPECT_NE(message.find("'bias'"), std::string::npos) << message;
  }
  EXPECT_EQ(dir.file_count(), 0U);
}

// By address the empty view stands between the two that overlap.
TEST(Pth, EmptyViewsDoNotSeparateTensorsThatShareMemory) {
  const TempDir dir;
  const Tensor whole = Tensor::zeros({1000});
  save_pth({{"a", whole}, {"b", whole.slice(0, 500, 500)}, {"c", whole.slice(0, 600, 1000)}},
           dir / "m.pth");
  const StateDict state = load_state_dict(dir / "m.pth");
  EXPECT_TRUE(state.at("a").shares_storage(state.at("c")));
}

// What the reader of whole state dicts says of a file that it refuses.
std::string full_state_refusal(const std::string& pickle, const LoadLimits& limits = {}) {
  return testing::error_message<FileError>([&] {
    const std::string content = archive_of("\x80\x02" + pickle + ".", std::string(16, '\0'));
    full_state_dict_of(read_torch_save(source_of(content), limits), limits);
  });
}

TEST(Pth, SharedTuplesOfStateDictsDoNotMultiply) {
  // {"a": t4}, t1 = (None x 10), t2 = (t1 x 10) ...: 42 objects, 10000 values.
  std::string tuples = "(NNNNNNNNNNtq\1";
  for (int i = 0; i < 3; ++i) tuples += "(h\1h\1h\1h\1h\1h\1h\1h\1h\1h\1tq\1";
  LoadLimits limits;
  limits.pickle_objects = 5000;
  const std::string message = full_state_refusal(tuples + "}X\1\0\0\0ah\1s"s, limits);
  EXPECT_NE(message.find("entry 'a': more than 5000 values (a limit)"), std::string::npos)
      << message;
}

TEST(Pth, SharedPairsOfDictsDoNotMultiply) {
  // One list of 100 pairs, made an OrderedDict 100 times.
  std::string body = "](NN\x86q\1" + std::string();
  for (int i = 1; i < 100; ++i) body += "h\1";
  body += "eq\2";
  for (int i = 0; i < 100; ++i) body += "ccollections\nOrderedDict\nh\2\x85R";
  LoadLimits limits;
  limits.pickle_objects = 2000;
  const std::string message = full_state_refusal(body, limits);
  EXPECT_NE(message.find("more than 2000 entries of dicts (a limit)"), std::string::npos)
      << message;
}

TEST(Pth, QuantizationSchemesAreNamed) {
  const auto quantized = [](const std::string& quantizer) {
    return "}X\1\0\0\0actorch._utils\n_rebuild_qtensor\n((X\7\0\0\0storagectorch\nQInt8Storage\n"s +
           "X\1\0\0\0"s + "0X\3\0\0\0cpuK\4tQK\0K\4\x85K\1\x85"s + quantizer +
           "\x89"
           "ccollections\nOrderedDict\n)RtRs";
  };
  const std::string half = "G?\xe0"s + std::string(6, '\0');
  EXPECT_EQ(full_state_refusal(quantized("(ctorch\nper_tensor_affine\n" + half + "K\2t")),
            "no error");
  std::string message = full_state_refusal(quantized("(ctorch\ndevice\n" + half + "K\2t"));
  EXPECT_NE(message.find("'torch device' is no quantization scheme of 3 fields"), std::string::npos)
      << message;
  message = full_state_refusal(quantized("(ctorch\nper_channel_affine\n" + half + "K\2t"));
  EXPECT_NE(message.find("'torch per_channel_affine' is no quantization scheme of 3 fields"),
            std::string::npos)
      << message;
}

TEST(Pth, LimitsAreKept) {
  LoadLimits limits;
  limits.pickle_objects = 100;
  const std::string many = archive_of("\x80\x02](" + std::string(200, 'N') + "e.");
  EXPECT_THROW(read_torch_save(source_of(many), limits), FileError);
  limits = {};
  limits.pickle_bytes = 100;
  EXPECT_THROW(read_torch_save(source_of(many), limits), FileError);
}

TEST(Pth, HostileContent) {
  const TempDir dir;
  StateDict state;
  state["w"] = Tensor::from_vector<float>({1, 2, 3, 4}, {2, 2});
  state["v"] = state["w"].select(0, 1);
  save_pth(state, dir / "m.pth");
  const std::string content = read_text(dir / "m.pth");
  expect_prefixes_refused(content, read_pth);
  run_mutations(content, 4000, 13, read_pth);
  // Checksums catch most of that; damage the pickle itself too.
  const std::string pickle(ZipReader(source_of(content)).read("archive/data.pkl").text());
  run_mutations(pickle, 20000, 17, [&](const std::string& damaged) {
    read_pth(archive_of(damaged, std::string(16, 'a')));
  });
}

}  // namespace
}  // namespace pt2q
