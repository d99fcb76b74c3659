// Single files of whole families, of which only what tells them is as it is there.
#ifndef PCPP_TESTS_IO_FAMILY_FILES_H_
#define PCPP_TESTS_IO_FAMILY_FILES_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "io/single_file.h"

namespace pcpp::testing {

inline std::size_t unet_tensors_of(std::int64_t text_width) {
  return text_width == 2048 ? 1680 : 686;
}

// A U-Net that takes so many channels and whose texts are so wide, with as many tensors as its
// family's.
inline SingleFile family_file(std::int64_t channels, std::int64_t text_width) {
  SingleFile file;
  auto& unet = file.components["unet"];
  unet["conv_in.weight"] = {DType::f16, {320, channels, 3, 3}, {}};
  unet["mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"] = {
      DType::f16, {1280, text_width}, {}};
  while (unet.size() < unet_tensors_of(text_width)) {
    unet["filling." + std::to_string(unet.size())] = {DType::f16, {0}, {}};
  }
  return file;
}

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_IO_FAMILY_FILES_H_
