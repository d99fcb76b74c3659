// An error of the library must arrive as its own type in a program that knows only the headers.
#include <pcpp/pcpp.h>

#include <cstdio>

// Members that are not named have their defaults, without a warning.
pcpp::GenerationRequest request() { return {.prompts = {"a fox"}, .seed = 7}; }

int main() {
  try {
    pcpp::Pipeline pipeline("no-such-folder", pcpp::World(1), {.dtype = pcpp::DataType::bfloat16});
    pipeline.generate(request());
  } catch (const pcpp::CheckpointError& error) {
    std::printf("pcpp %s refuses: %s\n", PCPP_VERSION, error.what());
    return pcpp::version() == PCPP_VERSION ? 0 : 1;
  }
  std::puts("a folder that is not there was opened");
  return 1;
}
