#include "pcpp/config.h"

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

std::string_view name_of(PromptSyntax syntax) {
  return syntax == PromptSyntax::plain ? "plain" : "comfyui";
}

std::string_view name_of(StepKind kind) {
  return kind == StepKind::synchronous ? "synchronous" : "steady";
}

}  // namespace pcpp
