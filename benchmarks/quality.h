// How far a picture is from another: PSNR, SSIM, and the seams between bands.
#ifndef PCPP_BENCHMARKS_QUALITY_H_
#define PCPP_BENCHMARKS_QUALITY_H_

#include <vector>

#include "pcpp/image.h"

namespace pcpp::benchmarks {

// 10 log10(255^2 / MSE) in dB, the mean over all pixels and channels in float64; infinite for equal
// pictures. Throws ConfigError where the sizes differ.
double psnr_db(const Image& picture, const Image& reference);

// Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004, section III) of the luminances
// 0.299 R + 0.587 G + 0.114 B: the mean over every 11x11 window that lies inside, weighted by a
// Gaussian of sigma 1.5, K1 0.01, K2 0.03, L 255. 1 for equal pictures. Throws ConfigError where
// the sizes differ or are below 11 pixels.
double ssim(const Image& picture, const Image& reference);

// The mean absolute difference between the two pixel rows at each border, over that between all
// other pairs of neighbouring rows; all columns and channels. About 1 where the borders do not
// show. `borders` are the first rows of the bands but the first, each in (0, height). Not a number
// without borders; infinite where only borders differ.
double seam(const Image& picture, const std::vector<int>& borders);

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_QUALITY_H_
