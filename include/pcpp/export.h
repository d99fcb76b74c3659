// PCPP_EXPORT marks what the shared library promises; everything else is hidden.
#ifndef PCPP_EXPORT_H_
#define PCPP_EXPORT_H_

#if defined(_WIN32)
#define PCPP_EXPORT
#else
#define PCPP_EXPORT __attribute__((visibility("default")))
#endif

#endif  // PCPP_EXPORT_H_
