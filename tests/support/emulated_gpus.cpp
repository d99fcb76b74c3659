// GPUs for test programs without one, linked in place of src/gpu: what is computed for them lies in
// the host's memory, by the kernels emulated and libtorch's functions for CPUs. All of the library
// that knows of GPUs but the CUDA runtime's calls, which the tests over fake_cuda cover, runs as on
// one.
#include "support/emulated_gpus.h"

#include <atomic>
#include <utility>

#include "gpu/gpu.h"
#include "kernels/copy_rows.h"
#include "parallel/forwarding_transport.h"
#include "parallel/local_transport.h"
#include "support/emulated_graphs.h"

namespace pcpp {

namespace {

std::atomic<bool> next_is_unfinished = false;
thread_local int entered = 0;
thread_local testing::ThreadRanges ranges;

class Scope final : public GpuScope {
 public:
  Scope() { ++entered; }
  ~Scope() override { --entered; }
};

// A rank's stream is its thread, and says that it is one of a GPU.
class EmulatedTransport final : public ForwardingTransport {
 public:
  explicit EmulatedTransport(std::unique_ptr<Transport> local)
      : ForwardingTransport(*local), local_(std::move(local)) {}

  CUstream_st* stream() const override {
    static char stream;
    return reinterpret_cast<CUstream_st*>(&stream);
  }
  void copy_rows(std::span<const RowCopy> copies) override {
    const auto copy = [kept = std::vector(copies.begin(), copies.end())] {
      pcpp::copy_rows(kept.data(), kept.size());
    };
    copy();
    record_emulated(copy);
  }
  void start(ExchangeId exchange) override {
    require_no_emulated_recording("an exchange");
    ForwardingTransport::start(exchange);
  }
  void wait(ExchangeId exchange, Deadline deadline) override {
    require_no_emulated_recording("a wait");
    ForwardingTransport::wait(exchange, deadline);
  }

 private:
  const std::unique_ptr<Transport> local_;
};

class EmulatedHub final : public Hub {
 public:
  explicit EmulatedHub(int ranks) : local_(ranks) {}
  int world_size() const override { return local_.world_size(); }
  std::unique_ptr<Transport> endpoint(int rank) override {
    return std::make_unique<EmulatedTransport>(local_.endpoint(rank));
  }
  bool finish() noexcept override { return !next_is_unfinished.exchange(false); }
  void abort(const std::string& reason) override { local_.abort(reason); }
  void stop() override { local_.stop(); }

 private:
  LocalHub local_;
};

class Hubs final : public GpuHubs {
 public:
  std::unique_ptr<Hub> make(int ranks, std::chrono::milliseconds /*timeout*/) override {
    return std::make_unique<EmulatedHub>(ranks);
  }
};

class EmulatedGpus final : public Gpus {
 public:
  int count() const override { return 8; }
  std::string name(int /*number*/) const override { return "emulated GPU"; }
  std::int64_t memory_bytes(int /*number*/) const override { return std::int64_t{1} << 34; }
  at::Device device(int /*number*/) const override { return at::kCPU; }
  std::unique_ptr<GpuScope> enter(int /*number*/, CUstream_st* /*stream*/) const override {
    return std::make_unique<Scope>();
  }
  CUstream_st* stream() const override { return nullptr; }
  std::unique_ptr<GraphRecorder> recorder() const override { return make_emulated_recorder(); }
  void occupy(double /*seconds*/) const override {}
  void synchronize() const override {}
  void make_present(int /*number*/) const override {}

  void release_memory() const override {}
  std::unique_ptr<GpuHubs> hubs(std::vector<int> /*gpus*/,
                                GpuTransport /*transport*/) const override {
    return std::make_unique<Hubs>();
  }
};

}  // namespace

const Gpus& gpus() {
  static const EmulatedGpus instance;
  return instance;
}

bool on_gpu(const at::Tensor& tensor) { return entered > 0 && tensor.is_cpu(); }

void begin_range(const char* name) {
  ++ranges.open;
  ranges.begun.insert(name);
}
void end_range() { --ranges.open; }

const testing::ThreadRanges& testing::ranges_of_thread() { return ranges; }
void testing::leave_next_run_unfinished() { next_is_unfinished = true; }

}  // namespace pcpp
