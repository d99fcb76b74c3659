// libpcpp: one picture of a latent diffusion U-Net, drawn by several devices at once.
//
// Threads: free functions and const members may be called from several threads at once, and so may
// members of different objects; calls of other members of one object must not overlap. Paths are
// taken as they are, texts are UTF-8.
//
// What the library has to tell goes to the standard error: warnings, unless PCPP_LOG in the
// environment names another level (trace, debug, info, warning, error, critical, off).
//
// The process: signal handlers do not run on the library's threads, which block all signals but
// those of a fault of their own. libtorch's number of threads stays the host's. The threads of a
// CPU rank are OpenMP's: they spin while they wait for each other, which costs a multiple where
// other processes want the cores; with OMP_WAIT_POLICY=passive in the environment that a process
// starts with they sleep.
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
#include "pcpp/version.h"
#include "pcpp/world.h"

#endif  // PCPP_PCPP_H_
