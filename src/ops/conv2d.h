// Convolutions over a patch.
#ifndef PCPP_OPS_CONV2D_H_
#define PCPP_OPS_CONV2D_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ops/padded_rows.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"
#include "ops/winograd.h"
#include "ops/work.h"

namespace pcpp {

// What becomes of an image that is added to a convolution.
enum class Addend { kept, overwritten };

// The weights of a 3x3 convolution, kept in the layout that the library computes with, so that no
// call rearranges them. The layout depends on the size of the input: a size that needs another one
// than those before adds a copy. Or transformed, for Winograd's algorithm: then for every size.
// Calls are thread-safe, and their results depend on their input alone.
class Kernel3x3 {
 public:
  // Takes `weight` [out, in, 3, 3] and `bias` [out]. `padding` 0: the input holds the columns that
  // stand to the left and right.
  Kernel3x3(const WeightScope& weights, std::int64_t in, std::int64_t out, std::int64_t stride,
            std::int64_t padding = 1);

  // The convolution of a channels-last input with its padding of zeros to the left and right and,
  // where `vertical_padding` is 1, one above and below. Channels-last.
  at::Tensor operator()(const at::Tensor& input, std::int64_t vertical_padding) const;
  // The same plus `addend`, channels-last, which it may return where that may be overwritten.
  at::Tensor plus(const at::Tensor& addend, Addend use, const at::Tensor& input,
                  std::int64_t vertical_padding) const;

  std::int64_t in() const { return in_; }
  std::int64_t out() const { return bias_.size(0); }
  at::ScalarType dtype() const { return bias_.scalar_type(); }
  // Whether it can compute by Winograd's algorithm: with stride 1, on a CPU.
  bool fits_winograd() const;
  // Makes it do so. Once, before all calls, which then must be those that follow.
  void use_winograd(WinogradTile tile);
  // Of its tiles; none without.
  std::optional<WinogradTile> winograd_tile() const;
  // The same as above, with zeros above and below, or there the rows of `halo`, which only
  // Winograd's algorithm reads where they lie.
  at::Tensor operator()(const at::Tensor& input, const Neighbours& halo) const;
  at::Tensor plus(const at::Tensor& addend, Addend use, const at::Tensor& input,
                  const Neighbours& halo) const;

  // On a GPU, where adding a bias is a pass over the result of its own, operator() leaves it out
  // from now on, and it is returned for whoever reads the result to add. Elsewhere undefined.
  at::Tensor release_bias();

 private:
  using InputSize = std::array<std::int64_t, 4>;  // batch, rows, columns, vertical padding
  struct Layout {
    at::Tensor descriptor;  // oneDNN's, as bytes
    at::Tensor weight;
  };
  struct Packed {
    std::mutex mutex;
    at::Tensor dense;  // until the first call
    std::vector<Layout> layouts;
    std::map<InputSize, std::size_t> layout_of;
  };
  // Of a call.
  Work work(const at::Tensor& input, std::int64_t vertical_padding) const;
  at::Tensor packed_weight(const at::Tensor& input, std::int64_t vertical_padding) const;

  at::Tensor bias_;
  bool adds_bias_ = true;
  std::int64_t in_;
  std::int64_t stride_;
  std::int64_t padding_;            // to the left and right
  at::Tensor weight_;               // where oneDNN cannot serve
  std::unique_ptr<Packed> packed_;  // where it can
  std::optional<WinogradConvolution> winograd_;
};

// A 3x3 convolution with padding 1 and stride 1 or 2, reading halo rows of the neighbouring bands
// where there are any and zeros at the image's edge. Any number of ranks may use it at once.
class Conv3x3 {
 public:
  // Takes `weight` [out, in, 3, 3] and `bias` [out]; registers its kernel, and its halo site at
  // `level`, the level of its input.
  Conv3x3(const WeightScope& weights, std::int64_t in, std::int64_t out, int stride, int level,
          SiteRegistry& sites);

  // [batch, in, rows, columns] channels-last -> [batch, out, rows / stride, columns / stride],
  // rounded up.
  at::Tensor operator()(const at::Tensor& input, PatchContext& context) const;
  // The same of rows made with padding(context): only the neighbours' are copied.
  at::Tensor operator()(const PaddedRows& input, PatchContext& context) const;
  // The same plus `addend`, channels-last, which it may return where that may be overwritten.
  at::Tensor plus(const at::Tensor& addend, Addend use, const PaddedRows& input,
                  PatchContext& context) const;

  // As that of its kernel.
  at::Tensor release_bias() { return kernel_->release_bias(); }

  // The rows of padding that its input has in the present step: 1 where it reads neighbours' rows,
  // and they must lie beside the band's own. (Winograd's algorithm reads them where they are.)
  std::int64_t padding(const PatchContext& context) const;

 private:
  Neighbours exchange(const PaddedRows& input, PatchContext& context) const;

  std::string name_;
  std::shared_ptr<Kernel3x3> kernel_;
  SiteId site_;
};

// A 3x3 convolution with stride 2 that pads below and to the right alone, as an AutoencoderKL's
// encoder does (diffusers' Downsample2D with padding 0): each pixel is made of its four and of
// those beside and below them. Any number of ranks may use it at once.
class DownConv3x3 {
 public:
  // Takes `weight` [out, in, 3, 3] and `bias` [out]; registers its halo site at `level`, the level
  // of its input.
  DownConv3x3(const WeightScope& weights, std::int64_t in, std::int64_t out, int level,
              SiteRegistry& sites);

  // [batch, in, rows, columns] channels-last, both even -> [batch, out, rows / 2, columns / 2].
  at::Tensor operator()(const at::Tensor& input, PatchContext& context) const;

 private:
  std::string name_;
  std::shared_ptr<Kernel3x3> kernel_;
  SiteId site_;
};

// A 3x3 convolution whose input already holds the halo: [batch, in, rows + halo, columns], with
// `above` and `below` telling which halo rows are there; zeros stand in for the missing ones. For
// conv_in, whose halo is cut from the whole latent.
class ConvIn {
 public:
  ConvIn(const WeightScope& weights, std::int64_t in, std::int64_t out);
  at::Tensor operator()(const at::Tensor& input, bool above, bool below) const;

 private:
  std::string name_;
  Kernel3x3 kernel_;
};

}  // namespace pcpp

#endif  // PCPP_OPS_CONV2D_H_
