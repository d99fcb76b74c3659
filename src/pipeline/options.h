// What a pipeline may be asked for, judged before anything is loaded.
#ifndef PCPP_PIPELINE_OPTIONS_H_
#define PCPP_PIPELINE_OPTIONS_H_

#include <string>

#include "pcpp/config.h"
#include "pcpp/pipeline.h"
#include "pcpp/world.h"

namespace pcpp {

// Throws ConfigError where the world's devices do not compute in it.
void check_dtype(DataType dtype, const World& world);

// What prompts have for it: given, or by its file's name.
std::string word_of(const TextualInversion& inversion);

// The options. Throws ConfigError for those that the world cannot meet.
const PipelineOptions& checked(const PipelineOptions& options, const World& world);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_OPTIONS_H_
