// Safetensors files made by hand, right or wrong.
#ifndef PCPP_TESTS_IO_SAFETENSORS_BYTES_H_
#define PCPP_TESTS_IO_SAFETENSORS_BYTES_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace pcpp::testing {

// A file with this header and data, its header length `claimed` if that is not negative.
inline std::string safetensors_bytes(std::string_view header, std::string_view data,
                                     std::int64_t claimed = -1) {
  const std::uint64_t length = claimed < 0 ? header.size() : static_cast<std::uint64_t>(claimed);
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof(length));
  return bytes.append(header).append(data);
}

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_IO_SAFETENSORS_BYTES_H_
