// Thousands of damaged files: each must be read or be refused with a CheckpointError, and what was
// read must lie within the file. Run under the address sanitizer, this is the test of every bound.

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "io/files.h"
#include "io/safetensors.h"
#include "io/safetensors_bytes.h"
#include "pcpp/error.h"

namespace pcpp {
namespace {

constexpr int kMutations = 4000;

std::string original() {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b":{"dtype":"F16","shape":[4],"data_offsets":[24,32]},)"
      R"("c":{"dtype":"BOOL","shape":[],"data_offsets":[32,33]}})";
  return testing::safetensors_bytes(header, std::string(33, '\x01'));
}

class Mutator {
 public:
  explicit Mutator(std::uint32_t seed) : engine_(seed) {}

  std::string operator()(std::string bytes) {
    for (int i = below(3) + 1; i > 0; --i) mutate(bytes);
    return bytes;
  }

 private:
  int below(std::size_t limit) {
    return static_cast<int>(
        std::uniform_int_distribution<std::size_t>(0, limit == 0 ? 0 : limit - 1)(engine_));
  }

  void mutate(std::string& bytes) {
    static const std::vector<std::string> fragments = {"[",
                                                       "]",
                                                       "{",
                                                       "}",
                                                       ",",
                                                       ":",
                                                       "\"",
                                                       "-1",
                                                       "0",
                                                       "1",
                                                       "9",
                                                       "1e9",
                                                       "18446744073709551615",
                                                       "9223372036854775807",
                                                       "\"F64\"",
                                                       "\"a\"",
                                                       "null",
                                                       "[]",
                                                       "{}",
                                                       "\"shape\"",
                                                       "\\u0000"};
    const auto position = static_cast<std::size_t>(below(bytes.size()));
    switch (below(6)) {
      case 0:
        if (!bytes.empty()) bytes[position] = static_cast<char>(below(256));
        break;
      case 1:
        bytes.insert(position, fragments[static_cast<std::size_t>(below(fragments.size()))]);
        break;
      case 2:
        bytes.erase(position, static_cast<std::size_t>(below(12)));
        break;
      case 3:
        bytes.resize(position);
        break;
      case 4: {  // an interesting header length
        const std::uint64_t length = std::uint64_t{1} << below(64);
        if (bytes.size() >= sizeof(length)) std::memcpy(bytes.data(), &length, sizeof(length));
        break;
      }
      default:
        bytes.insert(position, bytes.substr(static_cast<std::size_t>(below(bytes.size())),
                                            static_cast<std::size_t>(below(64))));
    }
  }

  std::mt19937 engine_;
};

// Puts the true header length in front, so that damage after it is reached.
void mend_length(std::string& bytes, std::size_t data_size) {
  if (bytes.size() < 8 + data_size) return;
  const std::uint64_t length = bytes.size() - 8 - data_size;
  std::memcpy(bytes.data(), &length, sizeof(length));
}

TEST(SafetensorsFuzzTest, DamagedFilesAreReadOrRefused) {
  const testing::TemporaryFolder folder;
  Mutator mutator(20241203);
  int read_count = 0;
  for (int i = 0; i < kMutations; ++i) {
    std::string bytes = mutator(original());
    if (i % 2 == 0) mend_length(bytes, 33);
    const auto path = folder.write("damaged.safetensors", bytes);
    try {
      const SafetensorsFile file = SafetensorsFile::open(path);
      ++read_count;
      std::size_t total = 0;
      unsigned sum = 0;
      for (const auto& [name, tensor] : file.tensors()) {
        total += tensor.bytes.size();
        for (const std::byte value : tensor.bytes) sum += static_cast<unsigned>(value);
      }
      EXPECT_LE(total, bytes.size());
      EXPECT_LE(sum, 255U * bytes.size());
    } catch (const CheckpointError&) {
    }
  }
  // Most damage must be noticed, and harmless changes (of a name, of data) must pass.
  EXPECT_GT(read_count, kMutations / 100);
  EXPECT_LT(read_count, kMutations / 2);
}

}  // namespace
}  // namespace pcpp
