#include <pcpp/pcpp.h>

int main() {
  pcpp::Pipeline pipeline("models/emoji-scenes", pcpp::World(2));

  pcpp::GenerationRequest request;
  request.prompts = {"a small fox under a rainbow in a meadow"};
  request.parallel = pcpp::ParallelConfig::pcpp(0.3);

  const auto result = pipeline.generate(request);
  pcpp::write_png("fox.png", result.images[0]);
}
