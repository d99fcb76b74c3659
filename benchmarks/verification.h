// What must hold before a time is reported.
#ifndef PCPP_BENCHMARKS_VERIFICATION_H_
#define PCPP_BENCHMARKS_VERIFICATION_H_

#include <string>

#include "drawing.h"
#include "pcpp/pcpp.h"

namespace pcpp::benchmarks {

// Throws DeviceError, which names `which`, unless both have the same latents in every bit and sent
// the same bytes of each kind in each step.
void check_same(const Drawing& a, const Drawing& b, const std::string& which);

// Throws DeviceError, which names `which`, unless the latents of a drawing of synchronous steps are
// those of one device to a relative error (2-norm) of 1e-3 in float32 and 0.1 in bfloat16.
void check_synchronous(const Drawing& synchronous, const Drawing& single, DataType dtype,
                       const std::string& which);

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_VERIFICATION_H_
