// Files of textual inversion, and the words that they are for in texts. That these make
// transformers' embeddings is in tests/pipeline/text_test.cpp.

#include "io/textual_inversion.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "io/clip_tokenizer.h"
#include "io/files.h"
#include "pcpp/error.h"
#include "pcpp/tensor_file.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;
using Ids = std::vector<std::int64_t>;

class TextualInversions : public ::testing::Test {
 protected:
  WordVectors read(const TensorMap& tensors, const std::vector<std::int64_t>& widths,
                   std::int64_t most = 75) const {
    const std::filesystem::path path = folder_.path() / "glow.safetensors";
    save_tensors(path, tensors);
    return read_textual_inversion(path, widths, most);
  }
  void expect_refusal(const TensorMap& tensors, const std::vector<std::int64_t>& widths,
                      const std::string& words) const {
    expect_error<CheckpointError>([&] { read(tensors, widths, 2); }, {"glow.safetensors", words});
  }

  testing::TemporaryFolder folder_;
};

TEST_F(TextualInversions, HoldVectorsForEachTextEncoder) {
  const WordVectors one = read({{"any name", {{2, 3}, {1, 2, 3, 4, 5, 6}}}}, {3});
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].shape, (Ids{2, 3}));
  EXPECT_EQ(one[0].values, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(read({{"emb_params", {{3}, {1, 2, 3}}}}, {3})[0].shape, (Ids{1, 3}));
  const WordVectors two =
      read({{"clip_g", {{1, 4}, {1, 2, 3, 4}}}, {"clip_l", {{1, 2}, {5, 6}}}}, {2, 4});
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two[0].values, (std::vector<float>{5, 6}));
  EXPECT_EQ(two[1].values, (std::vector<float>{1, 2, 3, 4}));
}

TEST_F(TextualInversions, MayHoldVectorsForOtherTextEncodersBeside) {
  const TensorMap three = {
      {"clip_g", {{1, 4}, {1, 2, 3, 4}}}, {"clip_l", {{1, 2}, {5, 6}}}, {"t5", {{1, 1}, {7}}}};
  EXPECT_EQ(read(three, {2, 4})[1].values, (std::vector<float>{1, 2, 3, 4}));
  ASSERT_EQ(read(three, {2}).size(), 1U);
  EXPECT_EQ(read(three, {2})[0].values, (std::vector<float>{5, 6}));
  const WordVectors numbered = read(
      {{"text_encoders_1", {{1, 4}, {1, 2, 3, 4}}}, {"text_encoders_0", {{1, 2}, {5, 6}}}}, {2, 4});
  EXPECT_EQ(numbered[0].values, (std::vector<float>{5, 6}));
  EXPECT_EQ(numbered[1].values, (std::vector<float>{1, 2, 3, 4}));
}

TEST_F(TextualInversions, OfAnotherModelAreRefused) {
  const FloatTensor vector{{1, 2}, {1, 2}};
  expect_refusal({{"a", vector}, {"b", vector}}, {2}, "has the tensors a, b: ");
  expect_refusal({}, {2}, "has no tensors: ");
  expect_refusal({{"a", vector}}, {2, 2}, "clip_l and clip_g");
  expect_refusal({{"clip_g", vector}, {"text_encoders_0", vector}}, {2, 2}, "clip_l and clip_g");
  expect_refusal({{"a", vector}}, {3}, "a has shape [1, 2]: [n, 3] or [3]");
  expect_refusal({{"a", {{}, {1}}}}, {1}, "has shape []");
  expect_refusal({{"a", {{1, 1, 2}, {1, 2}}}}, {2}, "has shape [1, 1, 2]");
  expect_refusal({{"a", {{0, 2}, {}}}}, {2}, "has shape [0, 2]");
  expect_refusal({{"a", {{3, 2}, std::vector<float>(6, 1)}}}, {2}, "3 vectors, and a text has");
  expect_refusal({{"a", {{1, 2}, {1, NAN}}}}, {2}, "a holds nan");
  expect_refusal({{"a", {{1, 2}, {1, -INFINITY}}}}, {2}, "a holds -inf");
  expect_refusal({{"clip_l", vector}, {"clip_g", {{2, 2}, {1, 2, 3, 4}}}}, {2, 2},
                 "clip_l holds 1 vectors and clip_g 2");
  expect_refusal({{"a", vector}}, {}, "no text encoder");
  expect_error<CheckpointError>([&] { read_textual_inversion(folder_.path() / "none.pt", {2}, 2); },
                                {"none.pt", "No such file"});
}

class AddedWords : public ::testing::Test {
 protected:
  Ids of(const std::string& text) const { return tokenizer_.text_ids(text, words_); }
  Ids plain(const std::string& text) const { return tokenizer_.text_ids(text); }

  ClipTokenizer tokenizer_ = ClipTokenizer::clip("!");
  std::vector<AddedWord> words_ = {{"glow", {-1}}, {"<Fog>", {-2, -3}}, {"glow-worm", {-4}}};
};

TEST_F(AddedWords, BecomeTheirIdsWhereTheyStandAlone) {
  EXPECT_EQ(of("glow"), Ids{-1});
  EXPECT_EQ(of("(glow)!glow")[1], -1);
  EXPECT_EQ(of("GLOW <fOG>"), (Ids{-1, -2, -3}));
  EXPECT_EQ(of("<fog><fog>"), (Ids{-2, -3, -2, -3}));
  EXPECT_EQ(of("glow-worm"), Ids{-4});
  EXPECT_EQ(of("glow-wor").front(), -1);
  const Ids cat = plain("cat");
  EXPECT_EQ(of("cat<fog>cat"), (Ids{cat[0], -2, -3, cat[0]}));
}

TEST_F(AddedWords, AreNoPartOfLongerOnes) {
  for (const char* text : {"glowing", "aglow", "glow2", "2glow", "glowé", "fog", "<fog"}) {
    EXPECT_EQ(of(text), plain(text)) << text;
  }
}

TEST_F(AddedWords, CountForAsManyTokensAsTheyBecome) {
  std::string text;
  for (int i = 0; i < 75; ++i) text += "<fog> ";
  const TokenIds ids = tokenizer_.encode(text, words_);
  EXPECT_EQ(ids.dropped, 75);
  EXPECT_EQ(ids.ids[75], -2);
  EXPECT_EQ(ids.ids[76], tokenizer_.end_id());
}

TEST_F(AddedWords, LeaveTheEndOfATextToTheTokenizer) {
  words_.push_back({"<|endoftext|>", {-5}});
  EXPECT_EQ(of("<|endoftext|>"), Ids{tokenizer_.end_id()});
}

}  // namespace
}  // namespace pcpp
