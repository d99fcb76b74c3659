// The errors that a test expects.
#ifndef PCPP_TESTS_SUPPORT_ERRORS_H_
#define PCPP_TESTS_SUPPORT_ERRORS_H_

#include <gtest/gtest.h>

#include <cctype>
#include <initializer_list>
#include <string_view>

namespace pcpp::testing {

// Expects that `call` throws E, with a text that holds each of `parts`.
template <typename E, typename Call>
void expect_error(Call call, std::initializer_list<std::string_view> parts) {
  try {
    call();
  } catch (const E& error) {
    for (const std::string_view part : parts) {
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
          << "'" << part << "' is not in: " << error.what();
    }
    return;
  }
  ADD_FAILURE() << "no error; expected one with '"
                << (parts.size() == 0 ? std::string_view() : *parts.begin()) << "'";
}

// Expects that `call` throws E, with a text that is one line of at most 500 bytes for a person.
template <typename E, typename Call>
void expect_short_error(Call call) {
  try {
    call();
  } catch (const E& error) {
    const std::string_view text = error.what();
    EXPECT_LE(text.size(), 500U) << text;
    for (const char character : text) {
      EXPECT_FALSE(std::iscntrl(static_cast<unsigned char>(character))) << text;
    }
    return;
  }
  ADD_FAILURE() << "no error";
}

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_SUPPORT_ERRORS_H_
