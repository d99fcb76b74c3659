// Stands for the functions with a stream in a build without PCPP_CUDA, where nobody has a stream to
// call them with.
#include <stdexcept>

#include "kernels/add_image.h"
#include "kernels/copy_rows.h"
#include "kernels/encode_rows.h"
#include "kernels/geglu.h"
#include "kernels/group_norm.h"
#include "kernels/guided_step.h"
#include "kernels/layer_norm.h"
#include "kernels/moments.h"

namespace pcpp {

namespace {

[[noreturn]] void refuse() { throw std::logic_error("built without CUDA: there is no stream"); }

}  // namespace

std::size_t group_moments_workspace_bytes(std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  refuse();
}

void copy_rows(const RowCopy*, std::size_t, CUstream_st*) { refuse(); }

void combine_moments(const OwnMoments&, const BandMoments*, int, double, std::int64_t, std::int64_t,
                     double*, CUstream_st*) {
  refuse();
}

void encode_moments(const EncodedRows&, const SourceRows<double>&, std::int64_t, std::int64_t,
                    CUstream_st*) {
  refuse();
}

void decode_moments(double*, const std::byte*, std::int64_t, CUstream_st*) { refuse(); }

template <typename T>
void add_image(T*, const T*, const T*, std::int64_t, std::int64_t, CUstream_st*) {
  refuse();
}

template <typename T>
void group_moments(const T*, const Offset<T>&, std::int64_t, std::int64_t, std::int64_t,
                   std::int64_t, std::byte*, double*, CUstream_st*) {
  refuse();
}

template <typename T>
void group_norm_apply(const T*, const Offset<T>&, T*, std::int64_t, std::int64_t, std::int64_t,
                      const Normalisation&, std::int64_t, CUstream_st*) {
  refuse();
}

template <typename T>
void geglu(const T*, T*, std::int64_t, std::int64_t, CUstream_st*) {
  refuse();
}

template <typename T>
void guided_step(const float*, const Predictions<T>&, const LinearUpdate&, std::int64_t, float*,
                 CUstream_st*) {
  refuse();
}

template <typename T>
void layer_norm(const NormRows<T>&, std::int64_t, const LayerNormalisation&, CUstream_st*) {
  refuse();
}

template <typename T>
void encode_rows(const EncodedRows&, const SourceRows<T>&, std::int64_t, std::int64_t, std::int64_t,
                 CUstream_st*) {
  refuse();
}

template <typename T>
void decode_rows(T*, const std::byte*, std::int64_t, std::int64_t, CUstream_st*) {
  refuse();
}

template <typename T>
void encode_residual(const EncodedRows&, T*, const SourceRows<T>&, std::int64_t, std::int64_t,
                     std::int64_t, CUstream_st*) {
  refuse();
}

template <typename T>
void add_residual(T*, const std::byte*, std::int64_t, std::int64_t, CUstream_st*) {
  refuse();
}

#define PCPP_FOR_ELEMENT(T)                                                                       \
  template void add_image(T*, const T*, const T*, std::int64_t, std::int64_t, CUstream_st*);      \
  template void group_moments(const T*, const Offset<T>&, std::int64_t, std::int64_t,             \
                              std::int64_t, std::int64_t, std::byte*, double*, CUstream_st*);     \
  template void group_norm_apply(const T*, const Offset<T>&, T*, std::int64_t, std::int64_t,      \
                                 std::int64_t, const Normalisation&, std::int64_t, CUstream_st*); \
  template void geglu(const T*, T*, std::int64_t, std::int64_t, CUstream_st*);                    \
  template void guided_step(const float*, const Predictions<T>&, const LinearUpdate&,             \
                            std::int64_t, float*, CUstream_st*);                                  \
  template void layer_norm(const NormRows<T>&, std::int64_t, const LayerNormalisation&,           \
                           CUstream_st*);                                                         \
  template void encode_rows(const EncodedRows&, const SourceRows<T>&, std::int64_t, std::int64_t, \
                            std::int64_t, CUstream_st*);                                          \
  template void decode_rows(T*, const std::byte*, std::int64_t, std::int64_t, CUstream_st*);      \
  template void encode_residual(const EncodedRows&, T*, const SourceRows<T>&, std::int64_t,       \
                                std::int64_t, std::int64_t, CUstream_st*);                        \
  template void add_residual(T*, const std::byte*, std::int64_t, std::int64_t, CUstream_st*);
PCPP_FOR_ELEMENT(float)
PCPP_FOR_ELEMENT(Float16)
PCPP_FOR_ELEMENT(Bfloat16)
#undef PCPP_FOR_ELEMENT

}  // namespace pcpp
