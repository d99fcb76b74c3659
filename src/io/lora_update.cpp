#include "io/lora_update.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>

#include "base/check.h"

namespace pcpp {
namespace {

// The parts that make one factor.
struct FactorParts {
  std::optional<LoraPart> whole;
  LoraPart left;
  LoraPart right;
  std::optional<LoraPart> core;
  bool rank_first_with_core;
};

constexpr std::array<FactorParts, 1> kLora = {
    {{std::nullopt, LoraPart::up, LoraPart::down, LoraPart::mid, false}}};
constexpr std::array<FactorParts, 2> kLoha = {
    {{std::nullopt, LoraPart::hada_w1_a, LoraPart::hada_w1_b, LoraPart::hada_t1, true},
     {std::nullopt, LoraPart::hada_w2_a, LoraPart::hada_w2_b, LoraPart::hada_t2, true}}};
constexpr std::array<FactorParts, 2> kLokr = {
    {{LoraPart::lokr_w1, LoraPart::lokr_w1_a, LoraPart::lokr_w1_b, std::nullopt, true},
     {LoraPart::lokr_w2, LoraPart::lokr_w2_a, LoraPart::lokr_w2_b, LoraPart::lokr_t2, true}}};

struct FormParts {
  LoraForm form;
  std::span<const FactorParts> factors;
};

constexpr std::array<FormParts, 3> kForms = {
    {{LoraForm::lora, kLora}, {LoraForm::loha, kLoha}, {LoraForm::lokr, kLokr}}};

std::int64_t saturated_product(std::int64_t first, std::int64_t second) {
  std::int64_t product = 0;
  const bool overflow = __builtin_mul_overflow(first, second, &product);
  return overflow ? std::numeric_limits<std::int64_t>::max() : product;
}

bool is_matrix(const TensorView& tensor) {
  return tensor.shape.size() >= 2 && tensor.element_count() > 0 &&
         tensor.element_count() == tensor.shape[0] * tensor.shape[1];
}

std::int64_t row_elements(const TensorView& tensor) {
  return tensor.element_count() / tensor.shape.front();
}

std::int64_t rank_of(const LoraFactor& factor) {
  return factor.right ? factor.right->shape.front() : 0;
}

// What a weight's parts make, and how errors begin.
class UpdateReader {
 public:
  UpdateReader(const LoraParts& parts, const std::string& name) : parts_(parts), name_(name) {}

  LoraUpdate read() const;

 private:
  const TensorView* find(std::optional<LoraPart> part) const;
  const TensorView& get(LoraPart part) const;
  std::string names() const;
  const FormParts& form() const;
  LoraFactor factor(const FactorParts& of) const;
  LoraFactor product(const FactorParts& of) const;
  void check_shapes(const LoraFactor& factor, const FactorParts& of) const;
  void check_pair(const LoraUpdate& update) const;
  std::optional<TensorView> magnitudes() const;

  const LoraParts& parts_;
  const std::string& name_;
};

const TensorView* UpdateReader::find(std::optional<LoraPart> part) const {
  if (!part) return nullptr;
  const auto found = parts_.find(*part);
  return found == parts_.end() ? nullptr : &found->second;
}

const TensorView& UpdateReader::get(LoraPart part) const {
  const TensorView* found = find(part);
  check<CheckpointError>(found != nullptr,
                         "{}: the {} of this weight is missing, or what other programs write for "
                         "it; get the file again",
                         name_, name_of(part));
  return *found;
}

std::string UpdateReader::names() const {
  std::vector<std::string_view> names;
  for (const auto& [part, tensor] : parts_) names.push_back(name_of(part));
  return fmt::format("{}", fmt::join(names, ", "));
}

const FormParts& UpdateReader::form() const {
  std::vector<const FormParts*> found;
  for (const FormParts& form : kForms) {
    const bool is_there = std::ranges::any_of(form.factors, [&](const FactorParts& of) {
      return find(of.whole) || find(of.left) || find(of.right) || find(of.core);
    });
    if (is_there) found.push_back(&form);
  }
  check<CheckpointError>(found.size() <= 1,
                         "{}: this weight has {}; a LoRA, a LoHa or a LoKr changes a weight, and "
                         "no two of them: save each in a file of its own",
                         name_, names());
  return found.empty() ? kForms.front() : *found.front();
}

LoraFactor UpdateReader::factor(const FactorParts& of) const {
  const bool in_parts = find(of.left) || find(of.right) || find(of.core);
  if (!of.whole || (in_parts && !find(of.whole))) return product(of);
  const TensorView& whole = get(*of.whole);
  check<CheckpointError>(!in_parts,
                         "{}: this weight has {}; a factor is whole, as {}, or in parts: save the "
                         "LoRA anew with the program that made it",
                         name_, names(), name_of(*of.whole));
  check<CheckpointError>(whole.shape.size() >= 2 && whole.element_count() > 0,
                         "{}: {} has shape {}; a matrix that is not empty is wanted", name_,
                         name_of(*of.whole), to_string(whole.shape));
  return {whole, {}, {}, false};
}

LoraFactor UpdateReader::product(const FactorParts& of) const {
  LoraFactor factor{{}, get(of.right), {}, false};
  factor.left = get(of.left);
  if (const TensorView* core = find(of.core)) {
    factor.core = *core;
    factor.rank_first = of.rank_first_with_core;
  }
  check_shapes(factor, of);
  return factor;
}

void UpdateReader::check_shapes(const LoraFactor& factor, const FactorParts& of) const {
  const TensorView& right = *factor.right;
  const bool matrices = is_matrix(factor.left) && right.shape.size() >= 2 &&
                        right.element_count() > 0 &&
                        factor.left.shape[factor.rank_first ? 0 : 1] == right.shape[0];
  const char* rows = factor.rank_first ? "[rank, rows]" : "[rows, rank]";
  check<CheckpointError>(matrices,
                         "{}: {} has shape {} and {} {}; [rank, columns, ...] and {} of one rank "
                         "are wanted",
                         name_, name_of(of.right), to_string(right.shape), name_of(of.left),
                         to_string(factor.left.shape), rows);
  if (!factor.core) return;
  const std::vector<std::int64_t>& core = factor.core->shape;
  const bool fits = is_matrix(right) && core.size() >= 2 && factor.core->element_count() > 0 &&
                    core[0] == right.shape[0] && core[1] == right.shape[0];
  check<CheckpointError>(fits,
                         "{}: {} has shape {} and {} {}; in Tucker's form [rank, columns] and "
                         "[rank, rank, ...] of one rank are wanted",
                         name_, name_of(of.right), to_string(right.shape), name_of(*of.core),
                         to_string(core));
}

void UpdateReader::check_pair(const LoraUpdate& update) const {
  const LoraFactor& first = update.factors.front();
  const LoraFactor& second = update.factors.back();
  check<CheckpointError>(
      rank_of(first) == 0 || rank_of(second) == 0 || rank_of(first) == rank_of(second),
      "{}: its factors are of rank {} and {}; one rank is wanted", name_, rank_of(first),
      rank_of(second));
  if (update.form == LoraForm::loha) {
    check<CheckpointError>(first.rows() == second.rows() && first.columns() == second.columns(),
                           "{}: its factors are [{}, {}] and [{}, {}]; LoHa multiplies matrices of "
                           "one shape",
                           name_, first.rows(), first.columns(), second.rows(), second.columns());
  }
  if (update.form == LoraForm::lokr) {
    const TensorView& columns = first.right ? *first.right : first.left;
    check<CheckpointError>(is_matrix(columns),
                           "{}: LoKr's first factor has shape {}; a matrix is wanted", name_,
                           to_string(columns.shape));
  }
}

std::optional<TensorView> UpdateReader::magnitudes() const {
  const TensorView* lycoris = find(LoraPart::dora_scale);
  const TensorView* peft = find(LoraPart::magnitude_vector);
  if (lycoris == nullptr && peft == nullptr) return std::nullopt;
  check<CheckpointError>(lycoris == nullptr || peft == nullptr,
                         "{}: this weight has {}; save the LoRA anew under one kind of names",
                         name_, names());
  TensorView magnitudes = peft != nullptr ? *peft : *lycoris;
  const std::int64_t count = magnitudes.element_count();
  const std::vector<std::int64_t> shape = magnitudes.shape;
  const auto has = [&](std::size_t place) {
    return count > 0 && place < shape.size() && shape[place] == count;
  };
  check<CheckpointError>(
      has(0) || has(1),
      "{}: {} has shape {}; a number for each output, [outputs, 1, ...], or for "
      "each input, [1, inputs, ...], is wanted",
      name_, name_of(peft != nullptr ? LoraPart::magnitude_vector : LoraPart::dora_scale),
      to_string(shape));
  // PEFT writes those of a convolution's outputs as [1, outputs, 1, 1].
  const bool of_outputs = peft != nullptr || has(0);
  magnitudes.shape = {of_outputs ? count : 1, of_outputs ? 1 : count};
  return magnitudes;
}

LoraUpdate UpdateReader::read() const {
  const FormParts& form = this->form();
  LoraUpdate update;
  update.form = form.form;
  if (find(LoraPart::hada_t1) || find(LoraPart::hada_t2)) {
    get(LoraPart::hada_t1);
    get(LoraPart::hada_t2);
  }
  for (const FactorParts& of : form.factors) update.factors.push_back(factor(of));
  check_pair(update);
  update.magnitudes = magnitudes();
  return update;
}

}  // namespace

std::int64_t LoraFactor::rows() const { return left.shape[rank_first ? 1 : 0]; }

std::int64_t LoraFactor::columns() const {
  if (!right) return row_elements(left);
  if (!core) return row_elements(*right);
  return saturated_product(row_elements(*right), row_elements(*core) / core->shape[1]);
}

bool LoraUpdate::fits(const TensorView& weight) const {
  if (weight.shape.size() < 2 || weight.element_count() == 0) return false;
  std::int64_t rows = factors.front().rows();
  std::int64_t columns = factors.front().columns();
  if (form == LoraForm::lokr) {
    rows = saturated_product(rows, factors.back().rows());
    columns = saturated_product(columns, factors.back().columns());
  }
  const std::vector<std::int64_t> of_outputs = {weight.shape[0], 1};
  const std::vector<std::int64_t> of_inputs = {1, weight.shape[1]};
  return rows == weight.shape[0] && columns == row_elements(weight) &&
         (!magnitudes || magnitudes->shape == of_outputs || magnitudes->shape == of_inputs);
}

std::vector<TensorView> LoraUpdate::tensors() const {
  std::vector<TensorView> all;
  for (const LoraFactor& factor : factors) {
    all.push_back(factor.left);
    if (factor.right) all.push_back(*factor.right);
    if (factor.core) all.push_back(*factor.core);
  }
  if (magnitudes) all.push_back(*magnitudes);
  return all;
}

LoraUpdate lora_update_of(const LoraParts& parts, std::optional<double> alpha, double scale,
                          const std::string& name) {
  LoraUpdate update = UpdateReader(parts, name).read();
  const auto rank = static_cast<double>(
      std::max(rank_of(update.factors.front()), rank_of(update.factors.back())));
  if (alpha && rank > 0) update.change_scale = *alpha / rank;
  update.scale = scale;
  for (const double factor :
       {update.change_scale, update.scale, update.scale * update.change_scale}) {
    check<CheckpointError>(std::abs(factor) <= std::numeric_limits<float>::max(),
                           "{}: an alpha of {} for rank {} at scale {} makes a factor that is not "
                           "a finite float32 number; take a smaller scale, or get the file again",
                           name, alpha.value_or(rank), rank, scale);
  }
  return update;
}

}  // namespace pcpp
