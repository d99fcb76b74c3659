// How visible the difference of two pictures is to somebody who flips between them.
#ifndef PCPP_BENCHMARKS_FLIP_H_
#define PCPP_BENCHMARKS_FLIP_H_

#include "pcpp/image.h"

namespace pcpp::benchmarks {

// The mean over all pixels of LDR-FLIP (Andersson, Nilsson, Akenine-Moller, Oskarsson, Astrom,
// Fairchild: FLIP, a difference evaluator for alternating images, 2020): colours after the eye's
// contrast sensitivity, and edges and points, at 67.02 pixels a degree (a 0.7 m wide display of
// 3840 pixels from 0.7 m), sRGB. 0 for equal pictures, at most 1. Throws ConfigError where the
// sizes differ.
double flip(const Image& picture, const Image& reference);

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_FLIP_H_
