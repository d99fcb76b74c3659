// Collects what the operators of a network register while it is built.
#ifndef PCPP_OPS_SITE_REGISTRY_H_
#define PCPP_OPS_SITE_REGISTRY_H_

#include <memory>
#include <utility>
#include <vector>

#include "cache/exchange_plan.h"

namespace pcpp {

class Kernel3x3;

// A convolution and the level of its input.
struct PlacedConvolution {
  std::shared_ptr<Kernel3x3> kernel;
  int level = 0;
};

// Operators must be built in the order in which they run: a site's id is its place in that order.
class SiteRegistry {
 public:
  SiteId add(Site site) {
    site.part = part_;
    sites_.push_back(std::move(site));
    return next_id() - 1;
  }
  // Of the site that is added next.
  SiteId next_id() const { return static_cast<SiteId>(sites_.size()); }
  // Sites that are added from here on are a part of their own: see Site.
  void begin_part() { ++part_; }
  // A place in PatchContext for what an operator makes of a request's conditions alone.
  int add_condition_slot() { return condition_slots_++; }
  void add_convolution(PlacedConvolution convolution) {
    convolutions_.push_back(std::move(convolution));
  }

  const std::vector<Site>& sites() const { return sites_; }
  int condition_slots() const { return condition_slots_; }
  // What may yet change how they compute, until the first of them is called.
  const std::vector<PlacedConvolution>& convolutions() const { return convolutions_; }

 private:
  std::vector<Site> sites_;
  int part_ = 0;
  int condition_slots_ = 0;
  std::vector<PlacedConvolution> convolutions_;
};

}  // namespace pcpp

#endif  // PCPP_OPS_SITE_REGISTRY_H_
