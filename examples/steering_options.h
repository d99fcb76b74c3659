// The options of `generate` for what steers its pictures besides texts: ControlNets and
// IP-Adapters.
#ifndef PCPP_EXAMPLES_STEERING_OPTIONS_H_
#define PCPP_EXAMPLES_STEERING_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <string>

#include "generate_options.h"

namespace pcpp::examples {

void add_steering_options(CLI::App& app, GenerateOptions& options);

// What the parser cannot see: options of these that do not go together. Empty where all is well.
std::string steering_problem(const GenerateOptions& options);

// Those of them that only others make anything read. Empty where none was given in vain.
std::string unread_steering(const CLI::App& app, const GenerateOptions& options);

}  // namespace pcpp::examples

#endif  // PCPP_EXAMPLES_STEERING_OPTIONS_H_
