// Models in single files draw what their folders draw.

#include <c10/util/ScopeExit.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/checkpoint.h"
#include "io/files.h"
#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

// Tensors of a single file in memory of their own.
class FileMaker {
 public:
  // Under their names there: the weights of a tiny family, by tests/reference/single_file_make.py.
  explicit FileMaker(const std::string& family) {
    const Checkpoint folder = Checkpoint::open(test_data("models/" + family));
    auto entries = read_json_file(test_data("single_file/" + family + ".json"))
                       .get<std::vector<std::array<std::string, 4>>>();
    std::ranges::sort(entries, {}, [](const auto& entry) { return std::pair(entry[0], entry[3]); });
    for (const auto& [name, component, part, how] : entries) {
      if (component.empty()) continue;
      if (!weights_.contains(component)) {
        weights_.emplace(component, folder.component(component).weights());
      }
      add(name, find(component, part), how);
    }
  }

  void write(const std::filesystem::path& file) const { write_part(file, ""); }

  // What has names that begin so, without that.
  void write_part(const std::filesystem::path& file, const std::string& prefix) const {
    std::map<std::string, TensorView> views;
    for (const auto& [name, tensor] : tensors_) {
      if (!name.starts_with(prefix)) continue;
      views.emplace(name.substr(prefix.size()),
                    TensorView{tensor.dtype, tensor.shape, tensor.bytes});
    }
    write_safetensors(file, views);
  }

 private:
  struct Tensor {
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;
  };

  const TensorView& find(const std::string& component, const std::string& name) const {
    const auto& tensors = weights_.at(component).tensors();
    if (const auto found = tensors.find(name); found != tensors.end()) return found->second;
    if (component != "vae") return tensors.at(name.substr(name.find('.') + 1));
    std::string old_name = name;  // of attention
    for (const auto& [part, old_part] : {std::pair{"to_q", "query"},
                                         {"to_k", "key"},
                                         {"to_v", "value"},
                                         {"to_out.0", "proj_attn"}}) {
      const std::size_t at = name.find(part);
      if (at != name.npos) old_name.replace(at, std::strlen(part), old_part);
    }
    return tensors.at(old_name);
  }

  void add(const std::string& name, const TensorView& view, const std::string& how) {
    Tensor& tensor = tensors_[name];
    tensor.dtype = view.dtype;
    if (how == "transposed") {
      const auto rows = static_cast<std::size_t>(view.shape[0]);
      const auto columns = static_cast<std::size_t>(view.shape[1]);
      const std::size_t size = size_of(view.dtype);
      tensor.shape = {view.shape[1], view.shape[0]};
      tensor.bytes.resize(view.bytes.size());
      for (std::size_t i = 0; i < rows * columns; ++i) {
        std::memcpy(&tensor.bytes[i * size], &view.bytes[(i % rows * columns + i / rows) * size],
                    size);
      }
      return;
    }
    if (how.starts_with("rows") && !tensor.shape.empty()) {
      tensor.shape[0] += view.shape[0];
    } else {
      tensor.shape = view.shape;
      if (how == "squeezed") tensor.shape.insert(tensor.shape.end(), {1, 1});
    }
    tensor.bytes.insert(tensor.bytes.end(), view.bytes.begin(), view.bytes.end());
  }

  std::map<std::string, Weights> weights_;
  std::map<std::string, Tensor> tensors_;
};

class SingleFileTest : public ::testing::TestWithParam<std::string> {};

TEST_P(SingleFileTest, DrawsWhatItsFolderDraws) {
  const testing::TemporaryFolder place;
  const std::filesystem::path file = place.path() / "model.safetensors";
  FileMaker(GetParam()).write(file);
  const std::filesystem::path folder = test_data("models/" + GetParam());
  PipelineOptions options;
  options.configs = folder;
  GenerationRequest request = two_tall_pictures();
  request.init_images = {striped(64, 192, 1)};
  Pipeline pipeline(file, World(1, 1), options);
  const GenerationResult actual = pipeline.generate(request);
  const GenerationResult expected = cached_pipeline("models/" + GetParam(), 1).generate(request);
  EXPECT_EQ(actual.latents.values, expected.latents.values);
  EXPECT_EQ(actual.images[1].rgb, expected.images[1].rgb);
  EXPECT_EQ(read_model_info(file, options).default_width, read_model_info(folder).default_width);
  EXPECT_EQ(Checkpoint::open(file, {.configs = folder}).component("unet").place(),
            file.string() + " (unet)");
}

INSTANTIATE_TEST_SUITE_P(Families, SingleFileTest, ::testing::Values("sd15", "sd21", "sdxl"),
                         [](const auto& suite) { return suite.param; });

TEST(SingleFiles, TakeLoras) {
  const testing::TemporaryFolder place;
  const std::filesystem::path file = place.path() / "model.safetensors";
  FileMaker("sd15").write(file);
  PipelineOptions options;
  options.loras = {{test_data("lora/sd15.safetensors"), 0.7}};
  GenerationRequest request = two_tall_pictures();
  request.decode = false;
  const std::filesystem::path folder = test_data("models/sd15");
  const GenerationResult expected = Pipeline(folder, World(1, 1), options).generate(request);
  options.configs = folder;
  EXPECT_EQ(Pipeline(file, World(1, 1), options).generate(request).latents.values,
            expected.latents.values);
}

TEST(SingleFiles, MayBeVaesAlone) {
  const testing::TemporaryFolder place;
  const std::filesystem::path model = place.path() / "model";
  std::filesystem::copy(test_data("models/sd15"), model, std::filesystem::copy_options::recursive);
  const std::filesystem::path vae = test_data("models/sdxl/vae");
  const auto take = [&](const char* name, const char* as) {
    std::filesystem::copy_file(vae / name, model / "vae" / as,
                               std::filesystem::copy_options::overwrite_existing);
  };
  GenerationRequest request = two_tall_pictures();
  request.init_images = {striped(64, 192, 1)};
  const auto draw = [&](const std::filesystem::path& in_place) {
    PipelineOptions options;
    if (!in_place.empty()) options.vae = in_place;
    const auto& folder = in_place.empty() ? model : std::filesystem::path(test_data("models/sd15"));
    return Pipeline(folder, World(2, 1), options).generate(request);
  };
  const std::filesystem::path file = place.path() / "vae.safetensors";
  FileMaker("sdxl").write_part(file, "first_stage_model.");
  take("diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors");
  const GenerationResult of_weights = draw("");
  const GenerationResult of_file = draw(file);
  EXPECT_EQ(of_file.latents.values, of_weights.latents.values);
  EXPECT_EQ(of_file.images[1].rgb, of_weights.images[1].rgb);
  take("config.json", "config.json");
  const GenerationResult of_both = draw("");
  EXPECT_NE(of_both.images[1].rgb, of_weights.images[1].rgb);
  EXPECT_EQ(draw(vae).images[1].rgb, of_both.images[1].rgb);
}

TEST(SingleFiles, ArePlanned) {
  const testing::TemporaryFolder place;
  const std::filesystem::path file = place.path() / "model.safetensors";
  FileMaker("sd15").write(file);
  PlanRequest request;
  request.devices = 2;
  const DeviceProfile& profile = DeviceProfile::named("a100-nvlink");
  const Plan expected = make_plan(test_data("models/sd15"), request, profile);
  request.configs = test_data("models/sd15");
  const Plan plan = make_plan(file, request, profile);
  ASSERT_EQ(plan.runs.size(), expected.runs.size());
  EXPECT_EQ(plan.fastest().mean_flops, expected.fastest().mean_flops);
  EXPECT_EQ(plan.width, expected.width);
}

TEST(SingleFiles, StayTheSameWhenTheProcessGoesElsewhere) {
  const testing::TemporaryFolder place;
  FileMaker("sd15").write(place.path() / "model.safetensors");
  std::filesystem::copy(test_data("models/sd15"), place.path() / "configs",
                        std::filesystem::copy_options::recursive);
  PipelineOptions options;
  options.configs = "configs";
  const auto load = [&] {
    const std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path(place.path());
    const auto back = c10::make_scope_exit([&] { std::filesystem::current_path(before); });
    return Pipeline("model.safetensors", World(1, 1), options);
  };
  Pipeline pipeline = load();
  EXPECT_EQ(pipeline.generate(two_tall_pictures()).images.size(), 2U);
}

TEST(SingleFiles, HaveNoVariantAndFoldersNoConfigs) {
  const testing::TemporaryFolder place;
  const std::filesystem::path file = place.path() / "model.safetensors";
  FileMaker("sd15").write(file);
  PipelineOptions options;
  options.configs = test_data("models/sd15");
  testing::expect_error<ConfigError>(
      [&] { Pipeline(test_data("models/sd15"), World(1, 1), options); },
      {"configs are named for a single file"});
  options.variant = "fp16";
  testing::expect_error<ConfigError>([&] { Pipeline(file, World(1, 1), options); },
                                     {"model.safetensors", "no variants: name none"});
}

// Its texts are not as wide as any family's.
TEST(SingleFiles, OfNoFamilyNeedConfigs) {
  const testing::TemporaryFolder place;
  const std::filesystem::path file = place.path() / "model.safetensors";
  FileMaker("sd15").write(file);
  testing::expect_error<CheckpointError>(
      [&] { read_model_info(file); },
      {"model.safetensors", "reads texts of 16 values", "name a folder with its configs"});
}

}  // namespace
}  // namespace pcpp
