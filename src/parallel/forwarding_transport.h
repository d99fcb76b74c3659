// A transport over another one.
#ifndef PCPP_PARALLEL_FORWARDING_TRANSPORT_H_
#define PCPP_PARALLEL_FORWARDING_TRANSPORT_H_

#include <span>
#include <utility>

#include "parallel/transport.h"

namespace pcpp {

// Hands every call on; to be derived from by what changes some of them.
class ForwardingTransport : public Transport {
 public:
  // `inner` must outlive the object.
  explicit ForwardingTransport(Transport& inner) : inner_(inner) {}

  int rank() const override { return inner_.rank(); }
  int world_size() const override { return inner_.world_size(); }
  CUstream_st* stream() const override { return inner_.stream(); }
  std::byte* allocate(std::size_t bytes) override { return inner_.allocate(bytes); }
  void copy_rows(std::span<const RowCopy> copies) override { inner_.copy_rows(copies); }
  ExchangeId prepare(std::int64_t tag, Lane lane, Exchange exchange) override {
    return inner_.prepare(tag, lane, std::move(exchange));
  }
  void start(ExchangeId exchange) override { inner_.start(exchange); }
  void wait(ExchangeId exchange, Deadline deadline) override { inner_.wait(exchange, deadline); }
  void flush(Deadline deadline) override { inner_.flush(deadline); }
  void drain(Deadline deadline) override { inner_.drain(deadline); }
  Timeline& timeline() override { return inner_.timeline(); }

 private:
  Transport& inner_;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_FORWARDING_TRANSPORT_H_
