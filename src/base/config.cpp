#include "pcpp/config.h"

#include "pcpp/world.h"

namespace pcpp {

ParallelConfig ParallelConfig::naive() {
  ParallelConfig config;
  config.reach = Reach::none;
  return config;
}

ParallelConfig ParallelConfig::distrifusion() {
  ParallelConfig config;
  config.reach = Reach::all;
  return config;
}

ParallelConfig ParallelConfig::pcpp(double partial) {
  ParallelConfig config;
  config.reach = Reach::adjacent;
  config.partial = partial;
  return config;
}

std::string_view name_of(DataType dtype) {
  switch (dtype) {
    case DataType::float32:
      return "float32";
    case DataType::float16:
      return "float16";
    case DataType::bfloat16:
      break;
  }
  return "bfloat16";
}

std::string_view name_of(Reach reach) {
  switch (reach) {
    case Reach::none:
      return "none";
    case Reach::adjacent:
      return "adjacent";
    case Reach::all:
      break;
  }
  return "all";
}

std::string_view name_of(GroupNormMode mode) {
  switch (mode) {
    case GroupNormMode::corrected:
      return "corrected";
    case GroupNormMode::stale:
      return "stale";
    case GroupNormMode::local:
      return "local";
    case GroupNormMode::synchronous:
      break;
  }
  return "synchronous";
}

std::string_view name_of(RowFormat format) {
  switch (format) {
    case RowFormat::exact:
      return "exact";
    case RowFormat::int8:
      return "int8";
    case RowFormat::int4:
      break;
  }
  return "int4";
}

std::string_view name_of(Guidance guidance) {
  return guidance == Guidance::batched ? "batched" : "split";
}

std::string_view name_of(SchedulerKind kind) {
  switch (kind) {
    case SchedulerKind::ddim:
      return "ddim";
    case SchedulerKind::euler:
      return "euler";
    case SchedulerKind::dpmpp_2m:
      return "dpmpp_2m";
    case SchedulerKind::unipc:
      return "unipc";
    case SchedulerKind::pndm:
      return "pndm";
    case SchedulerKind::euler_ancestral:
      return "euler_ancestral";
    case SchedulerKind::dpmpp_2m_sde:
      return "dpmpp_2m_sde";
    case SchedulerKind::lcm:
      break;
  }
  return "lcm";
}

std::string_view name_of(TimestepSpacing spacing) {
  switch (spacing) {
    case TimestepSpacing::leading:
      return "leading";
    case TimestepSpacing::linspace:
      return "linspace";
    case TimestepSpacing::trailing:
      break;
  }
  return "trailing";
}

std::string_view name_of(SigmaSpacing spacing) {
  switch (spacing) {
    case SigmaSpacing::timesteps:
      return "timesteps";
    case SigmaSpacing::karras:
      return "karras";
    case SigmaSpacing::exponential:
      break;
  }
  return "exponential";
}

std::string_view name_of(PromptSyntax syntax) {
  return syntax == PromptSyntax::plain ? "plain" : "comfyui";
}

std::string_view name_of(GpuTransport transport) {
  return transport == GpuTransport::peer ? "peer" : "nccl";
}

std::string_view name_of(StepKind kind) {
  return kind == StepKind::synchronous ? "synchronous" : "steady";
}

}  // namespace pcpp
