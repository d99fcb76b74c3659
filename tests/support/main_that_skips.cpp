// Of test programs with tests that need a GPU: tells CTest by 77 that all went well but for what
// was skipped, whose reasons are printed.

#include <gtest/gtest.h>

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const int status = RUN_ALL_TESTS();
  const bool skipped = ::testing::UnitTest::GetInstance()->skipped_test_count() > 0;
  return status == 0 && skipped ? 77 : status;
}
