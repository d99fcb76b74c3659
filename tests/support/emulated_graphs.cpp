#include "support/emulated_graphs.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "support/emulation.h"

namespace pcpp {

namespace {

constexpr auto kKey = c10::DispatchKey::TESTING_ONLY_GenericMode;

struct Recording {
  std::vector<std::function<void()>> work;
  std::vector<at::Tensor> results;  // those that have memory of their own
};

thread_local Recording* current = nullptr;

std::vector<at::Tensor> tensors_in(const c10::IValue* values, std::size_t count) {
  std::vector<at::Tensor> tensors;
  for (const c10::IValue* value = values; value != values + count; ++value) {
    if (value->isTensor() && value->toTensor().defined()) tensors.push_back(value->toTensor());
    if (!value->isTensorList()) continue;
    for (const at::Tensor& tensor : value->toTensorVector()) tensors.push_back(tensor);
  }
  return tensors;
}

// The tensors of `results` that lie in none of `arguments`' memory; others undefined.
std::vector<at::Tensor> without_views(std::vector<at::Tensor> results,
                                      const std::vector<at::Tensor>& arguments) {
  for (at::Tensor& result : results) {
    const bool is_view = std::ranges::any_of(arguments, [&](const at::Tensor& argument) {
      return argument.has_storage() && argument.storage().is_alias_of(result.storage());
    });
    if (is_view) result.reset();
  }
  return results;
}

// A call of libtorch's on a thread that records.
void call_and_record(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::impl::ExcludeDispatchKeyGuard no_recording(kKey);
  const std::size_t count = op.schema().arguments().size();
  const torch::jit::Stack arguments(stack->end() - static_cast<std::ptrdiff_t>(count),
                                    stack->end());
  const std::size_t begin = stack->size() - count;
  op.callBoxed(stack);
  for (std::size_t i = begin; i < stack->size(); ++i) {
    if ((*stack)[i].isTensor() || (*stack)[i].isTensorList()) continue;
    throw std::logic_error(
        fmt::format("{} brings a value to the host, which a graph cannot", op.schema().name()));
  }
  const std::vector<at::Tensor> given = tensors_in(arguments.data(), count);
  const std::vector<at::Tensor> results =
      without_views(tensors_in(stack->data() + begin, stack->size() - begin), given);
  for (const at::Tensor& result : results) {
    if (result.defined()) current->results.push_back(result);
  }
  current->work.push_back([op, arguments, given, results] {
    torch::jit::Stack again = arguments;
    op.callBoxed(&again);
    const std::vector<at::Tensor> values =
        without_views(tensors_in(again.data(), again.size()), given);
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (results[i].defined()) results[i].copy_(values[i]);
    }
  });
}

class EmulatedGraph final : public GpuGraph {
 public:
  explicit EmulatedGraph(Recording recording) : recording_(std::move(recording)) {}
  void launch() override {
    for (const at::Tensor& result : recording_.results) {
      std::memset(result.storage().mutable_data(), 0xFF, result.storage().nbytes());
    }
    for (const auto& work : recording_.work) work();
  }

 private:
  Recording recording_;
};

class EmulatedRecorder final : public GraphRecorder {
 public:
  ~EmulatedRecorder() override {
    if (mode_) stop();
  }

  void begin() override {
    require_no_emulated_recording("a recording");
    recording_ = {};
    current = &recording_;
    emulation::on_launch = record_emulated;
    mode_.emplace(kKey);
  }

  std::unique_ptr<GpuGraph> end() override {
    stop();
    if (recording_.work.empty()) return nullptr;
    return std::make_unique<EmulatedGraph>(std::move(recording_));
  }

 private:
  void stop() {
    mode_.reset();
    emulation::on_launch = nullptr;
    current = nullptr;
  }

  Recording recording_;
  std::optional<c10::impl::IncludeDispatchKeyGuard> mode_;
};

}  // namespace

std::unique_ptr<GraphRecorder> make_emulated_recorder() {
  return std::make_unique<EmulatedRecorder>();
}

void record_emulated(const std::function<void()>& work) {
  if (current != nullptr) current->work.push_back(work);
}

void require_no_emulated_recording(const char* what) {
  if (current != nullptr) throw std::logic_error(fmt::format("{} within a recording", what));
}

TORCH_LIBRARY_IMPL(_, TESTING_ONLY_GenericMode, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&call_and_record>());
}

}  // namespace pcpp
