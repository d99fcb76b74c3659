// Cross-attention that reads image prompts as well. Without any it is in attention_test.cpp.

#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "ops/attention.h"
#include "support/errors.h"
#include "support/random_weights.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr std::int64_t kWidth = 24;
constexpr std::int64_t kTextWidth = 10;
constexpr std::int64_t kHeads = 3;
constexpr double kRounding = 1e-6;

class AdaptedAttentionTest : public ::testing::Test {
 protected:
  AdaptedAttentionTest() {
    for (const char* projection : {"to_q", "to_k", "to_v", "to_out.0"}) {
      const std::string name = projection;
      const bool reads_text = name == "to_k" || name == "to_v";
      weights_.add("attn." + name + ".weight", {kWidth, reads_text ? kTextWidth : kWidth});
    }
    weights_.add("attn.to_out.0.bias", {kWidth});
    for (RandomWeights* adapter : {&first_, &second_}) {
      adapter->add("attn.to_k_ip.weight", {kWidth, kTextWidth});
      adapter->add("attn.to_v_ip.weight", {kWidth, kTextWidth});
    }
  }

  CrossAttention attention(const std::vector<const RandomWeights*>& adapters) {
    std::vector<WeightScope> scopes;
    for (const RandomWeights* adapter : adapters) scopes.push_back(adapter->scope());
    sites_ = SiteRegistry();
    return {weights_.scope().with_adapters(scopes).scope("attn"), kWidth, kTextWidth, kHeads,
            sites_};
  }

  at::Tensor projected(const RandomWeights& weights, const std::string& name,
                       const at::Tensor& tokens) const {
    return at::linear(tokens, weights.at("attn." + name + ".weight"));
  }
  // By the definition: what it adds to the result at a scale of 1.
  at::Tensor added(const RandomWeights& adapter, const at::Tensor& images) const {
    const auto by_head = [](const at::Tensor& rows) {
      return rows.unflatten(2, {kHeads, -1}).transpose(1, 2);
    };
    const at::Tensor scores =
        by_head(projected(weights_, "to_q", tokens_))
            .matmul(by_head(projected(adapter, "to_k_ip", images)).transpose(2, 3))
            .div(std::sqrt(static_cast<double>(kWidth / kHeads)));
    const at::Tensor mixed =
        scores.softmax(-1).matmul(by_head(projected(adapter, "to_v_ip", images)));
    return projected(weights_, "to_out.0", mixed.transpose(1, 2).flatten(2));
  }
  at::Tensor run(const CrossAttention& attention, const PromptTokens& prompt) const {
    PatchContext whole(sites_.condition_slots());
    return attention(tokens_, prompt, whole);
  }

  RandomWeights weights_{11};
  RandomWeights first_{21};
  RandomWeights second_{31};
  SiteRegistry sites_;
  at::Tensor tokens_ = random_tensor(5, {2, 33, kWidth});
  at::Tensor text_ = random_tensor(6, {2, 7, kTextWidth});
  at::Tensor images_ = random_tensor(7, {2, 4, kTextWidth});
  at::Tensor others_ = random_tensor(8, {2, 3, kTextWidth});
};

TEST_F(AdaptedAttentionTest, AddsWhatEachAdapterReadsToWhatIsReadOfTheText) {
  const at::Tensor plain = run(attention({}), text_);
  const CrossAttention adapted = attention({&first_, &second_});
  EXPECT_EQ(sites_.condition_slots(), 3);
  EXPECT_TRUE(sites_.sites().empty());
  const at::Tensor expected = plain + 0.6 * added(first_, images_) - 1.5 * added(second_, others_);
  EXPECT_LT(relative_error(run(adapted, {text_, {{images_, 0.6}, {others_, -1.5}}}), expected),
            kRounding);
  EXPECT_TRUE(at::equal(run(adapted, {text_, {{images_, 0}, {others_, 0}}}), plain));
  EXPECT_TRUE(at::equal(run(adapted, text_), plain));
}

TEST_F(AdaptedAttentionTest, ReadsTheImagesThatTheRequestBeganWith) {
  const CrossAttention adapted = attention({&first_});
  PatchContext whole(sites_.condition_slots());
  const at::Tensor expected = adapted(tokens_, {text_, {{images_}}}, whole);
  EXPECT_TRUE(at::equal(adapted(tokens_, {text_, {{images_ * 2}}}, whole), expected));
  EXPECT_GT(relative_error(run(adapted, {text_, {{images_ * 2}}}), expected), 0.01);
}

TEST_F(AdaptedAttentionTest, RefusesTokensOfAnotherNumberOfAdapters) {
  const CrossAttention adapted = attention({&first_, &second_});
  testing::expect_error<std::logic_error>(
      [&] {
        run(adapted, {text_, {{images_}}});
      },
      {"1 image prompts for 2 adapters"});
}

}  // namespace
}  // namespace pcpp
