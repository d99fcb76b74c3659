// Which rank computes which branch and which band of rows. Pure arithmetic.
#ifndef PCPP_PARALLEL_TOPOLOGY_H_
#define PCPP_PARALLEL_TOPOLOGY_H_

#include <cstdint>
#include <vector>

#include "pcpp/config.h"

namespace pcpp {

// The half-open interval [begin, end) of rows or tokens.
struct RowRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
  bool empty() const { return end <= begin; }
  friend bool operator==(const RowRange&, const RowRange&) = default;
};

// The rows that both hold; empty (begin == end) where they do not meet.
RowRange intersect(RowRange a, RowRange b);

// Rows at `level` of an image of `rows` latent rows: each level halves, rounding up, as a
// convolution of stride 2 and padding 1 does. Levels below 0 are the VAE's: each doubles.
std::int64_t rows_at_level(std::int64_t rows, int level);

// The band's rows at `level`, for a band that begins on a multiple of 2^level.
RowRange band_at_level(RowRange band, int level);

// How many bands `rows` latent rows can be cut into at multiples of `unit`.
int most_patches(std::int64_t rows, std::int64_t unit);

// Cuts `rows` latent rows into `patches` bands at multiples of `unit` rows, as equal as that
// allows, the first bands taking one unit more where it does not divide. Only the last band may
// hold a unit that is not full. Throws ConfigError where there are more patches than units.
std::vector<RowRange> split_rows(std::int64_t rows, std::int64_t unit, int patches);

// The bands of these heights from the top. Throws ConfigError, naming the value, unless there is
// one for each of `patches`, all are positive, each but the last is a multiple of `unit`, and
// together they are `rows`.
std::vector<RowRange> bands_of_heights(const std::vector<int>& heights, std::int64_t rows,
                                       std::int64_t unit, int patches);

// The place of each of `world_size` ranks in a run of them. With guidance batched, or without
// guidance, rank r computes patch r of every branch; with guidance split, the first half of the
// ranks computes the unconditional branch and the second half the conditional one.
class Topology {
 public:
  // `branches` is 2 with guidance and 1 without. `unit` is the number of latent rows that every
  // level of the U-Net keeps whole. `bands` are ParallelConfig's. Throws ConfigError for a split
  // that cannot be made.
  Topology(int world_size, Guidance guidance, int branches, std::int64_t latent_rows,
           std::int64_t unit, const std::vector<int>& bands = {});

  int world_size() const { return world_size_; }
  int patches() const { return static_cast<int>(bands_.size()); }
  // The branches that one rank computes: 2 only where both are batched.
  int branches_of_rank() const { return branches_of_rank_; }
  // The first branch of the rank (0 unconditional, 1 conditional where there is guidance).
  int first_branch(int rank) const { return rank / patches(); }
  int patch_of(int rank) const { return rank % patches(); }
  // The rank that computes `patch` in the same branch group as `rank`.
  int rank_of_patch(int rank, int patch) const { return rank - patch_of(rank) + patch; }
  // The bands of latent rows, in the image's order.
  const std::vector<RowRange>& bands() const { return bands_; }
  RowRange band_of(int rank) const { return bands_[static_cast<std::size_t>(patch_of(rank))]; }

 private:
  int world_size_;
  int branches_of_rank_;
  std::vector<RowRange> bands_;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_TOPOLOGY_H_
