// What is in memory: files mapped in place, and weights that compiling shares.
#include "base/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/zip.h"
#include "error_message.h"
#include "graph_builder.h"
#include "io_test_util.h"
#include "pt2q/error.h"
#include "pt2q/io.h"

namespace pt2q::testing {
namespace {

using pt2q_test::read_text;
using pt2q_test::TempDir;
using pt2q_test::write_text;

// KiB of the mapping of `path` that are in memory.
size_t resident_kib(const std::string& path) {
  std::ifstream maps("/proc/self/smaps");
  size_t total = 0;
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') != std::string::npos && line.find(':') > line.find('-'))
      inside = line.size() >= path.size() && line.substr(line.size() - path.size()) == path;
    if (inside && line.rfind("Rss:", 0) == 0) total += std::stoul(line.substr(4));
  }
  return total;
}

uint64_t sum_of(const Bytes& bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) sum += bytes.data()[i];
  return sum;
}

TEST(MappedFile, PagesLeaveMemoryAndComeBack) {
  const TempDir dir;
  const std::string path = dir / "big.bin";
  write_text(path, std::string(1 << 20, 'x'));
  const auto file = map_file(path);
  const Bytes bytes = file->view(0, 1 << 20);
  EXPECT_TRUE(bytes.read_only());
  const uint64_t sum = sum_of(bytes);
  EXPECT_EQ(resident_kib(path), 1024U);
  release_pages(bytes.data() + 100, (1 << 20) - 100);
  EXPECT_EQ(resident_kib(path), 4U);  // the page that is needed in part
  release_pages(bytes.data(), 1 << 20);
  EXPECT_EQ(resident_kib(path), 0U);
  EXPECT_EQ(sum_of(bytes), sum);
}

TEST(MappedFile, ReleasingOtherMemoryDoesNothing) {
  std::vector<char> heap(1 << 16, 'x');
  release_pages(heap.data(), heap.size());
  release_pages(nullptr, 0);
  EXPECT_EQ(std::count(heap.begin(), heap.end(), 'x'), 1 << 16);
}

TEST(MappedFile, ViewsOutliveTheSourceAndTheFile) {
  const TempDir dir;
  const std::string path = dir / "file.bin";
  write_text(path, std::string(8192, 'a'));
  Bytes bytes = map_file(path)->view(64, 128);
  write_text(dir / "new", std::string(8192, 'b'));
  ASSERT_EQ(std::rename((dir / "new").c_str(), path.c_str()), 0);
  EXPECT_EQ(bytes.text(), std::string(128, 'a'));
}

TEST(MappedFile, UnalignedRangesAreCopiedAndBadOnesRefused) {
  const TempDir dir;
  write_text(dir / "file.bin", std::string(100, 'a'));
  const auto file = map_file(dir / "file.bin");
  EXPECT_FALSE(file->view(3, 10).read_only());
  EXPECT_NE(error_message<FileError>([&] { file->view(64, 50); }).find("file.bin"),
            std::string::npos);
  EXPECT_NE(error_message<FileError>([&] { map_file(dir / "missing"); }).find("No such file"),
            std::string::npos);
  write_text(dir / "empty", "");
  EXPECT_EQ(map_file(dir / "empty")->size(), 0U);
}

// A quantized network whose weights fill many pages: touching one brings its neighbours too.
std::unique_ptr<GraphModule> network() {
  auto m = make_resnet(1, {1}, false, false, 16, 256);
  auto quantized = quantize_graph(*m, random_tensor({1, 3, 16, 16}, 11));
  quantized->graph().eliminate_dead_code();
  quantized->delete_unused();
  return quantized;
}

TEST(MappedModel, GivesTheSameBitsAndLeavesMemory) {
  const TempDir dir;
  const std::string path = dir / "m.pt2";
  save_pt2(*network(), path);
  const Tensor x = random_tensor({1, 3, 16, 16}, 12);
  const Tensor expected = first((*compile(*load_pt2(path)))({x}));
  const auto mapped = map_pt2(path);
  size_t bytes = 0, read_only = 0;
  for (const std::string& name : mapped->attr_names()) {
    const Tensor& t = mapped->attr(name).tensor;
    bytes += static_cast<size_t>(t.nbytes());
    read_only += t.is_read_only() ? static_cast<size_t>(t.nbytes()) : 0;
  }
  EXPECT_GT(bytes, 100000U);
  EXPECT_EQ(read_only, bytes);
  auto compiled = compile(*mapped);
  EXPECT_TRUE(same_bits(first((*compiled)({x})), expected));
  EXPECT_LT(resident_kib(path) * 1024, bytes / 2);
  EXPECT_TRUE(same_bits(first(run(*mapped, {x})), first(run(*load_pt2(path), {x}))));
}

TEST(MappedModel, WeightsCannotBeWritten) {
  const TempDir dir;
  save_pt2(*network(), dir / "m.pt2");
  const auto mapped = map_pt2(dir / "m.pt2");
  Tensor t = mapped->attr(mapped->attr_names()[0]).tensor;
  EXPECT_NE(error_message<ValueError>([&] { t.raw_mutable_data(); }).find("read-only"),
            std::string::npos);
  const auto copy = mapped->deep_copy();
  EXPECT_NO_THROW(Tensor(copy->attr(copy->attr_names()[0]).tensor).raw_mutable_data());
}

TEST(MappedModel, DamagedWeightsAreRefused) {
  const TempDir dir;
  save_pt2(*network(), dir / "m.pt2");
  std::string text = read_text(dir / "m.pt2");
  size_t largest = 0;
  uint64_t at = 0;
  const ZipReader zip(open_file(dir / "m.pt2"));
  for (const ZipEntry& e : zip.entries()) {
    if (e.size > largest) at = e.data_offset + e.size / 2;
    largest = std::max<size_t>(largest, e.size);
  }
  text[at] = static_cast<char>(text[at] + 1);
  write_text(dir / "bad.pt2", text);
  const std::string message = error_message<FileError>([&] { map_pt2(dir / "bad.pt2"); });
  EXPECT_NE(message.find("checksum"), std::string::npos) << message;
  EXPECT_NE(message.find("bad.pt2"), std::string::npos) << message;
}

TEST(Compile, SharesTheWeights) {
  const auto model = network();
  std::vector<const void*> mine;
  for (const std::string& name : model->attr_names())
    mine.push_back(model->attr(name).tensor.raw_data());
  auto compiled = compile(*model);
  size_t shared = 0;
  for (const std::string& name : compiled->module().attr_names()) {
    const Tensor& t = compiled->module().attr(name).tensor;
    if (t.dtype() != DType::Int8) continue;
    EXPECT_EQ(std::count(mine.begin(), mine.end(), t.raw_data()), 1) << name;
    ++shared;
  }
  EXPECT_GT(shared, 2U);
}

}  // namespace
}  // namespace pt2q::testing
