#include "planner/costs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/excerpt.h"

namespace pcpp {

namespace {

using Point = RateCurve::Point;

// Along the line through both points where that is a plausible cost, else in proportion to `near`.
double beyond(const Point& near, const Point& a, const Point& b, double work) {
  const double slope = (b.seconds - a.seconds) / (b.work - a.work);
  const double fixed = a.seconds - slope * a.work;
  if (slope > 0 && fixed >= 0) return fixed + slope * work;
  return near.work > 0 ? near.seconds * work / near.work : near.seconds;
}

int devices_measured(const DeviceProfile& profile, int devices) {
  int above = std::numeric_limits<int>::max();
  int most = 0;
  for (const RateCurve& curve : profile.curves) {
    if (curve.devices >= devices) above = std::min(above, curve.devices);
    most = std::max(most, curve.devices);
  }
  return above == std::numeric_limits<int>::max() ? most : above;
}

}  // namespace

std::string_view name_of(WorkKind kind) {
  switch (kind) {
    case WorkKind::convolution:
      return "convolution";
    case WorkKind::linear:
      return "linear";
    case WorkKind::attention:
      return "attention";
    case WorkKind::normalisation:
      return "normalisation";
    case WorkKind::elementwise:
      return "elementwise";
    case WorkKind::exchange:
      return "exchange";
    case WorkKind::gather:
      break;
  }
  return "gather";
}

const std::vector<WorkKind>& all_work_kinds() {
  static const std::vector<WorkKind> kinds = {
      WorkKind::convolution, WorkKind::linear,   WorkKind::attention, WorkKind::normalisation,
      WorkKind::elementwise, WorkKind::exchange, WorkKind::gather};
  return kinds;
}

double seconds_of(const RateCurve& curve, double work) {
  const std::vector<Point>& points = curve.points;
  if (points.size() == 1 && points[0].work == 0) return points[0].seconds;
  if (points.size() == 1) return beyond(points[0], {0, 0}, points[0], work);
  const auto above = std::lower_bound(points.begin(), points.end(), work,
                                      [](const Point& point, double w) { return point.work < w; });
  if (above == points.begin()) return beyond(points[0], points[0], points[1], work);
  if (above == points.end()) {
    return beyond(points.back(), points[points.size() - 2], points.back(), work);
  }
  const Point& a = *(above - 1);
  const Point& b = *above;
  return a.seconds + (b.seconds - a.seconds) * (work - a.work) / (b.work - a.work);
}

void leave_latency_to(const Link& link, std::vector<RateCurve>& curves) {
  for (RateCurve& curve : curves) {
    if (curve.kind != WorkKind::gather) continue;
    for (Point& point : curve.points) {
      point.seconds = std::max(0.0, point.seconds - link.latency_seconds);
    }
  }
}

Costs::Costs(const DeviceProfile& profile, int devices) {
  const int measured = devices_measured(profile, devices);
  for (const RateCurve& curve : profile.curves) {
    if (curve.devices == measured) curves_[{curve.kind, curve.shape}] = &curve;
  }
  for (const WorkKind kind : all_work_kinds()) {
    if (kind == WorkKind::exchange || kind == WorkKind::gather) continue;
    const auto first = curves_.lower_bound({kind, ""});
    check<ConfigError>(first != curves_.end() && first->first.first == kind,
                       "the profile {} has no curve of {} for {} devices: measure one, or add it",
                       excerpt(profile.name), name_of(kind), measured);
  }
}

double Costs::seconds(WorkKind kind, const std::string& shape, double work) const {
  auto found = curves_.find({kind, shape});
  if (found == curves_.end()) found = curves_.find({kind, ""});
  if (found != curves_.end()) return seconds_of(*found->second, work);
  const Point* nearest = nullptr;
  double distance = std::numeric_limits<double>::infinity();
  for (auto it = curves_.lower_bound({kind, ""}); it != curves_.end() && it->first.first == kind;
       ++it) {
    for (const Point& point : it->second->points) {
      if (point.work <= 0 || work <= 0) continue;
      const double away = std::abs(std::log(point.work / work));
      if (away >= distance) continue;
      distance = away;
      nearest = &point;
    }
  }
  return nearest == nullptr ? 0 : nearest->seconds / nearest->work * work;
}

}  // namespace pcpp
