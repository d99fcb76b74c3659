#include "models/clip_text.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <utility>

#include "models/tiny_models.h"
#include "pcpp/error.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr double kTolerance = 2e-5;

// The tiny text encoder of sdxl with a projection, to be changed before it is built.
struct TextFiles {
  Component component = tiny_component("sdxl", "text_encoder_2");
  Weights weights = component.weights();
  nlohmann::json config = component.config_object("config.json");
  std::map<std::string, TensorView> tensors = weights.tensors();

  ClipText build(const at::Tensor& added = {}) const {
    return ClipText(ConfigReader(config, "config.json"),
                    WeightScope(tensors, "the file", at::kFloat), added);
  }
};

TEST(ClipText, EqualsTransformers) {
  const c10::InferenceMode inference;
  int cases = 0;
  for (const nlohmann::json& entry : reference_cases("text")) {
    ++cases;
    const std::string encoder = entry.at("encoder");
    const Component component = tiny_component(entry.at("family"), encoder);
    const ClipText text(component.config(), WeightScope(component.weights(), at::kFloat));
    const auto tensors = load_references(entry.at("file"));
    const auto tensor = [&](const std::string& name) { return tensors.at(encoder + "." + name); };
    const ClipText::Output output = text(tensor("ids").to(at::kLong));
    EXPECT_LE(relative_error(output.last_hidden_state, tensor("last_hidden_state")), kTolerance)
        << entry;
    EXPECT_LE(relative_error(output.pooled, tensor("pooled")), kTolerance) << entry;
    ASSERT_EQ(output.hidden_states.size(), 3U);
    for (std::size_t i = 0; i < output.hidden_states.size(); ++i) {
      EXPECT_LE(relative_error(output.hidden_states[i], tensor("hidden_" + std::to_string(i))),
                kTolerance)
          << entry << i;
    }
    EXPECT_EQ(text.width(), output.last_hidden_state.size(2));
    EXPECT_EQ(text.max_tokens(), 77);
    EXPECT_EQ(text.pooled_width(), output.pooled.size(1));
  }
  EXPECT_EQ(cases, 4);
}

TEST(ClipText, TakesNamesWithAndWithoutTheModelsPrefix) {
  const c10::InferenceMode inference;
  const at::Tensor ids = at::full({1, 7}, 600, at::kLong);
  TextFiles files;
  const at::Tensor expected = files.build()(ids).pooled;
  std::map<std::string, TensorView> bare;
  for (const auto& [name, tensor] : files.tensors) {
    const bool nested = name.starts_with("text_model.");
    bare.emplace(nested ? name.substr(std::string("text_model.").size()) : name, tensor);
  }
  files.tensors = std::exchange(bare, {});
  EXPECT_EQ(relative_error(files.build()(ids).pooled, expected), 0);
}

TEST(ClipText, PoolsAtTheFirstEndOfTheText) {
  const c10::InferenceMode inference;
  TextFiles files;
  const std::int64_t end = files.config.at("eos_token_id");
  at::Tensor ids = at::full({1, 6}, end, at::kLong);
  ids[0][0] = end - 1;
  ids[0][1] = 5;
  const ClipText text = files.build();
  at::Tensor longer = ids.clone();
  longer[0][5] = 9;  // after the end, which no state before it sees
  EXPECT_EQ(relative_error(text(longer).pooled, text(ids).pooled), 0);
  longer[0][2] = 9;
  EXPECT_GT(relative_error(text(longer).pooled, text(ids).pooled), 1e-3);
}

TEST(ClipText, ReadsAddedTokensBehindItsVocabulary) {
  const c10::InferenceMode inference;
  TextFiles files;
  const std::int64_t vocabulary = files.config.at("vocab_size");
  const std::int64_t end = files.config.at("eos_token_id");
  const at::Tensor known = WeightScope(files.tensors, "the file", at::kFloat)
                               .take("text_model.embeddings.token_embedding.weight",
                                     {vocabulary, files.config.at("hidden_size")});
  const std::int64_t words[] = {7, 5};
  at::Tensor ids = at::full({1, 6}, end, at::kLong);
  at::Tensor added_ids = ids.clone();
  for (std::int64_t i = 0; i < 2; ++i) {
    ids[0][i + 1] = words[i];
    added_ids[0][i + 1] = vocabulary + i;
  }
  const at::Tensor vectors = at::cat({known.narrow(0, 7, 1), known.narrow(0, 5, 1)});
  for (const std::int64_t end_in_config : {end, std::int64_t{2}}) {
    files.config["eos_token_id"] = end_in_config;
    const ClipText text = files.build(vectors);
    EXPECT_EQ(text.vocabulary_size(), vocabulary);
    const ClipText::Output expected = files.build()(ids);
    const ClipText::Output output = text(added_ids);
    EXPECT_EQ(relative_error(output.last_hidden_state, expected.last_hidden_state), 0);
    EXPECT_EQ(relative_error(output.pooled, expected.pooled), 0) << end_in_config;
    EXPECT_EQ(
        relative_error(text.normalised(output.hidden_states.back()), output.last_hidden_state), 0);
  }
}

TEST(ClipText, RefusesOptionsByName) {
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, nlohmann::json>>{{"hidden_act", "gelu_new"},
                                                           {"hidden_act", "silu"},
                                                           {"model_type", "clip"},
                                                           {"architectures", {"CLIPModel"}},
                                                           {"num_attention_heads", 5},
                                                           {"num_hidden_layers", 0},
                                                           {"layer_norm_eps", 0.0},
                                                           {"eos_token_id", {1, 2}},
                                                           {"rope_theta", 10000}}) {
    TextFiles files;
    files.config[key] = value;
    SCOPED_TRACE(value.dump());
    testing::expect_error<CheckpointError>([&] { files.build(); },
                                           {key == "num_attention_heads" ? "hidden_size" : key});
  }
}

// As transformers takes them.
TEST(ClipText, PassesOverWhatItHasNoUseFor) {
  TextFiles files;
  files.config["architectures"] = {"CLIPTextModel"};  // and there is a projection's weight
  files.config["gradient_checkpointing"] = false;
  files.config["return_dict"] = true;
  EXPECT_NO_THROW(files.build());
  files.config["architectures"] = nullptr;
  EXPECT_NO_THROW(files.build());
}

TEST(ClipText, NamesWeightsThatDoNotFit) {
  TextFiles missing;
  missing.tensors.erase("text_projection.weight");
  testing::expect_error<CheckpointError>([&] { missing.build(); }, {"text_projection.weight"});
  TextFiles shaped;
  shaped.config["vocab_size"] = 500;
  testing::expect_error<CheckpointError>([&] { shaped.build(); }, {"token_embedding.weight"});
}

TEST(ClipText, RefusesTooManyTokens) {
  EXPECT_THROW(TextFiles().build()(at::zeros({1, 78}, at::kLong)), ConfigError);
}

}  // namespace
}  // namespace pcpp
