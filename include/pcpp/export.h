// PCPP_EXPORT marks what the shared library promises; everything else is hidden.
#ifndef PCPP_EXPORT_H_
#define PCPP_EXPORT_H_

#if defined(_GLIBCXX_DEBUG)
#error "libpcpp and libtorch take the standard library's plain containers: undefine _GLIBCXX_DEBUG"
#endif

#define PCPP_EXPORT __attribute__((visibility("default")))

#endif  // PCPP_EXPORT_H_
