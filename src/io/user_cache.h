// Where files lie that a program may lose.
#ifndef PCPP_IO_USER_CACHE_H_
#define PCPP_IO_USER_CACHE_H_

#include <filesystem>

namespace pcpp {

// The library's folder in the user's cache: in $XDG_CACHE_HOME where that is an absolute path, as
// the XDG Base Directory Specification has it, else in $HOME/.cache; empty without both. It need
// not exist.
std::filesystem::path user_cache();

}  // namespace pcpp

#endif  // PCPP_IO_USER_CACHE_H_
