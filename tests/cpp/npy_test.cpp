// .npy files: every dtype, both memory orders, and damaged files.
#include "io/io.h"
#include "io_test_util.h"
#include "pt2q/io.h"

namespace pt2q {
namespace {

using pt2q_test::expect_prefixes_refused;
using pt2q_test::read_text;
using pt2q_test::run_mutations;
using pt2q_test::source_of;
using pt2q_test::TempDir;
using pt2q_test::values_of;

// A version 1 file with the given header text and data.
std::string npy_file(std::string header, const std::string& data) {
  header += '\n';
  std::string out("\x93NUMPY\x01", 7);
  out += '\0';
  out += static_cast<char>(header.size());
  out += '\0';
  return out + header + data;
}

Tensor parse(const std::string& content) { return load_npy(source_of(content), {}); }

TEST(Npy, RoundTripOfEveryDtype) {
  const TempDir dir;
  for (const DType dtype :
       {DType::Float32, DType::Float64, DType::Float16, DType::UInt8, DType::Int8, DType::UInt16,
        DType::Int16, DType::Int32, DType::Int64, DType::Bool}) {
    const Tensor t = Tensor::from_vector<float>({0, 1, 0, 100, 5, 1}, {2, 3}).to(dtype);
    save_npy(t, dir / "a.npy");
    const Tensor back = load_npy(dir / "a.npy");
    EXPECT_EQ(back.dtype(), dtype);
    EXPECT_EQ(back.sizes(), t.sizes());
    EXPECT_EQ(values_of<double>(back.to(DType::Float64)), values_of<double>(t.to(DType::Float64)));
  }
}

TEST(Npy, ShapesAndStrides) {
  const TempDir dir;
  const Tensor base = Tensor::from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  for (const Tensor& t : {base.transpose(0, 1), base.slice(1, 0, 3, 2), base.reshape({6}),
                          Tensor::scalar(7), Tensor::empty({0, 4})}) {
    save_npy(t, dir / "a.npy");
    const std::string content = read_text(dir / "a.npy");
    EXPECT_EQ((content.size() - static_cast<size_t>(t.nbytes())) % 64, 0U);
    const Tensor back = load_npy(dir / "a.npy");
    EXPECT_EQ(back.sizes(), t.sizes());
    EXPECT_EQ(values_of<float>(back), values_of<float>(t));
  }
}

TEST(Npy, FortranOrderAndOtherSpellings) {
  const Tensor t = parse(npy_file("{\"shape\":(2,3),'fortran_order': True,'descr':'|u1'}",
                                  std::string("\1\2\3\4\5\6", 6)));
  EXPECT_EQ(t.sizes(), (Shape{2, 3}));
  EXPECT_EQ(values_of<uint8_t>(t), (std::vector<uint8_t>{1, 3, 5, 2, 4, 6}));
}

TEST(Npy, BadFilesAreNamed) {
  const auto refused = [](const std::string& content, const std::string& part) {
    try {
      parse(content);
      ADD_FAILURE() << "accepted: " << part;
    } catch (const Error& e) {
      EXPECT_NE(e.message().find(part), std::string::npos) << e.what();
      EXPECT_NE(e.message().find("test.bin"), std::string::npos) << e.what();
    }
  };
  const std::string good = "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }";
  EXPECT_EQ(parse(npy_file(good, "abcd")).numel(), 4);
  refused("PK\3\4 is a zip file", "not a .npy file");
  refused(npy_file(good, "abc"), "needs 4 bytes, but the file has 3");
  refused(npy_file(good, "abcde"), "needs 4 bytes, but the file has 5");
  refused(npy_file("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "abcd"), "'>f4'");
  refused(npy_file("{'descr': '|u1', 'shape': (4,), }", "abcd"), "malformed");
  refused(npy_file("{'descr': '|u1', 'fortran_order': 0, 'shape': (4,), }", "abcd"), "malformed");
  refused(npy_file("{'descr': '|u1', 'fortran_order': False, 'shape': (-4,), }", "abcd"),
          "malformed");
  refused(npy_file("{'descr': '|u1', 'fortran_order': False, "
                   "'shape': (999999999999999999, 999999999999999999), }",
                   "abcd"),
          "exceeds");
  expect_prefixes_refused(npy_file(good, "abcd"), [](const std::string& c) { parse(c); });
  run_mutations(npy_file(good, "abcd"), 2000, 1, [](const std::string& c) { parse(c); });
}

TEST(Npy, SavingBfloat16IsRefused) {
  const TempDir dir;
  EXPECT_THROW(save_npy(Tensor::zeros({2}, DType::BFloat16), dir / "a.npy"), ValueError);
  EXPECT_EQ(dir.file_count(), 0U);
  EXPECT_THROW(load_npy(dir / "missing.npy"), FileError);
}

}  // namespace
}  // namespace pt2q
