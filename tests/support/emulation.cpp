#include "support/emulation.h"

#include <fmt/format.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pcpp::emulation {

Extent gridDim;
Extent blockDim;
Extent blockIdx;
Extent threadIdx;

namespace {

constexpr std::size_t kStackBytes = 128 * 1024;
constexpr unsigned kWarp = 32;
constexpr std::size_t kMostThreads = 1024;  // of a block

#ifdef __SANITIZE_ADDRESS__
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif

// Where a stack goes on.
struct Context {
  ucontext_t state{};
  jmp_buf place{};
  bool has_left = false;  // then `place` tells where
};

[[noreturn]] void leave_for(Context& other) {
  if (other.has_left) _longjmp(other.place, 1);
  setcontext(&other.state);
  std::abort();  // it does not return
}

// swapcontext asks the system for the signal mask each time; only the sanitizer needs it, which
// follows no jumps between stacks.
void change(Context& own, Context& other) {
  if constexpr (kAddressSanitizer) {
    swapcontext(&own.state, &other.state);
  } else {
    own.has_left = true;
    if (_setjmp(own.place) == 0) leave_for(other);
  }
}

enum class State { ready, at_barrier, at_shuffle, ended };

struct Thread {
  Context context;
  std::unique_ptr<std::byte[]> stack;
  Extent index;
  State state = State::ready;
  std::source_location place;  // where it waits
  std::uint32_t lanes = 0;     // of its shuffle
  unsigned source = 0;         // the lane whose value it reads there
  Payload value{};
};

// A switch from one stack to another, told to the address sanitizer.
class Switch {
 public:
  Switch(const void* stack, std::size_t bytes) {
    if constexpr (kAddressSanitizer) __sanitizer_start_switch_fiber(&fake_stack_, stack, bytes);
  }
  // On the stack that was switched away from, once it runs again.
  void back() { arrived(fake_stack_, nullptr, nullptr); }

  static void arrived(void* fake_stack, const void** from, std::size_t* from_bytes) {
    if constexpr (kAddressSanitizer) {
      __sanitizer_finish_switch_fiber(fake_stack, from, from_bytes);
    }
  }

 private:
  void* fake_stack_ = nullptr;
};

class Block {
 public:
  void run(Extent extent, const std::function<void()>& body);

  // For the thread that runs.
  void wait(State state, const std::source_location& place);
  Payload exchange(std::uint32_t lanes, const Payload& value, unsigned distance,
                   const std::source_location& place);

 private:
  static void enter();
  void start(Thread& thread);
  void leave(Thread& thread);
  void resume(Thread& thread);
  bool release_shuffles();
  bool release_barrier();
  [[noreturn]] void diverge() const;

  std::vector<Thread> pool_;  // never moved: contexts point into themselves
  std::span<Thread> threads_;
  std::vector<Thread*> order_;
  Thread* running_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  Context scheduler_;
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_bytes_ = 0;
};

Block block;
std::mt19937 random_order;

// A fiber is the thread of its place in one block after another, as to make one takes longer than
// most of what it runs.
void Block::enter() {
  Switch::arrived(nullptr, &block.scheduler_stack_, &block.scheduler_stack_bytes_);
  for (;;) {
    (*block.body_)();
    block.running_->state = State::ended;
    block.leave(*block.running_);
  }
}

void Block::start(Thread& thread) {
  thread.lanes = 0;
  if (thread.state == State::ended) {
    thread.state = State::ready;
    return;
  }
  if (!thread.stack) thread.stack = std::make_unique<std::byte[]>(kStackBytes);
  // A fiber that never came back from its first function leaves its frame poisoned.
  ASAN_UNPOISON_MEMORY_REGION(thread.stack.get(), kStackBytes);
  ucontext_t& context = thread.context.state;
  getcontext(&context);
  context.uc_stack.ss_sp = thread.stack.get();
  context.uc_stack.ss_size = kStackBytes;
  thread.context.has_left = false;
  thread.state = State::ready;
  makecontext(&context, &Block::enter, 0);
}

void Block::resume(Thread& thread) {
  running_ = &thread;
  threadIdx = thread.index;
  Switch away(thread.stack.get(), kStackBytes);
  change(scheduler_, thread.context);
  away.back();
}

void Block::wait(State state, const std::source_location& place) {
  Thread& thread = *running_;
  thread.state = state;
  thread.place = place;
  leave(thread);
}

void Block::leave(Thread& thread) {
  Switch away(scheduler_stack_, scheduler_stack_bytes_);
  change(thread.context, scheduler_);
  away.back();
}

Payload Block::exchange(std::uint32_t lanes, const Payload& value, unsigned distance,
                        const std::source_location& place) {
  Thread& thread = *running_;
  thread.lanes = lanes;
  thread.value = value;
  thread.source = static_cast<unsigned>(running_ - threads_.data()) % kWarp ^ distance;
  wait(State::at_shuffle, place);
  return thread.value;
}

void Block::run(Extent extent, const std::function<void()>& body) {
  body_ = &body;
  const std::size_t count = std::size_t{extent.x} * extent.y * extent.z;
  pool_.reserve(kMostThreads);
  if (pool_.size() < count) pool_.resize(count);
  threads_ = std::span(pool_).first(count);
  order_.clear();
  unsigned number = 0;
  for (Thread& thread : threads_) {
    thread.index = {number % extent.x, number / extent.x % extent.y, number / extent.x / extent.y};
    ++number;
    start(thread);
    order_.push_back(&thread);
  }
  for (;;) {
    std::shuffle(order_.begin(), order_.end(), random_order);
    for (Thread* thread : order_) {
      if (thread->state == State::ready) resume(*thread);
    }
    const bool ended = std::all_of(threads_.begin(), threads_.end(), [](const Thread& thread) {
      return thread.state == State::ended;
    });
    if (ended) return;
    if (!release_shuffles() && !release_barrier()) diverge();
  }
}

bool same_place(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::string_view(a.file_name()) == b.file_name());
}

bool is_among(std::uint32_t lanes, unsigned lane) {
  return lane < kWarp && (lanes >> lane & 1U) != 0;
}

// The lanes that `thread`, lane `own` of a warp, names have all come to its shuffle, and it reads
// one of them.
bool is_complete(const Thread& thread, unsigned own, std::span<const Thread> warp) {
  if (thread.state != State::at_shuffle || !is_among(thread.lanes, own)) return false;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!is_among(thread.lanes, lane)) continue;
    if (lane >= warp.size()) return false;
    const Thread& other = warp[lane];
    if (other.state != State::at_shuffle || other.lanes != thread.lanes ||
        !same_place(other.place, thread.place) || !is_among(other.lanes, other.source)) {
      return false;
    }
  }
  return true;
}

bool Block::release_shuffles() {
  bool released = false;
  for (std::size_t begin = 0; begin < threads_.size(); begin += kWarp) {
    const std::span<Thread> warp =
        threads_.subspan(begin, std::min<std::size_t>(kWarp, threads_.size() - begin));
    for (unsigned own = 0; own < warp.size(); ++own) {
      if (!is_complete(warp[own], own, warp)) continue;
      const std::uint32_t lanes = warp[own].lanes;
      std::array<Payload, kWarp> values{};
      std::transform(warp.begin(), warp.end(), values.begin(),
                     [](const Thread& thread) { return thread.value; });
      for (unsigned lane = 0; lane < warp.size(); ++lane) {
        if (!is_among(lanes, lane)) continue;
        warp[lane].value = values[warp[lane].source];
        warp[lane].state = State::ready;
      }
      released = true;
    }
  }
  return released;
}

bool Block::release_barrier() {
  const Thread& first = threads_.front();
  for (const Thread& thread : threads_) {
    if (thread.state != State::at_barrier || !same_place(thread.place, first.place)) return false;
  }
  for (Thread& thread : threads_) thread.state = State::ready;
  return true;
}

std::string describe(const Thread& thread) {
  const std::string name =
      fmt::format("thread ({}, {}, {})", thread.index.x, thread.index.y, thread.index.z);
  if (thread.state == State::ended) return name + " has ended";
  const std::string_view path = thread.place.file_name();
  return fmt::format(
      "{} waits at {}:{} for {}", name, path.substr(path.rfind('/') + 1), thread.place.line(),
      thread.state == State::at_barrier ? std::string("the block")
                                        : fmt::format("lanes {:#010x} of its warp", thread.lanes));
}

void Block::diverge() const {
  const auto waiting = std::find_if(threads_.begin(), threads_.end(), [](const Thread& thread) {
    return thread.state != State::ended;
  });
  const auto other = std::find_if(threads_.begin(), threads_.end(), [&](const Thread& thread) {
    return thread.state != waiting->state || !same_place(thread.place, waiting->place) ||
           thread.lanes != waiting->lanes;
  });
  std::string text = fmt::format("in block ({}, {}, {}) {}", blockIdx.x, blockIdx.y, blockIdx.z,
                                 describe(*waiting));
  if (other != threads_.end()) text += ", while " + describe(*other);
  throw Divergence(text);
}

}  // namespace

thread_local std::function<void(std::function<void()>)> on_launch;

void seed_order(std::uint32_t seed) { random_order.seed(seed); }

bool run(Extent grid, Extent extent, const std::function<void()>& thread) {
  const std::uint64_t threads = std::uint64_t{extent.x} * extent.y * extent.z;
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  if (threads == 0 || threads > kMostThreads || extent.z > 64 || blocks == 0 ||
      grid.x > 0x7FFFFFFFU || grid.y > 0xFFFFU || grid.z > 0xFFFFU) {
    return false;
  }
  static std::mutex one_at_a_time;  // what a block shares is static
  const std::lock_guard lock(one_at_a_time);
  gridDim = grid;
  blockDim = extent;
  std::vector<std::uint64_t> numbers(blocks);
  std::iota(numbers.begin(), numbers.end(), 0);
  std::shuffle(numbers.begin(), numbers.end(), random_order);
  for (const std::uint64_t number : numbers) {
    blockIdx = {static_cast<unsigned>(number % grid.x),
                static_cast<unsigned>(number / grid.x % grid.y),
                static_cast<unsigned>(number / grid.x / grid.y)};
    block.run(extent, thread);
  }
  return true;
}

void wait_for_block(const std::source_location& place) { block.wait(State::at_barrier, place); }

Payload shuffle_xor(std::uint32_t lanes, const Payload& value, unsigned distance,
                    const std::source_location& place) {
  return block.exchange(lanes, value, distance, place);
}

}  // namespace pcpp::emulation
