#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/check.h"
#include "io/atomic_file.h"
#include "pcpp/pipeline.h"
#include "pcpp/trace.h"
#include "pcpp/version.h"

namespace pcpp {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kBlockBytes = std::size_t{1} << 20;
constexpr int kComputeRow = 0;  // the rows that follow are transfers

// A file of events, of which only a block is ever in memory as text.
class EventFile {
 public:
  explicit EventFile(const std::filesystem::path& path) : file_(path) {
    text_ = "{\"traceEvents\": [";
  }

  void add(const Json& event) {
    text_ += std::exchange(first_, false) ? "\n" : ",\n";
    text_ += text_of(event);
    if (text_.size() < kBlockBytes) return;
    file_.write(text_);
    text_.clear();
  }

  void finish(const Json& metadata) {
    text_ += "\n],\n\"displayTimeUnit\": \"ms\",\n\"otherData\": " + text_of(metadata) + "}\n";
    file_.write(text_);
    file_.commit();
  }

 private:
  static std::string text_of(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  AtomicFile file_;
  std::string text_;
  bool first_ = true;
};

// A complete event: what lies within another one in whole nanoseconds, does so in the file.
struct Span {
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
  std::string name;
  const char* category = "";
  Json arguments;

  Span(double begin_us, double duration_us, std::string what, const char* kind, Json more)
      : begin_ns(std::llround(1e3 * begin_us)),
        end_ns(std::llround(1e3 * (begin_us + duration_us))),
        name(std::move(what)),
        category(kind),
        arguments(std::move(more)) {}

  Json event(int rank, int row) const {
    return {{"ph", "X"},
            {"pid", rank},
            {"tid", row},
            {"ts", static_cast<double>(begin_ns) / 1e3},
            {"dur", static_cast<double>(end_ns - begin_ns) / 1e3},
            {"name", name},
            {"cat", category},
            {"args", arguments}};
  }
};

Json sites_of(const TraceExchange& exchange) {
  return {{"tag", exchange.tag},
          {"first_site", exchange.first_site},
          {"last_site", exchange.last_site}};
}

Json with(Json arguments, const Json& more) {
  arguments.update(more);
  return arguments;
}

// Those that others lie in come first.
std::vector<Span> computed(const RankTrace& rank) {
  std::vector<Span> spans;
  for (const TraceSpan& span : rank.spans) {
    spans.emplace_back(span.begin_us, span.duration_us, span.name,
                       span.depth == 0 ? "step" : "part", Json{{"step", span.step}});
  }
  for (const TraceWait& wait : rank.waits) {
    spans.emplace_back(wait.begin_us, wait.duration_us, "wait", "wait",
                       with({{"step", wait.step}}, sites_of(wait.exchange)));
  }
  std::stable_sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
    return a.begin_ns != b.begin_ns ? a.begin_ns < b.begin_ns : a.end_ns > b.end_ns;
  });
  return spans;
}

std::string name_of(const TraceExchange& exchange) {
  return exchange.first_site == exchange.last_site
             ? exchange.first_site
             : exchange.first_site + " to " + exchange.last_site;
}

void add_name(EventFile& file, const char* kind, int rank, int row, const std::string& name) {
  file.add({{"ph", "M"}, {"pid", rank}, {"tid", row}, {"name", kind}, {"args", {{"name", name}}}});
}

// Transfers that are under way at once stand in rows of their own, each in the first that is free.
void add_transfers(EventFile& file, int rank, const std::vector<TraceTransfer>& transfers) {
  std::vector<std::int64_t> free_from_ns;  // by row
  for (const TraceTransfer& transfer : transfers) {
    const Span span(
        transfer.begin_us, transfer.duration_us, name_of(transfer.exchange), "transfer",
        with({{"step", transfer.step}, {"bytes", transfer.bytes}, {"peers", transfer.peers}},
             sites_of(transfer.exchange)));
    const auto free = std::ranges::find_if(
        free_from_ns, [&](std::int64_t free_ns) { return free_ns <= span.begin_ns; });
    const auto row = static_cast<int>(free - free_from_ns.begin()) + kComputeRow + 1;
    if (free == free_from_ns.end()) {
      free_from_ns.push_back(span.end_ns);
      add_name(file, "thread_name", rank, row, fmt::format("rank {} sends", rank));
    } else {
      *free = span.end_ns;
    }
    file.add(span.event(rank, row));
  }
}

// Of a step as spans count them; null where there is none.
const StepRecord* record_of(int step, const RankReport& report) {
  const auto or_null = [](const std::optional<StepRecord>& record) {
    return record ? &*record : nullptr;
  };
  if (step < 0) return or_null(report.encode);
  const auto found = std::ranges::find(report.steps, step, &StepRecord::step);
  return found != report.steps.end() ? &*found : or_null(report.decode);
}

// Whether there is a record for every step that was traced.
bool is_whole(const GenerationResult& result) {
  const std::vector<RankTrace>& traces = result.trace->ranks;
  if (traces.size() != result.ranks.size()) return false;
  for (std::size_t rank = 0; rank < traces.size(); ++rank) {
    const RankReport& report = result.ranks[rank];
    const bool has_all = std::ranges::all_of(traces[rank].spans, [&](const TraceSpan& span) {
      return record_of(span.step, report) != nullptr;
    });
    if (!has_all) return false;
  }
  return true;
}

// From each step's begin on.
void add_counters(EventFile& file, int rank, const RankTrace& trace, const RankReport& report) {
  for (const TraceSpan& span : trace.spans) {
    if (span.depth > 0) continue;
    const SiteBytes& sent = record_of(span.step, report)->sent;
    file.add({{"ph", "C"},
              {"pid", rank},
              {"ts", static_cast<double>(std::llround(1e3 * span.begin_us)) / 1e3},
              {"name", "bytes sent"},
              {"args",
               {{"attention", sent.attention},
                {"halo", sent.halo},
                {"group_norm", sent.group_norm},
                {"gather", sent.gather}}}});
  }
}

Json metadata(const Trace& trace, const std::map<std::string, std::string>& settings) {
  Json convolutions = Json::array();
  for (const TraceConvolutions& shape : trace.convolutions) {
    convolutions.push_back({{"in", shape.in},
                            {"out", shape.out},
                            {"level", shape.level},
                            {"way", shape.way},
                            {"count", shape.count}});
  }
  std::int64_t left_out = 0;
  for (const RankTrace& rank : trace.ranks) left_out += rank.left_out;
  return {{"version", version()},
          {"settings", settings},
          {"unet_parameters", trace.parameters},
          {"convolutions", std::move(convolutions)},
          {"left_out", left_out}};
}

}  // namespace

void write_chrome_trace(const std::filesystem::path& path, const GenerationResult& result,
                        const std::map<std::string, std::string>& settings) {
  check<ConfigError>(result.trace.has_value(),
                     "cannot write {}: the request was not traced; set GenerationRequest::trace",
                     path.string());
  check<ConfigError>(is_whole(result),
                     "cannot write {}: the result's trace and its ranks are not of one request: "
                     "leave the result as generate() returned it",
                     path.string());
  EventFile file(path);
  for (std::size_t i = 0; i < result.trace->ranks.size(); ++i) {
    const RankTrace& trace = result.trace->ranks[i];
    const int rank = static_cast<int>(i);
    add_name(file, "process_name", rank, kComputeRow, fmt::format("rank {}", rank));
    add_name(file, "thread_name", rank, kComputeRow, fmt::format("rank {} compute", rank));
    for (const Span& span : computed(trace)) file.add(span.event(rank, kComputeRow));
    add_transfers(file, rank, trace.transfers);
    add_counters(file, rank, trace, result.ranks.at(i));
  }
  file.finish(metadata(*result.trace, settings));
}

}  // namespace pcpp
