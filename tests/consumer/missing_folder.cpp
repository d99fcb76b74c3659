// An error of the library must arrive as its own type in a program that knows only the headers.
#include <pcpp/pcpp.h>

#include <cstdio>

int main() {
  try {
    pcpp::Pipeline pipeline("no-such-folder", pcpp::World(1));
  } catch (const pcpp::CheckpointError& error) {
    std::printf("pcpp %s refuses: %s\n", PCPP_VERSION, error.what());
    return 0;
  }
  std::puts("a folder that is not there was opened");
  return 1;
}
