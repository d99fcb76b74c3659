// libpcpp: one picture of a latent diffusion U-Net, drawn by several devices at once.
#ifndef PCPP_PCPP_H_
#define PCPP_PCPP_H_

#include "pcpp/config.h"
#include "pcpp/error.h"
#include "pcpp/image.h"
#include "pcpp/output_file.h"
#include "pcpp/pipeline.h"
#include "pcpp/plan.h"
#include "pcpp/tensor_file.h"
#include "pcpp/trace.h"
#include "pcpp/world.h"

#endif  // PCPP_PCPP_H_
