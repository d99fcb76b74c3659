// What a step cost, waited for and sent, and, where it is asked for, what a rank did when.
#ifndef PCPP_TRACE_H_
#define PCPP_TRACE_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "pcpp/export.h"

namespace pcpp {

enum class StepKind {
  synchronous,  // waited for this step's data of the other bands
  steady,       // read their data of the step before
};

// Bytes by the kind of site that they belong to.
struct SiteBytes {
  std::int64_t attention = 0;
  std::int64_t halo = 0;
  std::int64_t group_norm = 0;
  std::int64_t gather = 0;

  std::int64_t total() const { return attention + halo + group_norm + gather; }
  SiteBytes& operator+=(const SiteBytes& other) {
    attention += other.attention;
    halo += other.halo;
    group_norm += other.group_norm;
    gather += other.gather;
    return *this;
  }
  friend bool operator==(const SiteBytes&, const SiteBytes&) = default;
};

// One rank's part of one step, or of encoding or decoding.
struct StepRecord {
  int step = 0;  // counted from 0; -1: encoding
  StepKind kind = StepKind::synchronous;
  double compute_ms = 0;  // the step without the waits
  double wait_ms = 0;     // time in which the rank had nothing to do but wait for others
  SiteBytes sent = {};
  int graphs = 0;  // CUDA graphs that made up the network's part of it; 0: it was launched singly
};

PCPP_EXPORT std::string_view name_of(StepKind kind);

// Of a request with GenerationRequest::trace. Times are microseconds of the host's steady clock
// since generate() was called; on a GPU events measured them on the rank's streams.

// A part of what a rank computed. The parts of a rank lie within each other or apart.
struct TraceSpan {
  // "encode", "synchronous step", "steady step" or "decode" at depth 0; in them blocks and
  // operators by their scope in the checkpoint, as "down_blocks.0.resnets.0.norm1", of ControlNets
  // after "controlnet.0" and so on, and what they do there, as "exchange". "control image": what a
  // ControlNet makes of its image, in the first step that it runs in.
  std::string name = {};
  int depth = 0;  // how many other parts it lies in
  // Counted from 0; the decoding of all pictures comes after the last, the encoding of init images
  // and what masks keep of them is -1.
  int step = 0;
  double begin_us = 0;
  double duration_us = 0;
};

// Which rows an exchange carries: those of all sites from the first to the last. "noise" is the
// gather that ends a step.
struct TraceExchange {
  std::int64_t tag = 0;
  std::string first_site = {};
  std::string last_site = {};
};

// A time in which the rank had nothing to do but wait. Those of a step add up to its wait_ms.
struct TraceWait {
  TraceExchange exchange = {};
  int step = 0;
  double begin_us = 0;
  double duration_us = 0;
};

// What a rank sent in one exchange, from its start to the delivery of the last piece. It starts
// when the rank has packed it, and moves once its receivers have started it too.
struct TraceTransfer {
  TraceExchange exchange = {};
  std::vector<int> peers = {};
  std::int64_t bytes = 0;  // to all of them
  int step = 0;            // in which it started
  double begin_us = 0;
  double duration_us = 0;
};

// In the order of their begins. A rank keeps its first 131072 spans, and as many waits and
// transfers, and as many of encoding, of decoding and of what follows where guidance begins and
// ends: of more than that it only counts how many they were.
struct RankTrace {
  std::vector<TraceSpan> spans = {};
  std::vector<TraceWait> waits = {};
  std::vector<TraceTransfer> transfers = {};
  std::int64_t left_out = 0;
};

// How 3x3 convolutions of one shape compute.
struct TraceConvolutions {
  std::int64_t in = 0;  // channels
  std::int64_t out = 0;
  int level = 0;         // of the input: latent rows / 2^level
  std::string way = {};  // "direct", "tiles of two" or "tiles of four" (Winograd's algorithm)
  int count = 0;
};

struct Trace {
  std::int64_t parameters = 0;  // of the U-Net and its ControlNets
  std::vector<TraceConvolutions> convolutions = {};
  std::vector<RankTrace> ranks = {};
};

struct GenerationResult;

// Writes the result's trace as Chrome's trace events (JSON), which Perfetto (ui.perfetto.dev) and
// chrome://tracing show: a process for each rank with a row of what it computed and waited for, as
// many rows of what it sent as transfers were under way at once, and the bytes of each step by
// kind of site. The file's metadata are `settings`, the library's version, and the U-Net's size and
// convolutions. The file appears whole under `path` or not at all. Throws ConfigError for a
// result without a trace, OutputError for a place that cannot be written.
PCPP_EXPORT void write_chrome_trace(const std::filesystem::path& path,
                                    const GenerationResult& result,
                                    const std::map<std::string, std::string>& settings = {});

}  // namespace pcpp

#endif  // PCPP_TRACE_H_
