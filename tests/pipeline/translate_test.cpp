#include "pipeline/translate.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/errors.h"

namespace pcpp {
namespace {

template <typename Function>
std::string text_of(const Function& function) {
  try {
    translated("cuda:1", function);
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Translated, ErrorsOfLibtorchNameTheDeviceInOneLine) {
  const std::string memory = text_of(
      [] { TORCH_CHECK_WITH(OutOfMemoryError, false, "tried 2 GiB\nsee the documentation"); });
  EXPECT_TRUE(memory.starts_with("out of memory on cuda:1: use a smaller picture")) << memory;
  EXPECT_NE(memory.find("tried 2 GiB"), std::string::npos) << memory;
  const std::string lost = text_of([] {
    throw c10::AcceleratorError({__func__, __FILE__, 0}, 700, "an illegal access\nfor debugging");
  });
  EXPECT_TRUE(lost.starts_with("cuda:1 failed: an illegal access: the process may")) << lost;
  const std::string graphs = text_of([] {
    throw c10::AcceleratorError({__func__, __FILE__, 0}, 901, "operation failed\nfor debugging");
  });
  EXPECT_NE(
      graphs.find("operation failed: where no other thread of the program synchronises the device"),
      std::string::npos)
      << graphs;
  const std::string of_cpu = text_of([] {
    TORCH_CHECK(false,
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't "
                "allocate memory: you tried to allocate 4096 bytes.\nat line 7");
  });
  EXPECT_TRUE(of_cpu.starts_with("out of memory on cuda:1: use a smaller picture")) << of_cpu;
  EXPECT_NE(of_cpu.find("tried to allocate 4096 bytes"), std::string::npos) << of_cpu;
  const std::string of_cudnn =
      text_of([] { TORCH_CHECK(false, "cuDNN Frontend error: no engine\nat line 7"); });
  EXPECT_TRUE(
      of_cudnn.ends_with("no engine: where attention is auto or cudnn, take flash or efficient"))
      << of_cudnn;
  const std::string other = text_of([] { TORCH_CHECK(false, "no such kernel\nat line 7"); });
  EXPECT_EQ(other,
            "a computation on cuda:1 failed: no such kernel: where this repeats, start the process "
            "again, and look at the system's log for the device's own report");
  EXPECT_EQ(text_of([] { throw std::bad_alloc(); }).find("out of memory on cuda:1"), 0U);
}

TEST(Translated, WhatIsThrownByOthersKeepsItsText) {
  const std::string of_onednn =
      text_of([] { throw std::runtime_error("could not create a primitive"); });
  EXPECT_NE(of_onednn.find("could not create a primitive, most often for want of memory"),
            std::string::npos)
      << of_onednn;
  const auto plain = [](const std::function<void()>& function, const char* text) {
    testing::expect_error<Error>([&] { translated("the cpu", function); }, {text});
  };
  plain([] { throw std::runtime_error("could not show it"); }, "could not show it");
}

TEST(Translated, WhatTheCallersFunctionThrewPasses) {
  EXPECT_THROW(
      translated("the cpu", [] { throw CallersError{std::make_exception_ptr(std::bad_alloc())}; }),
      CallersError);
}

TEST(Translated, MemoryThatTheCpuLacksIsNamedSo) {
  const std::string text = text_of([] { at::empty({std::int64_t{1} << 60}, at::kByte); });
  EXPECT_TRUE(text.starts_with("out of memory on cuda:1: use a smaller picture")) << text;
}

TEST(Translated, OtherExceptionsBecomeTheLibrarys) {
  testing::expect_error<Error>(
      [] { translated("cuda:1", [] { return std::filesystem::file_size("/nowhere"); }); },
      {"cuda:1", "No such file", "/nowhere"});
  testing::expect_error<Error>(
      [] { translated("cuda:1", [] { return std::vector<int>().at(0); }); },
      {"cuda:1", "vector", "please report it"});
}

TEST(Translated, TheLibrarysOwnErrorsAndResultsPass) {
  EXPECT_EQ(translated("cuda:1", [] { return 3; }), 3);
  EXPECT_THROW(translated("cuda:1", [] { throw ConfigError("no"); }), ConfigError);
  EXPECT_THROW(translated("cuda:1", [] { throw Cancelled("no"); }), Cancelled);
}

}  // namespace
}  // namespace pcpp
