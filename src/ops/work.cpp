#include "ops/work.h"

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <memory>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace pcpp {

namespace {

thread_local WorkLog* current_log = nullptr;

template <typename Values>
std::vector<at::Tensor> tensors_in(const Values& values) {
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& value : values) {
    if (value.isTensor() && value.toTensor().defined()) tensors.push_back(value.toTensor());
    if (!value.isTensorList()) continue;
    for (const at::Tensor& tensor : value.toTensorVector()) tensors.push_back(tensor);
  }
  return tensors;
}

double bytes_of(const std::vector<at::Tensor>& tensors) {
  double bytes = 0;
  for (const at::Tensor& tensor : tensors) bytes += static_cast<double>(tensor.nbytes());
  return bytes;
}

}  // namespace

// A call of libtorch's on a thread that counts.
class OuterCall final : public at::ObserverContext {
 public:
  OuterCall(WorkLog& log, std::vector<at::Tensor> inputs)
      : log_(log), inputs_(std::move(inputs)), outermost_(log.open_++ == 0) {}

  // A call's inputs can be seen at its begin only, its outputs at its end.
  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& call) {
    if (current_log == nullptr) return nullptr;
    return std::make_unique<OuterCall>(*current_log, tensors_in(call.inputs()));
  }
  static void end(const at::RecordFunction& call, at::ObserverContext* context) {
    if (context == nullptr) return;
    const auto* self = static_cast<OuterCall*>(context);
    --self->log_.open_;
    self->log_.count(call.name(), self->inputs_, tensors_in(call.outputs()), self->outermost_);
  }

 private:
  WorkLog& log_;
  std::vector<at::Tensor> inputs_;
  bool outermost_;
};

WorkLog::WorkLog(Timeline& timeline) : timeline_(&timeline) {
  check<std::logic_error>(current_log == nullptr, "a thread has one log of work at most");
  current_log = this;
}

WorkLog::WorkLog() {
  check<std::logic_error>(current_log == nullptr, "a thread has one log of work at most");
  current_log = this;
  callback_ =
      at::addThreadLocalCallback(at::RecordFunctionCallback(&OuterCall::begin, &OuterCall::end)
                                     .needsInputs(true)
                                     .needsOutputs(true)
                                     .scopes({at::RecordScope::FUNCTION}));
}

WorkLog::~WorkLog() {
  if (callback_ != 0) at::removeCallback(callback_);
  current_log = nullptr;
}

WorkLog* WorkLog::current() { return current_log; }

// A call that returns its input's memory is a view unless its name says that it writes there.
void WorkLog::count(std::string_view name, const std::vector<at::Tensor>& inputs,
                    const std::vector<at::Tensor>& outputs, bool outermost) {
  std::set<const c10::StorageImpl*> read;
  for (const at::Tensor& input : inputs) read.insert(input.storage().unsafeGetStorageImpl());
  bool is_view = !name.ends_with('_');
  for (const at::Tensor& output : outputs) {
    if (read.contains(output.storage().unsafeGetStorageImpl())) continue;
    is_view = false;
    alive_.push_back(output.storage().getWeakStorageImpl());
  }
  if (outermost && !is_view && !inputs.empty()) {
    elementwise_bytes_ += bytes_of(inputs) + bytes_of(outputs);
  }
  std::set<const c10::StorageImpl*> counted;
  std::int64_t bytes = 0;
  std::erase_if(alive_, [&](const auto& weak) {
    const auto storage = weak.lock();
    if (!storage) return true;
    if (!counted.insert(storage.get()).second) return true;
    bytes += static_cast<std::int64_t>(storage->nbytes());
    return false;
  });
  peak_bytes_ = std::max(peak_bytes_, bytes);
}

void WorkScope::begin(Work work, Clock::time_point called) {
  if (log_->failure_) std::rethrow_exception(std::exchange(log_->failure_, nullptr));
  work_ = std::move(work);
  outermost_ = log_->open_++ == 0;
  if (outermost_) work_.begin = log_->mark();
  log_->telling_seconds_ += seconds_since(called);
}

void WorkScope::end() noexcept {
  const Clock::time_point ended = Clock::now();
  if (outermost_) {
    try {
      work_.end = log_->mark();
      log_->works_.push_back(std::move(work_));
    } catch (...) {
      log_->failure_ = std::current_exception();
    }
  }
  --log_->open_;
  log_->telling_seconds_ += seconds_since(ended);
}

}  // namespace pcpp
