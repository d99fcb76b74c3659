#include "io/input_file.h"

#include <gtest/gtest.h>

#include "io/files.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;

TEST(InputFileTest, ReadsAWholeFile) {
  const TemporaryFolder folder;
  const std::string text = std::string(100'000, 'x') + '\0' + "end";
  EXPECT_EQ(InputFile(folder.write("file", text)).read(), text);
  EXPECT_EQ(InputFile(folder.write("empty", "")).read(), "");
}

TEST(InputFileTest, AFileThatIsCutShortMeanwhileIsAnError) {
  const TemporaryFolder folder;
  const auto path = folder.write("file", std::string(100'000, 'x'));
  const InputFile file(path);
  EXPECT_EQ(file.size(), 100'000U);
  std::filesystem::resize_file(path, 10);
  expect_error<CheckpointError>([&] { (void)file.read(); },
                                {path.string(), "shorter", "fetch it again"});
}

TEST(InputFileTest, RefusesWhatIsNoRegularFile) {
  const TemporaryFolder folder;
  expect_error<CheckpointError>(
      [&] { InputFile(folder.path() / "none"); },
      {"cannot read", "none: No such file", "name a file that can be read"});
  expect_error<CheckpointError>([&] { InputFile(folder.path()); }, {"not a regular file"});
}

// A lexical reading would leave out the link and what is above it.
TEST(InputFileTest, APlaceFromTheRootIsTheOneThatTheSystemFinds) {
  const TemporaryFolder folder;
  folder.write("real/model", "the right one");
  folder.write("real/deep/other", "");
  folder.write("model", "another");
  std::filesystem::create_directory_symlink("real/deep", folder.path() / "link");
  const auto path = from_root(folder.path() / "." / "link" / ".." / "model");
  EXPECT_EQ(InputFile(path).read(), "the right one");
  EXPECT_EQ(path, folder.path() / "link" / ".." / "model");
  EXPECT_EQ(from_root("some/./file"), std::filesystem::current_path() / "some/file");
}

}  // namespace
}  // namespace pcpp
