// libpcpp: one picture of a latent diffusion U-Net, drawn by several devices at once.
//
// Threads: free functions and const members may be called from several threads at once, and so may
// members of different objects; calls of other members of one object must not overlap. Paths are
// taken as they are, texts are UTF-8.
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
