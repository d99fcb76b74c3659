// The command line of `plan`.
#ifndef PCPP_EXAMPLES_PLAN_OPTIONS_H_
#define PCPP_EXAMPLES_PLAN_OPTIONS_H_

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "command_line.h"
#include "pcpp/pcpp.h"

namespace pcpp::examples {

struct PlanOptions {
  std::filesystem::path model;
  std::filesystem::path configs;
  std::vector<std::filesystem::path> controlnets;
  Size size;  // 0x0: the model's
  int images = 1;
  bool guided = true;
  int devices = 2;
  std::vector<Method> methods = {Method::distrifusion, Method::pcpp};
  std::vector<double> partials = {0.3};
  std::string profile = "measured";  // a name, a file, or `measured`
  DataType dtype = DataType::float32;
  DeviceOptions device;
  int threads = 0;
  bool list_profiles = false;
  std::string measure;
  std::string json;

  PlanRequest request() const;
};

// The options, or the exit status of a run that ends here.
std::variant<PlanOptions, int> parse_plan_options(int argc, char** argv);

}  // namespace pcpp::examples

#endif  // PCPP_EXAMPLES_PLAN_OPTIONS_H_
