// Files of src/io/families as parts of the library.
#ifndef PCPP_IO_EMBEDDED_FILES_H_
#define PCPP_IO_EMBEDDED_FILES_H_

#include <string_view>

namespace pcpp {

// CLIP's merges, as merges.txt of a tokenizer's folder.
std::string_view clip_merges_text();

// What a single file does not hold: an object with the configs of diffusers' components.
std::string_view sd1_configs_text();
std::string_view sd2_configs_text();
std::string_view sdxl_configs_text();

}  // namespace pcpp

#endif  // PCPP_IO_EMBEDDED_FILES_H_
