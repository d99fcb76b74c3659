#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "io/files.h"
#include "io/safetensors_bytes.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;
using testing::resident_bytes;
using testing::safetensors_bytes;
using testing::TemporaryFolder;

constexpr std::string_view kOneTensor = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

class SafetensorsTest : public ::testing::Test {
 protected:
  // Expects that a file with these bytes is refused with its path and each of `parts`.
  void expect_refused(const std::string& bytes, std::initializer_list<std::string_view> parts) {
    const std::filesystem::path path = folder_.write("bad.safetensors", bytes);
    expect_error<CheckpointError>([&] { SafetensorsFile::open(path); }, parts);
    expect_error<CheckpointError>([&] { SafetensorsFile::open(path); }, {path.string()});
  }
  // The same for a header over 8 bytes of data.
  void expect_header_refused(std::string_view header,
                             std::initializer_list<std::string_view> parts) {
    expect_refused(safetensors_bytes(header, std::string(8, '\0')), parts);
  }

  TemporaryFolder folder_;
};

template <typename T>
TensorView view_of(DType dtype, std::vector<std::int64_t> shape, const std::vector<T>& values) {
  return {dtype, std::move(shape), std::as_bytes(std::span(values))};
}

TEST_F(SafetensorsTest, GivesTheMemoryOfAReleasedTensorBack) {
  const std::vector<float> values(1 << 20, 1.5F);
  const std::vector<float> others(1 << 20, 2.5F);
  const auto path = folder_.path() / "large.safetensors";
  write_safetensors(path, {{"a", view_of(DType::f32, {1 << 20}, values)},
                           {"b", view_of(DType::f32, {1 << 20}, others)}});
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::vector<float> read(values.size());
  for (const char* name : {"a", "b"}) to_float(file.tensors().at(name), name, read);
  const std::size_t both = resident_bytes(path);
  EXPECT_GE(both, 8U << 20);
  file.release(file.tensors().at("a"));
  EXPECT_LE(resident_bytes(path), both - (4U << 20));
  EXPECT_GE(resident_bytes(path), (4U << 20) - 65536U);
  file.release(view_of(DType::f32, {1 << 20}, values));  // not of the file
  EXPECT_EQ(values[5], 1.5F);
  to_float(file.tensors().at("a"), "a", read);
  EXPECT_EQ(read, values);
}

TEST_F(SafetensorsTest, ReadsWhatTheFormatDescribes) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I64","shape":[],"data_offsets":[8,16]},)"
      R"("empty":{"dtype":"F16","shape":[0,3],"data_offsets":[8,8]},)"
      R"("a":{"shape":[2,1],"data_offsets":[0,8],"dtype":"F32"}}   )";
  const std::vector<float> values = {1.5F, -2.0F};
  const std::int64_t scalar = -7;
  std::string data(reinterpret_cast<const char*>(values.data()), 8);
  data.append(reinterpret_cast<const char*>(&scalar), 8);
  const auto path = folder_.write("good.safetensors", safetensors_bytes(header, data));

  const SafetensorsFile file = SafetensorsFile::open(path);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.tensors().size(), 3U);
  const TensorView& a = file.tensors().at("a");
  EXPECT_EQ(a.dtype, DType::f32);
  EXPECT_EQ(a.shape, (std::vector<std::int64_t>{2, 1}));
  std::vector<float> read(2);
  to_float(a, "a", read);
  EXPECT_EQ(read, values);
  EXPECT_EQ(file.tensors().at("b").element_count(), 1);
  EXPECT_EQ(std::memcmp(file.tensors().at("b").bytes.data(), &scalar, 8), 0);
  EXPECT_EQ(file.tensors().at("empty").element_count(), 0);
}

TEST_F(SafetensorsTest, ViewsOutliveTheObjectThatACopyWasMadeOf) {
  const auto path =
      folder_.write("w.safetensors", safetensors_bytes(kOneTensor, std::string(8, '\x01')));
  SafetensorsFile copy = [&] {
    SafetensorsFile original = SafetensorsFile::open(path);
    return SafetensorsFile(original);
  }();
  EXPECT_EQ(copy.tensors().at("w").bytes[7], std::byte{1});
}

TEST_F(SafetensorsTest, RefusesTruncatedAndOversizedFiles) {
  expect_refused("", {"0 bytes"});
  expect_refused("1234567", {"7 bytes"});
  expect_refused(safetensors_bytes(kOneTensor, "", 1 << 20), {"1048576", "cut short"});
  expect_refused(safetensors_bytes(kOneTensor, "", std::numeric_limits<std::int64_t>::max()),
                 {"9223372036854775807"});
  expect_refused(safetensors_bytes(kOneTensor, "", -2 & 0x7FFFFFFFFFFFFFFF), {"cut short"});
  expect_refused(safetensors_bytes(kOneTensor, std::string(7, '\0')),
                 {"'w'", "data_offsets", "[0,8]", "7 data bytes"});
  expect_refused(safetensors_bytes(kOneTensor, std::string(9, '\0')), {"8 of 9", "left over"});
}

TEST_F(SafetensorsTest, SaysWhatIsNoSafetensorsFile) {
  const auto expect_named = [&](const std::string& bytes, const char* kind) {
    const auto file = folder_.write("other.safetensors", bytes);
    expect_error<CheckpointError>([&] { SafetensorsFile::open(file); },
                                  {"other.safetensors", kind});
  };
  expect_named("PK\x03\x04 a zipped pickle", "a pickled file");
  expect_named("\x80\x02}q an old one", "a pickled file");
  expect_named("GGUF\x03 and more", "a GGUF file");
  expect_named("version https://git-lfs.github.com/spec/v1\noid", "git's pointer");
  expect_named("<!DOCTYPE html><html>", "a web page");
  expect_named("PK\x03\x04", "too few");
}

TEST_F(SafetensorsTest, RefusesAHeaderBeyondTheLimitOfTheFormat) {
  const auto path = folder_.write("huge.safetensors", safetensors_bytes("{", "", 100'000'001));
  std::filesystem::resize_file(path, 200'000'000);
  expect_error<CheckpointError>([&] { SafetensorsFile::open(path); }, {"100000001", "100000000"});
}

TEST_F(SafetensorsTest, RefusesHeadersThatAreNotAnObject) {
  expect_header_refused("", {"must be a JSON object"});
  expect_header_refused("[]", {"must be a JSON object"});
  expect_header_refused(" {}", {"must be a JSON object"});
  expect_header_refused("{\"w\":", {"not valid JSON", "column"});
  expect_header_refused("{} {}", {"not valid JSON"});
  expect_header_refused("{\"\xff\":1}", {"not valid JSON", "UTF-8"});
  expect_header_refused(R"({"w":1})", {"'w'", "must be an object"});
  expect_header_refused(R"({"__metadata__":[]})", {"__metadata__", "object"});
  expect_header_refused(R"({"__metadata__":{"a":1}})", {"__metadata__", "'a'", "strings"});
  expect_header_refused("{\"w\":" + std::string(1000, '['), {"deeper than 64"});
}

TEST_F(SafetensorsTest, TakesNoMetadataForNone) {
  const auto path =
      folder_.write("null.safetensors", safetensors_bytes(R"({"__metadata__":null})", ""));
  EXPECT_TRUE(SafetensorsFile::open(path).metadata().empty());
}

TEST_F(SafetensorsTest, RefusesDuplicateNames) {
  expect_header_refused(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                        R"("w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                        {"\"w\"", "twice"});
  expect_header_refused(R"({"w":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                        {"\"dtype\"", "twice"});
}

TEST_F(SafetensorsTest, RefusesMislabelledTensors) {
  expect_header_refused(R"({"w":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})",
                        {"'w'", "dtype", "F31", "BF16"});
  expect_header_refused(R"({"w":{"dtype":5,"shape":[2],"data_offsets":[0,8]}})", {"dtype is 5"});
  expect_header_refused(R"({"w":{"dtype":"F16","shape":[2],"data_offsets":[0,8]}})",
                        {"'w'", "F16 [2] needs 4 bytes"});
  expect_header_refused(R"({"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
                        {"F32 [3] needs 12 bytes"});
  expect_header_refused(R"({"w":{"shape":[2],"data_offsets":[0,8]}})", {"'w'", "no dtype"});
  expect_header_refused(R"({"w":{"dtype":"F32","data_offsets":[0,8]}})", {"no shape"});
  expect_header_refused(R"({"w":{"dtype":"F32","shape":[2]}})", {"no data_offsets"});
  expect_header_refused(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]}})",
                        {"'w'", "strides"});
}

TEST_F(SafetensorsTest, RefusesShapesThatAreNotSizes) {
  for (const char* shape : {"[-2]", "[2.0]", "\"2\"", "[null]", "2", "[18446744073709551615]",
                            "[99999999999999999999999]"}) {
    expect_header_refused(
        std::string(R"({"w":{"dtype":"F32","shape":)") + shape + R"(,"data_offsets":[0,8]}})",
        {"'w'", "shape", "integers of at least 0"});
  }
  expect_header_refused(
      R"({"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})",
      {"'w'", "63 bits"});
  // 4 * 2^62 wraps to 0 in 64 bits.
  expect_header_refused(
      R"({"w":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})",
      {"'w'", "63 bits"});
}

TEST_F(SafetensorsTest, RefusesOffsetsOutsideTheData) {
  for (const char* offsets : {"[0,16]", "[8,0]", "[18446744073709551608,0]"}) {
    expect_header_refused(
        std::string(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":)") + offsets + "}}",
        {"'w'", "data_offsets", "within the 8 data bytes"});
  }
  for (const char* offsets : {"[-8,0]", "[0]", "[0,4,8]", "8", "[0,\"8\"]", "[0,8.0]"}) {
    expect_header_refused(
        std::string(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":)") + offsets + "}}",
        {"'w'", "data_offsets", "two integers"});
  }
}

TEST_F(SafetensorsTest, RefusesOverlapsAndHoles) {
  expect_header_refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                        R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                        {"'b'", "byte 4", "overlap"});
  expect_header_refused(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                        R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                        {"'b'", "between tensors"});
  expect_header_refused(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                        {"'b'", "between tensors"});
  expect_header_refused("{}", {"0 of 8"});
}

TEST_F(SafetensorsTest, RefusesWhatIsNoRegularFile) {
  expect_error<CheckpointError>([&] { SafetensorsFile::open(folder_.path() / "none"); },
                                {"none", "No such file"});
  expect_error<CheckpointError>([&] { SafetensorsFile::open(folder_.path()); }, {"regular file"});
}

TEST_F(SafetensorsTest, BoundsTheRankOfATensor) {
  const auto header = [](std::size_t rank) {
    std::string shape = "2";
    for (std::size_t i = 1; i < rank; ++i) shape += ",1";
    return R"({"w":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[0,8]}})";
  };
  const auto path =
      folder_.write("good.safetensors", safetensors_bytes(header(64), std::string(8, '\0')));
  EXPECT_EQ(SafetensorsFile::open(path).tensors().at("w").shape.size(), 64U);
  expect_header_refused(header(65), {"'w'", "65 extents; at most 64"});
}

TEST_F(SafetensorsTest, ErrorsQuoteTheFileInPart) {
  const std::string name = std::string(100'000, 'x') + "\\u001b\\n";
  const std::string tensor = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  std::string extents = "1000000";
  for (int i = 0; i < 50; ++i) extents += ",10000";
  for (const std::string& header :
       {R"({"\n)" + name + R"(":{"dtype":"F32","shape":[2]}})",
        R"({"\n)" + name + R"(":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
        R"({"\n)" + name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
        R"({"w":{")" + name + R"(":0}})",
        R"({"w":)" + tensor + R"(,"__metadata__":{")" + name + R"(":0}})",
        R"({"w":{"dtype":"F32","shape":[0,)" + extents + R"(],"data_offsets":[0,8]}})"}) {
    const auto path =
        folder_.write("bad.safetensors", safetensors_bytes(header, std::string(8, '\0')));
    testing::expect_short_error<CheckpointError>([&] { SafetensorsFile::open(path); });
  }
}

TEST_F(SafetensorsTest, WritesWhatItReads) {
  const std::vector<std::uint8_t> bytes = {1, 2, 3};
  const std::vector<float> floats = {1, 2, 3, 4};
  const std::vector<double> doubles = {0.5};
  const std::map<std::string, TensorView> tensors = {
      {"a.bytes", view_of(DType::u8, {3}, bytes)},
      {"b.floats", view_of(DType::f32, {2, 2}, floats)},
      {"c.doubles", view_of(DType::f64, {}, doubles)},
      {"d.empty", {DType::f16, {0}, {}}}};
  const auto path = folder_.path() / "out.safetensors";
  write_safetensors(path, tensors, {{"note", "h\u00e9"}});

  const SafetensorsFile file = SafetensorsFile::open(path);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"note", "h\u00e9"}}));
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const TensorView& read = file.tensors().at(name);
    EXPECT_EQ(read.dtype, tensor.dtype);
    EXPECT_EQ(read.shape, tensor.shape);
    ASSERT_EQ(read.bytes.size(), tensor.bytes.size());
    EXPECT_TRUE(std::ranges::equal(read.bytes, tensor.bytes)) << name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(read.bytes.data()) % size_of(read.dtype), 0U);
  }
}

TEST_F(SafetensorsTest, WritesNothingThatItWouldRefuse) {
  const std::vector<float> floats = {1, 2};
  const auto path = folder_.path() / "out.safetensors";
  expect_error<ConfigError>(
      [&] {
        write_safetensors(path, {{"w", view_of(DType::f32, {3}, floats)}});
      },
      {"'w'", "F32 [3]", "8 bytes"});
  expect_error<ConfigError>(
      [&] {
        write_safetensors(path, {{"w", view_of(DType::f32, {-1, -2}, floats)}});
      },
      {"'w'"});
  expect_error<ConfigError>(
      [&] {
        write_safetensors(path, {{"__metadata__", view_of(DType::f32, {2}, floats)}});
      },
      {"__metadata__"});
  expect_error<ConfigError>(
      [&] {
        write_safetensors(path, {{"\xff", view_of(DType::f32, {2}, floats)}});
      },
      {"UTF-8"});
  EXPECT_EQ(folder_.entry_count(), 0U);
}

TEST(ToFloatTest, HalvesAreExact) {
  std::vector<std::uint16_t> halves(65536);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
  std::vector<float> values(halves.size());
  to_float(view_of(DType::f16, {65536}, halves), "w", values);
  for (int i = 0; i < 65536; ++i) {
    const int exponent = (i >> 10) & 31;
    const int fraction = i & 1023;
    const float value = values[static_cast<std::size_t>(i)];
    EXPECT_EQ(std::signbit(value), i >= 32768) << i;
    if (exponent == 31) {
      EXPECT_TRUE(fraction == 0 ? std::isinf(value) : std::isnan(value)) << i;
    } else {
      const double magnitude =
          exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
      EXPECT_EQ(std::fabs(value), magnitude) << i;
    }
  }
}

// arXiv 2209.05433, table 1.
TEST(ToFloatTest, EightBitsAreExact) {
  const std::vector<std::uint8_t> e4m3 = {0x00, 0x80, 0x01, 0x07, 0x08, 0x38, 0xC4, 0x7E};
  const std::vector<std::uint8_t> e5m2 = {0x00, 0x80, 0x01, 0x03, 0x04, 0x3C, 0xC2, 0x7B};
  std::vector<float> values(8);
  to_float(view_of(DType::f8_e4m3, {8}, e4m3), "w", values);
  EXPECT_EQ(values, (std::vector<float>{0, -0.0F, 0x1p-9F, 7 * 0x1p-9F, 0x1p-6F, 1, -3, 448}));
  EXPECT_TRUE(std::signbit(values[1]));
  to_float(view_of(DType::f8_e5m2, {8}, e5m2), "w", values);
  EXPECT_EQ(values, (std::vector<float>{0, -0.0F, 0x1p-16F, 3 * 0x1p-16F, 0x1p-14F, 1, -3, 57344}));
  values.resize(2);
  to_float(view_of(DType::f8_e4m3, {2}, std::vector<std::uint8_t>{0x7F, 0xFF}), "w", values);
  EXPECT_TRUE(std::isnan(values[0]) && std::isnan(values[1]));
  to_float(view_of(DType::f8_e5m2, {2}, std::vector<std::uint8_t>{0x7C, 0x7D}), "w", values);
  EXPECT_TRUE(std::isinf(values[0]) && std::isnan(values[1]));
}

TEST(ToFloatTest, ReadsUnalignedValuesOfEachFloatingType) {
  const double number = 1.0 + 0x1p-30;
  std::vector<std::byte> bytes(9);
  std::memcpy(bytes.data() + 1, &number, 8);
  float value = 0;
  to_float({DType::f64, {1}, std::span(bytes).subspan(1)}, "w", {&value, 1});
  EXPECT_EQ(value, 1.0F);
  const std::uint16_t brain = 0xC040;
  std::memcpy(bytes.data() + 1, &brain, 2);
  to_float({DType::bf16, {1}, std::span(bytes).subspan(1, 2)}, "w", {&value, 1});
  EXPECT_EQ(value, -3.0F);
}

TEST(ToFloatTest, RefusesIntegersByName) {
  const std::vector<std::int64_t> values = {1};
  float value = 0;
  expect_error<CheckpointError>(
      [&] {
        to_float(view_of(DType::i64, {1}, values), "position_ids", {&value, 1});
      },
      {"position_ids", "I64", "floating-point"});
}

}  // namespace
}  // namespace pcpp
