#include "pcpp/output_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/atomic_file.h"
#include "io/files.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;
using testing::read_text;
using testing::TemporaryFolder;

bool has_files_without_names(const std::filesystem::path& folder) {
  const int descriptor = open(folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
  if (descriptor >= 0) close(descriptor);
  return descriptor >= 0;
}

TEST(OutputFileTest, WritesAndReplacesWholeFiles) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "report.json";
  write_file(path, "first, the longer one");
  write_file(path, "second");
  EXPECT_EQ(read_text(path), "second");
  EXPECT_EQ(folder.entry_count(), 1U);
}

TEST(OutputFileTest, LeavesTheOldFileUntilTheNewOneIsWhole) {
  const TemporaryFolder folder;
  const auto path = folder.write("report.json", "old");
  {
    AtomicFile file(path);
    file.write("half of the n");
    EXPECT_EQ(read_text(path), "old");
    EXPECT_EQ(folder.entry_count(), has_files_without_names(folder.path()) ? 1U : 2U);
  }
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(folder.entry_count(), 1U);
}

TEST(OutputFileTest, FollowsALink) {
  const TemporaryFolder folder;
  const auto target = folder.write("elsewhere/report.json", "old");
  std::filesystem::create_symlink(target, folder.path() / "link.json");
  write_file(folder.path() / "link.json", "new");
  EXPECT_EQ(read_text(target), "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder.path() / "link.json"));
}

TEST(OutputFileTest, FollowsALinkToAFileThatIsYetToBe) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "elsewhere");
  std::filesystem::create_symlink("elsewhere/second.json", folder.path() / "link.json");
  std::filesystem::create_symlink(folder.path() / "elsewhere" / "report.json",
                                  folder.path() / "elsewhere" / "second.json");
  write_file(folder.path() / "link.json", "new");
  EXPECT_EQ(read_text(folder.path() / "elsewhere" / "report.json"), "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder.path() / "link.json"));
  std::filesystem::create_symlink("circle", folder.path() / "circle");
  EXPECT_THROW(write_file(folder.path() / "circle", "x"), OutputError);
}

TEST(OutputFileTest, ALinkThatCannotBeFollowedIsAnError) {
  const TemporaryFolder folder;
  std::string target;
  while (target.size() < 4080) target += "./";
  const auto link = folder.path() / "link.json";
  std::filesystem::create_symlink(target + "x.json", link);
  expect_error<OutputError>([&] { write_file(link, "x"); },
                            {"cannot write ", "File name too long", "name a place"});
}

TEST(OutputFileTest, AFileThatIsReplacedHandsOnItsPermissions) {
  const TemporaryFolder folder;
  const auto path = folder.write("secret.json", "old");
  const auto own = std::filesystem::perms::owner_read | std::filesystem::perms::owner_write;
  std::filesystem::permissions(path, own);
  write_file(path, "new");
  EXPECT_EQ(read_text(path), "new");
  EXPECT_EQ(std::filesystem::status(path).permissions(), own);
}

// In a sticky folder only a file's owner may replace it.
TEST(OutputFileTest, AFileThatMayNotBeReplacedIsWrittenInPlace) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const TemporaryFolder folder;
  const auto path = folder.write("shared.json", "the longer old one");
  ASSERT_EQ(chmod(folder.path().c_str(), 01777), 0);
  ASSERT_EQ(chmod(path.c_str(), 0666), 0);
  const auto write_as_nobody = [&] {
    constexpr uid_t kNobody = 65534;
    if (setuid(kNobody) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0) _exit(2);
    write_file(path, "new");
    _exit(0);
  };
  EXPECT_EXIT(write_as_nobody(), ::testing::ExitedWithCode(0), "");
  EXPECT_EQ(read_text(path), "new");
  EXPECT_EQ(folder.entry_count(), 1U);
}

TEST(OutputFileTest, RefusesPlacesThatCannotBeWritten) {
  const TemporaryFolder folder;
  const auto missing = folder.path() / "none" / "out.png";
  expect_error<OutputError>([&] { write_file(missing, "x"); }, {missing.string(), "No such file"});
  expect_error<OutputError>([&] { check_writable(missing); }, {missing.string()});
  expect_error<OutputError>([&] { check_writable(folder.path()); }, {"not a regular file"});
  expect_error<OutputError>([&] { check_writable("/dev/null"); }, {"not a regular file"});
  expect_error<OutputError>([&] { check_writable(""); }, {"names no file"});
  const auto file = folder.write("file", "x");
  expect_error<OutputError>([&] { check_writable(file / "out.png"); }, {"out.png"});
  expect_error<OutputError>([&] { check_writable(folder.path() / std::string(300, 'x')); },
                            {"xxx"});
  EXPECT_EQ(folder.entry_count(), 1U);
}

TEST(OutputFileTest, CheckingChangesNothing) {
  const TemporaryFolder folder;
  const auto path = folder.write("report.json", "old");
  check_writable(path);
  check_writable(folder.path() / "new.json");
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(folder.entry_count(), 1U);
}

}  // namespace
}  // namespace pcpp
