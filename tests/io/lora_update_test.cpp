#include "io/lora_update.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <limits>
#include <span>
#include <string_view>

#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using Part = LoraPart;
using Shape = std::vector<std::int64_t>;

const std::vector<float> kValues(1024, 0.5F);

TensorView floats(const Shape& shape) {
  std::size_t count = 1;
  for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
  return {DType::f32, shape, std::as_bytes(std::span(kValues).first(count))};
}

using Shapes = std::map<LoraPart, Shape>;

// Of a weight [6, 8], and with a core of one [6, 8, 3, 3].
const Shapes kLora = {{Part::up, {6, 2}}, {Part::down, {2, 8}}};
const Shapes kTucker = {
    {Part::up, {6, 2, 1, 1}}, {Part::down, {2, 8, 1, 1}}, {Part::mid, {2, 2, 3, 3}}};
const Shapes kLoha = {{Part::hada_w1_a, {6, 2}},
                      {Part::hada_w1_b, {2, 8}},
                      {Part::hada_w2_a, {6, 2}},
                      {Part::hada_w2_b, {2, 8}}};
const Shapes kLohaTucker = {{Part::hada_w1_a, {2, 6}},     {Part::hada_w1_b, {2, 8}},
                            {Part::hada_t1, {2, 2, 3, 3}}, {Part::hada_w2_a, {2, 6}},
                            {Part::hada_w2_b, {2, 8}},     {Part::hada_t2, {2, 2, 3, 3}}};
const Shapes kLokr = {{Part::lokr_w1, {2, 4}}, {Part::lokr_w2, {3, 2}}};
const Shapes kLokrBoth = {{Part::lokr_w1_a, {2, 1}},
                          {Part::lokr_w1_b, {1, 4}},
                          {Part::lokr_w2_a, {3, 1}},
                          {Part::lokr_w2_b, {1, 2}}};
const Shapes kLokrTucker = {{Part::lokr_w1, {3, 4}},
                            {Part::lokr_w2_a, {2, 2}},
                            {Part::lokr_w2_b, {2, 2}},
                            {Part::lokr_t2, {2, 2, 3, 3}}};

Shapes with(Shapes shapes, LoraPart part, const Shape& shape) {
  shapes[part] = shape;
  return shapes;
}

Shapes without(Shapes shapes, LoraPart part) {
  shapes.erase(part);
  return shapes;
}

LoraUpdate update_of(const Shapes& shapes, std::optional<double> alpha = {}, double scale = 1) {
  LoraParts parts;
  for (const auto& [part, shape] : shapes) parts[part] = floats(shape);
  return lora_update_of(parts, alpha, scale, "the file: a");
}

void expect_refused(const Shapes& shapes, std::initializer_list<std::string_view> words) {
  testing::expect_error<CheckpointError>([&] { update_of(shapes); }, words);
  testing::expect_error<CheckpointError>([&] { update_of(shapes); }, {"the file: a: "});
}

TEST(LoraUpdate, FitsWeightsOfOneShape) {
  for (const Shapes& shapes : {kLora, kLoha, kLokr, kLokrBoth}) {
    const LoraUpdate update = update_of(shapes);
    EXPECT_TRUE(update.fits(floats({6, 8})));
    EXPECT_TRUE(update.fits(floats({6, 2, 2, 2})));  // as rows
    for (const Shape& other : {Shape{8, 6}, {6, 4}, {12, 8}, {6}, {48}, {0, 8}, {}}) {
      EXPECT_FALSE(update.fits(floats(other))) << to_string(other);
    }
  }
  for (const Shapes& shapes : {kTucker, kLohaTucker, kLokrTucker}) {
    EXPECT_TRUE(update_of(shapes).fits(floats({6, 8, 3, 3})));
    EXPECT_FALSE(update_of(shapes).fits(floats({6, 8, 3, 1})));
    EXPECT_FALSE(update_of(shapes).fits(floats({6, 8})));
  }
}

TEST(LoraUpdate, HasMagnitudesOfOutputsOrOfInputs) {
  const auto shape_of = [](LoraPart part, const Shape& shape) {
    return update_of(with(kTucker, part, shape)).magnitudes.value().shape;
  };
  for (const Shape& shape : {Shape{6}, {6, 1}, {6, 1, 1, 1}}) {
    EXPECT_EQ(shape_of(Part::dora_scale, shape), (Shape{6, 1}));
  }
  EXPECT_EQ(shape_of(Part::dora_scale, {1, 8, 1, 1}), (Shape{1, 8}));
  EXPECT_EQ(shape_of(Part::magnitude_vector, {6}), (Shape{6, 1}));
  EXPECT_EQ(shape_of(Part::magnitude_vector, {1, 6, 1, 1}), (Shape{6, 1}));
  const TensorView weight = floats({6, 8, 3, 3});
  EXPECT_TRUE(update_of(with(kTucker, Part::dora_scale, {6, 1, 1, 1})).fits(weight));
  EXPECT_TRUE(update_of(with(kTucker, Part::dora_scale, {1, 8, 1, 1})).fits(weight));
  EXPECT_FALSE(update_of(with(kTucker, Part::dora_scale, {1, 6, 1, 1})).fits(weight));
  EXPECT_FALSE(update_of(with(kTucker, Part::dora_scale, {8, 1, 1, 1})).fits(weight));
}

TEST(LoraUpdate, ChangesByAlphaOverRank) {
  for (const Shapes& shapes : {kLora, kTucker, kLoha, kLohaTucker, kLokrTucker}) {
    EXPECT_EQ(update_of(shapes, 6.0, 0.5).change_scale, 3);
    EXPECT_EQ(update_of(shapes, 6.0, 0.5).scale, 0.5);
    EXPECT_EQ(update_of(shapes).change_scale, 1);
  }
  EXPECT_EQ(update_of(kLokrBoth, 6.0).change_scale, 6);
  EXPECT_EQ(update_of(kLokr, 6.0).change_scale, 1);
}

TEST(LoraUpdate, NeedsAllOfItsParts) {
  for (const Shapes& shapes : {kLora, kLoha, kLohaTucker, kLokr, kLokrBoth}) {
    for (const auto& [part, shape] : shapes) {
      expect_refused(without(shapes, part), {name_of(part), "missing"});
    }
  }
  expect_refused(without(kLokrTucker, Part::lokr_w2_a), {"lokr_w2_a", "missing"});
  expect_refused({{Part::lokr_t2, {2, 2}}}, {"lokr_w1", "missing"});
  expect_refused({{Part::alpha, {}}}, {"lora_down.weight", "missing"});
  expect_refused({{Part::dora_scale, {6, 1}}}, {"lora_down.weight", "missing"});
}

TEST(LoraUpdate, IsOfOneForm) {
  expect_refused(with(kLora, Part::hada_t1, {2, 2}), {"lora_down.weight", "hada_t1", "no two"});
  expect_refused(with(kLoha, Part::lokr_w1, {2, 2}), {"hada_w1_a", "lokr_w1", "no two"});
  expect_refused(with(kLokr, Part::mid, {2, 2}), {"lokr_w1", "lora_mid.weight", "no two"});
  expect_refused(with(kLokr, Part::lokr_w1_a, {2, 1}), {"lokr_w1_a", "whole", "in parts"});
  expect_refused(with(kLokr, Part::lokr_t2, {2, 2}), {"lokr_t2", "whole", "in parts"});
  expect_refused(with(with(kLora, Part::dora_scale, {6}), Part::magnitude_vector, {6}),
                 {"dora_scale", "lora_magnitude_vector", "one kind of names"});
}

TEST(LoraUpdate, RefusesFactorsOfOtherRanks) {
  struct Pair {
    Shape down, up;
  };
  for (const Pair& pair : {Pair{{2, 3}, {4, 1}}, Pair{{2}, {4, 2}}, Pair{{2, 3}, {4}},
                           Pair{{2, 3}, {4, 2, 3, 1}}, Pair{{0, 3}, {4, 0}}, Pair{{}, {}}}) {
    expect_refused({{Part::down, pair.down}, {Part::up, pair.up}},
                   {"lora_down.weight", "lora_up.weight", "one rank"});
  }
  expect_refused(with(kLohaTucker, Part::hada_w2_a, {6, 2}), {"hada_w2_a", "[rank, rows]"});
  for (const Shape& core : {Shape{}, {2}, {2, 1, 3, 3}, {1, 2, 3, 3}, {2, 2, 0, 3}}) {
    expect_refused(with(kTucker, Part::mid, core), {"lora_mid.weight", "Tucker", "one rank"});
  }
  expect_refused(with(kTucker, Part::down, {2, 8, 3, 3}), {"lora_down.weight", "Tucker"});
  expect_refused(with(with(kLokrBoth, Part::lokr_w2_a, {3, 2}), Part::lokr_w2_b, {2, 2}),
                 {"rank 1 and 2"});
}

TEST(LoraUpdate, RefusesFactorsThatDoNotBelongTogether) {
  expect_refused(with(kLoha, Part::hada_w2_a, {5, 2}), {"[6, 8]", "[5, 8]", "one shape"});
  expect_refused(with(kLoha, Part::hada_w2_b, {2, 7}), {"[6, 8]", "[6, 7]", "one shape"});
  for (const Shape& whole : {Shape{}, {8}, {0, 4}}) {
    expect_refused(with(kLokr, Part::lokr_w1, whole), {"lokr_w1", "matrix"});
    expect_refused(with(kLokr, Part::lokr_w2, whole), {"lokr_w2", "matrix"});
  }
  expect_refused(with(kLokr, Part::lokr_w1, {2, 4, 3, 3}), {"first factor", "[2, 4, 3, 3]"});
  expect_refused(with(kLokrBoth, Part::lokr_w1_b, {1, 4, 3}), {"first factor", "[1, 4, 3]"});
}

TEST(LoraUpdate, RefusesMagnitudesOfOtherShapes) {
  for (const LoraPart part : {Part::dora_scale, Part::magnitude_vector}) {
    for (const Shape& shape : {Shape{}, {0}, {2, 3}, {1, 1, 6}, {6, 1, 2}}) {
      expect_refused(with(kLora, part, shape), {name_of(part), to_string(shape), "outputs"});
    }
  }
}

TEST(LoraUpdate, RefusesScalesBeyondFloat32) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  for (const double alpha : {kInfinite, -kInfinite, kNone, 1e39}) {
    testing::expect_error<CheckpointError>([&] { update_of(kLora, alpha, 1e-3); },
                                           {"the file: a: ", "an alpha of", "smaller scale"});
  }
  testing::expect_error<CheckpointError>([&] { update_of(kLora, 1e30, 1e30); }, {"scale 1e+30"});
  testing::expect_error<CheckpointError>([&] { update_of(kLora, 1e-3, 1e39); }, {"scale 1e+39"});
}

}  // namespace
}  // namespace pcpp
