#include "support/host_operators.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <ATen/cuda/Sleep.h>
#include <ATen/ops/_scaled_dot_product_attention_math.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "support/fake_cuda.h"

namespace pcpp::testing {

namespace {

using torch::jit::Stack;
using ChangeTensor = std::function<at::Tensor(const at::Tensor&)>;

constexpr std::array kOperators = {"add.Tensor",
                                   "add_.Tensor",
                                   "addmm",
                                   "arange.start_out",
                                   "argmax",
                                   "baddbmm.out",
                                   "bmm",
                                   "bmm.out",
                                   "cat",
                                   "convolution",
                                   "cos",
                                   "div.Tensor",
                                   "div_.Tensor",
                                   "eq.Scalar",
                                   "exp",
                                   "fill_.Scalar",
                                   "ge.Scalar",
                                   "gelu",
                                   "index.Tensor",
                                   "index_select",
                                   "masked_fill_.Scalar",
                                   "mean.dim",
                                   "mm",
                                   "mul.Tensor",
                                   "mul.out",
                                   "mul_.Tensor",
                                   "_safe_softmax",
                                   "sigmoid",
                                   "silu",
                                   "sin",
                                   "_softmax",
                                   "std.correction",
                                   "sub.Tensor",
                                   "upsample_nearest2d",
                                   "where.self",
                                   "zero_"};
constexpr std::array kAttentions = {"_scaled_dot_product_efficient_attention",
                                    "_scaled_dot_product_flash_attention",
                                    "_scaled_dot_product_cudnn_attention"};

void add_range(std::vector<fake_cuda::Range>& ranges, const at::Tensor& tensor) {
  if (tensor.numel() == 0) return;
  std::size_t last = 0;
  for (std::int64_t dim = 0; dim < tensor.dim(); ++dim) {
    last += static_cast<std::size_t>((tensor.size(dim) - 1) * tensor.stride(dim));
  }
  ranges.push_back({tensor.const_data_ptr(), (last + 1) * tensor.element_size()});
}

// A tensor of the host's over the same memory, which it does not keep.
at::Tensor on_host(const at::Tensor& tensor) {
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(),
                       at::TensorOptions(tensor.scalar_type()));
}

// Of the host's, to learn of what shapes results are: zeros are valid indices, too.
at::Tensor zeros_as(const at::Tensor& tensor) {
  return at::empty_strided(tensor.sizes(), tensor.strides(),
                           at::TensorOptions(tensor.scalar_type()))
      .zero_();
}

// `value` with each CUDA tensor in it changed.
c10::IValue changed(const c10::IValue& value, const ChangeTensor& change) {
  const auto change_one = [&](const at::Tensor& tensor) {
    return tensor.defined() && tensor.is_cuda() ? change(tensor) : tensor;
  };
  if (value.isTensor()) return change_one(value.toTensor());
  if (value.isTensorList()) {
    c10::List<at::Tensor> tensors;
    for (const at::Tensor& tensor : value.toTensorVector()) tensors.push_back(change_one(tensor));
    return tensors;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> tensors;
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
      tensors.push_back(tensor ? std::optional(change_one(*tensor)) : std::nullopt);
    }
    return tensors;
  }
  return value;
}

Stack changed(const Stack& values, const ChangeTensor& change) {
  Stack result;
  for (const c10::IValue& value : values) result.push_back(changed(value, change));
  return result;
}

void put_on_present_stream(std::function<void()> run, std::vector<fake_cuda::Range> ranges) {
  C10_CUDA_CHECK(fake_cuda::launch(c10::cuda::getCurrentCUDAStream().stream(), std::move(run),
                                   std::move(ranges)));
}

// Takes a call's arguments from the stack.
Stack take_arguments(const c10::OperatorHandle& op, Stack& stack) {
  const auto count = static_cast<std::ptrdiff_t>(op.schema().arguments().size());
  Stack arguments(stack.end() - count, stack.end());
  stack.erase(stack.end() - count, stack.end());
  return arguments;
}

// Those of the arguments that are written to.
Stack written(const c10::OperatorHandle& op, const Stack& arguments) {
  Stack targets;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const c10::AliasInfo* alias = op.schema().arguments()[i].alias_info();
    if (alias != nullptr && alias->isWrite()) targets.push_back(arguments[i]);
  }
  return targets;
}

Stack call_host(const c10::OperatorHandle& op, Stack arguments) {
  const c10::InferenceMode inference;
  op.callBoxed(&arguments);
  return arguments;
}

// Gives the targets that the caller left empty their shapes.
void resize_targets(const c10::OperatorHandle& op, const Stack& arguments, const Stack& targets) {
  const bool some_are_empty = std::ranges::any_of(targets, [](const c10::IValue& target) {
    return target.isTensor() && target.toTensor().numel() == 0;
  });
  if (!some_are_empty) return;
  const Stack likes = call_host(op, changed(arguments, zeros_as));
  for (std::size_t i = 0; i < targets.size(); ++i) {
    targets[i].toTensor().resize_(likes[i].toTensor().sizes());
  }
}

void call_on_stream(const c10::OperatorHandle& op, Stack* stack) {
  const Stack arguments = take_arguments(op, *stack);
  const Stack targets = written(op, arguments);
  resize_targets(op, arguments, targets);
  std::vector<fake_cuda::Range> ranges;
  at::Device device = at::kCPU;
  const ChangeTensor seen = [&](const at::Tensor& tensor) {
    device = tensor.device();
    add_range(ranges, tensor);
    return on_host(tensor);
  };
  const Stack given = changed(arguments, seen);
  if (!targets.empty()) {
    put_on_present_stream([op, given] { call_host(op, given); }, std::move(ranges));
    stack->insert(stack->end(), targets.begin(), targets.end());
    return;
  }
  std::vector<at::Tensor> results;
  for (const c10::IValue& like : call_host(op, changed(arguments, zeros_as))) {
    const at::Tensor& shape = like.toTensor();
    const at::Tensor result =
        at::empty_strided(shape.sizes(), shape.strides(), shape.options().device(device));
    results.push_back(seen(result));
    stack->emplace_back(result);
  }
  put_on_present_stream(
      [op, given, results] {
        const c10::InferenceMode inference;
        const Stack values = call_host(op, given);
        for (std::size_t i = 0; i < results.size(); ++i) results[i].copy_(values[i].toTensor());
      },
      std::move(ranges));
}

// Within a GPU here; between it and the host as libtorch does it, once both sides lie alike.
void copy_on_stream(const c10::OperatorHandle& op, Stack* stack) {
  const at::Tensor target = stack->at(stack->size() - 3).toTensor();
  const at::Tensor source = stack->at(stack->size() - 2).toTensor();
  if (target.device() == source.device()) return call_on_stream(op, stack);
  if (target.is_cuda() && source.is_cuda()) throw std::logic_error("a copy from GPU to GPU");
  const bool alike = target.scalar_type() == source.scalar_type() &&
                     target.strides() == source.strides() && target.sizes() == source.sizes() &&
                     target.is_non_overlapping_and_dense();
  if (alike) return op.callBoxedForDispatchKey(c10::DispatchKey::CompositeExplicitAutograd, *stack);
  const at::Tensor between = at::empty(target.sizes(), target.options().device(source.device()));
  between.copy_(source);
  const at::Tensor beside = at::empty(target.sizes(), target.options());
  beside.copy_(between);
  target.copy_(beside);
  torch::jit::drop(*stack, 3);
  stack->emplace_back(target);
}

std::atomic<bool> cudnn_attention_fails = false;
std::atomic<int> slept = 0;

// The fused kernels have no function for CPUs: the plain one, laid out as they lay out.
void attend_on_stream(const c10::OperatorHandle& op, Stack* stack) {
  TORCH_CHECK(!cudnn_attention_fails || !op.operator_name().name.ends_with("cudnn_attention"),
              "cuDNN Frontend error: No execution plans support the graph.\nat line 7");
  const Stack arguments = take_arguments(op, *stack);
  std::vector<fake_cuda::Range> ranges;
  const auto argument = [&](const char* name) -> c10::IValue {
    const std::optional<int> index = op.schema().argumentIndexWithName(name);
    if (!index) return {};
    const c10::IValue& value = arguments[static_cast<std::size_t>(*index)];
    if (!value.isTensor() || !value.toTensor().defined()) return value;
    add_range(ranges, value.toTensor());
    return on_host(value.toTensor());
  };
  const at::Tensor query = argument("query").toTensor();
  const at::Tensor key = argument("key").toTensor();
  const at::Tensor value = argument("value").toTensor();
  const auto bias = argument("attn_bias").toOptional<at::Tensor>();
  const auto scale = argument("scale").toOptional<double>();
  const bool is_causal = argument("is_causal").toBool();
  const at::TensorOptions options = arguments[0].toTensor().options();
  const at::Tensor result =
      at::empty({query.size(0), query.size(2), query.size(1), value.size(3)}, options)
          .transpose(1, 2);
  add_range(ranges, result);
  put_on_present_stream(
      [=, target = on_host(result)] {
        const c10::InferenceMode inference;
        target.copy_(std::get<0>(at::_scaled_dot_product_attention_math(
            query, key, value, bias, 0, is_causal, std::nullopt, scale)));
      },
      std::move(ranges));
  stack->emplace_back(result);
  for (std::size_t i = 1; i < op.schema().returns().size(); ++i) {
    const bool is_tensor = op.schema().returns()[i].type()->isSubtypeOf(*c10::TensorType::get());
    stack->push_back(is_tensor ? c10::IValue(at::empty({0}, options)) : c10::IValue(0));
  }
}

}  // namespace

int occupations() { return slept; }

void let_cudnn_attention_fail(bool fails) { cudnn_attention_fails = fails; }

void use_host_operators() {
  struct Silent final : c10::WarningHandler {
    void process(const c10::Warning& /*overridden*/) override {}
  };
  Silent silent;
  const c10::WarningUtils::WarningHandlerGuard guard(&silent);
  static torch::Library library(torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__,
                                __LINE__);
  for (const char* name : kOperators) {
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&call_on_stream>());
  }
  for (const char* name : kAttentions) {
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&attend_on_stream>());
  }
  library.impl("copy_", torch::CppFunction::makeFromBoxedFunction<&copy_on_stream>());
}

}  // namespace pcpp::testing

namespace at::cuda {

void sleep(std::int64_t cycles) {
  TORCH_CHECK(cycles > 0, "a sleep of ", cycles, " cycles");
  pcpp::testing::put_on_present_stream([] { ++pcpp::testing::slept; }, {});
}

}  // namespace at::cuda
