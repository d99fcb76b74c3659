// What a LoRA makes of a weight, in the forms that kohya's scripts, LyCORIS and PEFT write.
#ifndef PCPP_IO_LORA_UPDATE_H_
#define PCPP_IO_LORA_UPDATE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/lora_names.h"
#include "io/safetensors.h"

namespace pcpp {

// A matrix [rows, columns]: `left` alone, or left x right, or, in Tucker's form, with the elements
// [row, column, ...] = sum over i, j of left[row, i] * right[j, column] * core[i, j, ...], whose
// columns are all extents but the first.
struct LoraFactor {
  TensorView left;                  // [rows, rank, 1, ...]; alone [rows, columns, ...]
  std::optional<TensorView> right;  // [rank, columns, ...]
  std::optional<TensorView> core;   // [rank, rank, ...]
  bool rank_first = false;          // left is [rank, rows]

  std::int64_t rows() const;
  std::int64_t columns() const;
};

enum class LoraForm {
  lora,  // the one factor: LoRA (arXiv 2106.09685), LoCon with a core (arXiv 2309.14859)
  loha,  // two factors, multiplied element by element (arXiv 2108.06098)
  lokr,  // the Kronecker product of two factors (arXiv 2309.14859)
};

// Of a weight W [outputs, inputs, ...] it makes W + scale * D, where D is change_scale times what
// the form makes of the factors, a matrix of `outputs` rows. With magnitudes m it makes
// W + scale * (m * (W + D) / |W + D| - W) (DoRA, arXiv 2402.09353, equation 5): the norm of each
// output, or input, as there are magnitudes. At scale 1 that is what PEFT and LyCORIS make, at
// others they scale other terms; ComfyUI divides by |W| where magnitudes are of outputs.
struct LoraUpdate {
  LoraForm form = LoraForm::lora;
  std::vector<LoraFactor> factors;
  std::optional<TensorView> magnitudes;  // [outputs, 1] or [1, inputs]
  double change_scale = 1;               // alpha / rank
  double scale = 1;

  // Whether it is for a weight of this one's shape.
  bool fits(const TensorView& weight) const;
  // All that it reads.
  std::vector<TensorView> tensors() const;
};

// The tensors that a file holds of one weight's update.
using LoraParts = std::map<LoraPart, TensorView>;

// Its change_scale is alpha / rank, and 1 without `alpha` or where both of LoKr's factors are
// whole. Throws CheckpointError with `name` where parts are missing or belong to several forms,
// where their shapes do not belong together, and for a scale beyond float32.
LoraUpdate lora_update_of(const LoraParts& parts, std::optional<double> alpha, double scale,
                          const std::string& name);

}  // namespace pcpp

#endif  // PCPP_IO_LORA_UPDATE_H_
