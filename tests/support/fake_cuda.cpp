#include "support/fake_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <utility>

#include "support/fake_cuda_machine.h"

namespace pcpp::testing::fake_cuda {

Machine& machine() {
  static Machine instance;
  return instance;
}

std::unique_lock<std::mutex> lock() { return std::unique_lock(machine().mutex); }

void report(const std::string& problem) { machine().problems.push_back(problem); }

int stream_device(cudaStream_t stream) { return stream->device; }

bool is_live(cudaStream_t stream) { return stream != nullptr && !stream->destroyed; }
bool is_live(cudaEvent_t event) { return event != nullptr && !event->destroyed; }

cudaStream_t served(cudaStream_t stream) {
  Machine& m = machine();
  if (stream != nullptr || !m.options.libtorch) return stream;
  cudaStream_t& kept = m.default_streams[present_device];
  if (kept == nullptr) {
    m.streams.push_back(std::make_unique<CUstream_st>());
    kept = m.streams.back().get();
    kept->device = present_device;
  }
  return kept;
}

bool is_unsafe_in_captures(const std::string& function) {
  static const std::set<std::string> functions = {
      "cudaMalloc",          "cudaFree",        "cudaMemcpy",     "cudaHostAlloc",
      "cudaFreeHost",        "cudaStreamQuery", "cudaEventQuery", "cudaStreamSynchronize",
      "cudaGraphExecDestroy"};
  return functions.contains(function);
}

cudaError_t launch(cudaStream_t stream, std::function<void()> run, std::vector<Range> ranges) {
  Call call("cudaLaunchKernel");
  if (call.failed()) return call.status();
  stream = served(stream);
  if (!is_live(stream) || stream->device != present_device) {
    return call.breaks("a kernel on a stream that is not of the present device");
  }
  Operation operation;
  operation.run = std::move(run);
  operation.ranges = std::move(ranges);
  enqueue(stream, std::move(operation));
  return cudaSuccess;
}

std::uint32_t random() { return static_cast<std::uint32_t>(machine().engine()); }

bool is_reached(const MarkerPtr& marker) {
  return marker->passed || marker->stream->queue.front().marker == marker;
}

const Block* block_of(const void* address, std::size_t bytes,
                      const std::map<std::byte*, Block>& blocks) {
  auto* begin = static_cast<std::byte*>(const_cast<void*>(address));  // NOLINT
  const auto after = blocks.upper_bound(begin);
  if (after == blocks.begin()) return nullptr;
  const auto& [data, block] = *std::prev(after);
  return begin + bytes <= data + block.bytes ? &block : nullptr;
}

namespace {

bool may_run(const CUstream_st& stream) {
  if (stream.queue.empty() || stream.device == machine().options.stalled_device) return false;
  const Operation& head = stream.queue.front();
  return !head.ready || head.ready();
}

void run_head(CUstream_st& stream) {
  Operation head = std::move(stream.queue.front());
  for (const Range& range : head.ranges) {
    if (block_of(range.address, range.bytes) == nullptr) report("a stream touches freed memory");
  }
  if (head.kind != Kind::order) machine().milliseconds += 1;
  try {
    if (head.run) head.run();
  } catch (const std::exception& error) {
    report(std::string("what a stream runs throws: ") + error.what());
  }
  head.marker->passed = true;
  head.marker->milliseconds = machine().milliseconds;
  stream.queue.pop_front();
  machine().changed.notify_all();
}

bool schedule_takes(Kind kind) {
  switch (machine().options.schedule) {
    case Schedule::eager:
      return true;
    case Schedule::lazy:
      return false;
    case Schedule::early_copies:
      return kind != Kind::compute;
    case Schedule::late_copies:
      return kind != Kind::copy;
    case Schedule::random:
      return machine().engine() % 3 == 0;
  }
  return false;
}

}  // namespace

void changed() {
  bool again = true;
  while (again) {
    again = false;
    for (const auto& stream : machine().streams) {
      while (may_run(*stream) && schedule_takes(stream->queue.front().kind)) {
        run_head(*stream);
        again = true;
      }
    }
  }
  machine().changed.notify_all();
}

void run_up_to(const MarkerPtr& marker, bool through) {
  CUstream_st& stream = *marker->stream;
  if (stream.running) return;
  stream.running = true;
  while (!marker->passed && (through || stream.queue.front().marker != marker)) {
    if (!may_run(stream) && stream.queue.front().pull) stream.queue.front().pull();
    if (!may_run(stream)) break;
    run_head(stream);
  }
  stream.running = false;
}

MarkerPtr enqueue(cudaStream_t stream, Operation operation) {
  auto marker = std::make_shared<Marker>();
  marker->stream = stream;
  if (stream->capture) {
    stream->capture->operations.push_back(std::move(operation));
    return marker;
  }
  operation.marker = marker;
  stream->queue.push_back(std::move(operation));
  changed();
  return marker;
}

}  // namespace pcpp::testing::fake_cuda

namespace pcpp::testing {

FakeCuda::FakeCuda(const FakeCudaOptions& options) {
  const auto lock = fake_cuda::lock();
  fake_cuda::Machine& m = fake_cuda::machine();
  m.open = true;
  m.options = options;
  m.engine.seed(options.seed);
}

void FakeCuda::expect_no_problems() {
  const auto lock = fake_cuda::lock();
  auto& problems = fake_cuda::machine().problems;
  for (const std::string& problem : std::set(problems.begin(), problems.end())) {
    ADD_FAILURE() << "the fake CUDA runtime: " << problem;
  }
  problems.clear();
}

void FakeCuda::set_options(const FakeCudaOptions& options) {
  const auto lock = fake_cuda::lock();
  fake_cuda::Machine& m = fake_cuda::machine();
  const FakeCudaOptions before = std::exchange(m.options, options);
  m.options.devices = before.devices;
  m.options.libtorch = before.libtorch;
  m.engine.seed(options.seed);
  fake_cuda::changed();
}

void FakeCuda::recover() {
  const auto lock = fake_cuda::lock();
  fake_cuda::machine().failures.clear();
  fake_cuda::machine().lost.clear();
}

std::size_t FakeCuda::used_bytes(int device) const {
  const auto lock = fake_cuda::lock();
  return fake_cuda::machine().used_bytes[device];
}

std::size_t FakeCuda::live_handles() const {
  const auto lock = fake_cuda::lock();
  const fake_cuda::Machine& m = fake_cuda::machine();
  const auto live = [](const auto& handle) { return !handle->destroyed; };
  return static_cast<std::size_t>(std::ranges::count_if(m.streams, live) +
                                  std::ranges::count_if(m.events, live) + m.graphs);
}

FakeCuda::~FakeCuda() {
  expect_no_problems();
  const auto lock = fake_cuda::lock();
  fake_cuda::Machine& m = fake_cuda::machine();
  if (m.options.libtorch) return;  // which may call until the process ends
  const auto live = [](const auto& handle) { return !handle->destroyed; };
  EXPECT_EQ(std::count_if(m.streams.begin(), m.streams.end(), live), 0) << "streams not destroyed";
  EXPECT_EQ(std::count_if(m.events.begin(), m.events.end(), live), 0) << "events not destroyed";
  EXPECT_TRUE(m.blocks.empty()) << "memory not freed";
  for (const auto& [data, block] : m.blocks) std::free(data);
  m.open = false;
  m.streams.clear();
  m.events.clear();
  m.blocks.clear();
  m.peers.clear();
  m.calls.clear();
  m.failures.clear();
  m.lost.clear();
  m.contexts.clear();
  m.used_bytes.clear();
  m.default_streams.clear();
  m.milliseconds = 0;
}

void FakeCuda::fail(const std::string& function, cudaError_t error, int calls_before, bool lost) {
  const auto lock = fake_cuda::lock();
  fake_cuda::machine().failures[function] = {error, calls_before, lost};
}

bool FakeCuda::has_context(int device) const {
  const auto lock = fake_cuda::lock();
  return fake_cuda::machine().contexts.contains(device);
}

int FakeCuda::calls(const std::string& function) const {
  const auto lock = fake_cuda::lock();
  return fake_cuda::machine().calls[function];
}

}  // namespace pcpp::testing
