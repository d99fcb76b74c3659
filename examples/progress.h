// Tells a person, or a log, how far a request has come.
#ifndef PCPP_EXAMPLES_PROGRESS_H_
#define PCPP_EXAMPLES_PROGRESS_H_

#include "pcpp/config.h"

namespace pcpp::examples {

// On a terminal one line that is drawn anew, with a bar and the time left; else a line a step. On
// the standard error. For several runs, one after the other; one thread at a time.
class Progress {
 public:
  Progress();
  void show(const StepProgress& progress);
  // Ends the line that is being drawn anew, if there is one.
  void finish();

 private:
  bool terminal_;
  bool line_open_ = false;
  double elapsed_ms_ = 0;  // of the run's steps so far
};

}  // namespace pcpp::examples

#endif  // PCPP_EXAMPLES_PROGRESS_H_
