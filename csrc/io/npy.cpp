// NumPy's .npy files: a magic, a Python dictionary literal that describes the array, the data.
#include <cctype>

#include "base/file.h"
#include "base/strings.h"
#include "io/io.h"
#include "io/storage.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignment = 64;

struct TypeCode {
  const char* code;
  DType dtype;
};
constexpr TypeCode kTypes[] = {
    {"<f4", DType::Float32}, {"<f8", DType::Float64}, {"<f2", DType::Float16},
    {"|u1", DType::UInt8},   {"|i1", DType::Int8},    {"<u2", DType::UInt16},
    {"<i2", DType::Int16},   {"<i4", DType::Int32},   {"<i8", DType::Int64},
    {"|b1", DType::Bool},
};

DType parse_type(const std::string& code) {
  for (const TypeCode& type : kTypes) {
    if (code == type.code) return type.dtype;
  }
  throw NotImplementedError(cat("arrays of type '", code.substr(0, 20), "' are not supported"),
                            "save it as little-endian float32 or an integer type");
}

struct NpyHeader {
  std::string type;
  bool fortran_order = false;
  Shape sizes;
};

// The header's grammar: {'key': value, ...} with a string, a boolean or a tuple of integers.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  NpyHeader parse() {
    NpyHeader header;
    int found = 0;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        header.type = quoted();
      } else if (key == "fortran_order") {
        header.fortran_order = boolean();
      } else if (key == "shape") {
        header.sizes = tuple();
      } else {
        fail();
      }
      ++found;
      if (!accept(',') && peek() != '}') fail();
    }
    if (peek() != '\0' || found != 3 || header.type.empty()) fail();
    return header;
  }

 private:
  [[noreturn]] void fail() const {
    throw FileError(cat("malformed array header at position ", at_));
  }
  char peek() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail();
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail();
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail();
    const std::string out(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return out;
  }
  bool boolean() {
    peek();
    for (const auto& [word, value] :
         {std::pair<std::string_view, bool>("True", true), {"False", false}}) {
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return value;
    }
    fail();
  }
  Shape tuple() {
    Shape out;
    expect('(');
    while (!accept(')')) {
      int64_t value = 0;
      size_t digits = 0;
      for (peek(); at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) != 0;
           ++at_) {
        if (++digits > 18) fail();
        value = value * 10 + (text_[at_] - '0');
      }
      if (digits == 0) fail();
      out.push_back(value);
      if (!accept(',') && peek() != ')') fail();
    }
    return out;
  }

  std::string_view text_;
  size_t at_ = 0;
};

Tensor read_npy(const Source& source, const LoadLimits& limits) {
  if (source.size() > limits.file_bytes) throw FileError("it exceeds the file size limit");
  if (source.size() < 10 || source.read(0, kMagic.size()).text() != kMagic)
    throw FileError("it is not a .npy file");
  const Bytes version = source.read(6, 2);
  const bool wide = version.data()[0] >= 2;
  if (version.data()[0] < 1 || version.data()[0] > 3)
    throw NotImplementedError(cat("version ", int{version.data()[0]}, " of the .npy format"));
  const Bytes prefix = source.read(8, wide ? 4 : 2);
  ByteReader reader(prefix, "header length");
  const uint64_t length = wide ? reader.u32() : reader.u16();
  const uint64_t start = (wide ? 12 : 10) + length;
  if (length > limits.header_bytes || start > source.size())
    throw FileError(cat("damaged: its header would have ", length, " bytes"));
  const Bytes text = source.read(wide ? 12 : 10, static_cast<size_t>(length));
  const NpyHeader header = HeaderParser(text.text()).parse();
  const DType dtype = parse_type(header.type);
  const uint64_t bytes = checked_bytes(header.sizes, dtype, limits);
  if (source.size() - start != bytes) {
    throw FileError(cat("an array of shape ", list_to_string(header.sizes), " needs ", bytes,
                        " bytes, but the file has ", source.size() - start));
  }
  FileStorage storage(source.read(start, static_cast<size_t>(bytes)));
  Shape strides = contiguous_strides(header.sizes);
  if (header.fortran_order) {
    const Shape reversed(header.sizes.rbegin(), header.sizes.rend());
    const Shape backwards = contiguous_strides(reversed);
    strides.assign(backwards.rbegin(), backwards.rend());
  }
  return storage.view(dtype, header.sizes, strides, 0, limits).contiguous();
}

std::string npy_header(const Tensor& tensor) {
  const char* code = nullptr;
  for (const TypeCode& type : kTypes) {
    if (type.dtype == tensor.dtype()) code = type.code;
  }
  if (code == nullptr) {
    throw ValueError(cat(".npy files cannot hold dtype ", dtype_name(tensor.dtype())),
                     "convert it to float32 first");
  }
  std::string shape;
  for (const int64_t size : tensor.sizes()) shape += cat(size, ", ");
  if (shape.size() > 2) shape.resize(shape.size() - (tensor.dim() == 1 ? 1 : 2));
  std::string text =
      cat("{'descr': '", code, "', 'fortran_order': False, 'shape': (", shape, "), }");
  text.append(kAlignment - (10 + text.size()) % kAlignment - 1, ' ');
  text += '\n';
  return text;
}

}  // namespace

Tensor load_npy(const std::string& path, const LoadLimits& limits) {
  return load_npy(open_file(path), limits);
}

Tensor load_npy(const std::shared_ptr<Source>& source, const LoadLimits& limits) {
  return in_file(source->name(), [&] { return read_npy(*source, limits); });
}

void save_npy(const Tensor& tensor, const std::string& path) {
  const Tensor plain = tensor.contiguous();
  const std::string header = npy_header(plain);
  AtomicFile file(path);
  file.write(kMagic);
  const char prefix[4] = {1, 0, static_cast<char>(header.size() & 0xff),
                          static_cast<char>(header.size() >> 8)};
  file.write(prefix, sizeof(prefix));
  file.write(header);
  file.write(plain.raw_data(), static_cast<size_t>(plain.nbytes()));
  file.commit();
}

}  // namespace pt2q
