#include "io/embedded_files.h"

// Defines NAME_text() as what `file` of PCPP_FAMILIES holds.
#define PCPP_EMBED(name, file)                                                        \
  __asm__(                                                                            \
      ".pushsection .rodata\n"                                                        \
      "pcpp_" #name "_begin:\n.incbin \"" PCPP_FAMILIES "/" file                      \
      "\"\n"                                                                          \
      "pcpp_" #name "_end:\n.popsection\n");                                          \
  extern "C" __attribute__((visibility("hidden"))) const char pcpp_##name##_begin[];  \
  extern "C" __attribute__((visibility("hidden"))) const char pcpp_##name##_end[];    \
  namespace pcpp {                                                                    \
  std::string_view name##_text() { return {pcpp_##name##_begin, pcpp_##name##_end}; } \
  }

PCPP_EMBED(clip_merges, "clip_merges.txt")
PCPP_EMBED(sd1_configs, "sd1.json")
PCPP_EMBED(sd2_configs, "sd2.json")
PCPP_EMBED(sdxl_configs, "sdxl.json")
