// GPUs by name. All figures are for 16-bit networks with 32-bit accumulation, dense.
//
// The A100's three rates are fitted, within a hundredth, to DistriFusion's single-card times of
// SDXL, 50 steps: 5.02, 23.7 and 140 s at 1024, 2048 and 3840 squared (arXiv 2402.19481, figure 6).
// The others' are the
// A100's times the ratio of their data sheets' peaks:
//   A100 80GB   312 TFLOP/s, 2039 GB/s (PCIe card: 1935), NVLink 3: 300 GB/s each way
//   H100 SXM    989 TFLOP/s, 3350 GB/s, NVLink 4: 450 GB/s each way
//   RTX 4090    165 TFLOP/s, 1008 GB/s, 24 GB; PCIe 4 x16 without peer copies: rows cross it twice,
//               by way of the host
// (NVIDIA's data sheets of the A100 and the H100, and its Ada architecture's whitepaper.)
// Latencies are world.h's.

#include "base/named.h"
#include "pcpp/plan.h"

namespace pcpp {

namespace {

// Of an A100, in units a second; and the seconds that a call costs however small.
constexpr double kDenseMacs = 76.0e12;
constexpr double kAttentionMacs = 92.1e12;
constexpr double kBytes = 1.7e12;  // five sixths of the data sheet's
constexpr double kCallSeconds = 8.3e-6;

constexpr double kA100Peak = 312e12;
constexpr double kA100Bandwidth = 2039e9;

RateCurve line(WorkKind kind, double fixed_seconds, double a_second) {
  constexpr double kFar = 1e15;
  return {kind, "", 1, {{0, fixed_seconds}, {kFar, fixed_seconds + kFar / a_second}}};
}

DeviceProfile gpu(const char* name, const char* source, double peak, double bandwidth,
                  std::int64_t gigabytes, const Link& link) {
  const double compute = peak / kA100Peak;
  const double memory = bandwidth / kA100Bandwidth;
  DeviceProfile profile{name, source, false, DataType::bfloat16, gigabytes * 1000000000, link, {}};
  profile.curves = {line(WorkKind::convolution, kCallSeconds, kDenseMacs * compute),
                    line(WorkKind::linear, kCallSeconds, kDenseMacs * compute),
                    line(WorkKind::attention, kCallSeconds, kAttentionMacs * compute),
                    line(WorkKind::normalisation, kCallSeconds, kBytes * memory),
                    line(WorkKind::elementwise, 0, kBytes * memory),
                    line(WorkKind::exchange, 0, kBytes * memory)};
  return profile;
}

}  // namespace

const std::vector<DeviceProfile>& DeviceProfile::known() {
  static const Link nvlink3{"nvlink3", 300e9, 2e-6, false};
  const Link& pcie = Link::named("pcie4x16");
  static const Link pcie_twice{"pcie4x16 by the host", pcie.bytes_per_second / 2,
                               2 * pcie.latency_seconds, false};
  static const std::vector<DeviceProfile> profiles = {
      gpu("a100-nvlink", "fitted to DistriFusion's single A100 80GB; link: data sheet", kA100Peak,
          kA100Bandwidth, 80, nvlink3),
      gpu("a100-pcie", "fitted to DistriFusion's single A100 80GB; link: data sheet", kA100Peak,
          1935e9, 80, Link::named("pcie4x16")),
      gpu("h100-nvlink", "the A100's scaled by data sheets", 989e12, 3350e9, 80,
          Link::named("nvlink4")),
      gpu("rtx4090-pcie", "the A100's scaled by data sheets", 165e12, 1008e9, 24, pcie_twice)};
  return profiles;
}

const DeviceProfile& DeviceProfile::named(const std::string& name) {
  return named_in(known(), name, "'{}' is no profile's name: there are {}");
}

}  // namespace pcpp
