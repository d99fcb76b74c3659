#include "cache/row_writer.h"

#include "kernels/encode_rows.h"

namespace pcpp {

namespace {

// GroupNorm's pairs in so many rows.
std::int64_t moments_in(const SitePlan& site, std::int64_t rows) {
  return rows * site.row_bytes / static_cast<std::int64_t>(2 * sizeof(double));
}

// Calls function(a null pointer to the type of the elements).
template <typename Function>
void with_element(DataType dtype, const Function& function) {
  if (dtype == DataType::float32) {
    function(static_cast<float*>(nullptr));
  } else {
    function(static_cast<Bfloat16*>(nullptr));
  }
}
template <typename Function>
void with_gpu_element(DataType dtype, const Function& function) {
  if (dtype == DataType::float16) return function(static_cast<Float16*>(nullptr));
  with_element(dtype, function);
}

}  // namespace

void RowWriter::write(const SitePlan& site, StepKind kind, const BatchRows<std::byte>& target,
                      const BatchRows<const std::byte>& source, std::int64_t rows,
                      std::byte* last) {
  if (kind == StepKind::synchronous || !site.is_encoded()) {
    copies_.push_back({target.data, target.stride, source.data, source.stride, plan_.batch(),
                       rows * site.row_bytes});
  } else if (transport_.stream() != nullptr) {
    encode_on_gpu(site, target, source, rows, last);
  } else {
    encode_on_cpu(site, target, source, rows, last);
  }
}

void RowWriter::encode_on_gpu(const SitePlan& site, const BatchRows<std::byte>& target,
                              const BatchRows<const std::byte>& source, std::int64_t rows,
                              std::byte* last) {
  CUstream_st* stream = transport_.stream();
  const EncodedRows encoded{target.data, target.stride};
  if (site.kind == SiteKind::group_norm) {
    return encode_moments(encoded, {reinterpret_cast<const double*>(source.data), source.stride},
                          plan_.batch(), moments_in(site, rows), stream);
  }
  with_gpu_element(plan_.shape().dtype, [&]<typename Element>(Element*) {
    const SourceRows<Element> values{reinterpret_cast<const Element*>(source.data), source.stride};
    const std::int64_t row_values = site.row_bytes / plan_.shape().element_bytes();
    if (site.is_residual()) {
      encode_residual(encoded, reinterpret_cast<Element*>(last), values, plan_.batch(), rows,
                      row_values, stream);
    } else {
      encode_rows(encoded, values, plan_.batch(), rows, row_values, stream);
    }
  });
}

void RowWriter::encode_on_cpu(const SitePlan& site, const BatchRows<std::byte>& target,
                              const BatchRows<const std::byte>& source, std::int64_t rows,
                              std::byte* last) {
  const std::int64_t values = site.row_bytes / plan_.shape().element_bytes();
  for (std::int64_t item = 0; item < plan_.batch(); ++item) {
    std::byte* encoded = target.data + item * target.stride;
    const std::byte* plain = source.data + item * source.stride;
    if (site.kind == SiteKind::group_norm) {
      encode_moments(encoded, reinterpret_cast<const double*>(plain), moments_in(site, rows));
      continue;
    }
    with_element(plan_.shape().dtype, [&]<typename Element>(Element*) {
      const auto* elements = reinterpret_cast<const Element*>(plain);
      if (site.is_residual()) {
        encode_residual(encoded, reinterpret_cast<Element*>(last + item * rows * site.row_bytes),
                        elements, rows, values);
      } else {
        encode_rows(encoded, elements, rows, values);
      }
    });
  }
}

void RowWriter::decode(const SitePlan& site, std::byte* target, const Piece& piece) {
  CUstream_st* stream = transport_.stream();
  const std::int64_t rows = plan_.batch() * piece.rows.size();
  if (site.kind == SiteKind::group_norm) {
    auto* moments = reinterpret_cast<double*>(target);
    const std::int64_t count = moments_in(site, rows);
    stream == nullptr ? decode_moments(moments, piece.data, count)
                      : decode_moments(moments, piece.data, count, stream);
    return;
  }
  const std::int64_t values = site.row_bytes / plan_.shape().element_bytes();
  const auto decode_elements = [&]<typename Element>(Element*, auto... device) {
    if (site.is_residual()) {
      add_residual(reinterpret_cast<Element*>(piece.last), piece.data, rows, values, device...);
    } else {
      decode_rows(reinterpret_cast<Element*>(target), piece.data, rows, values, device...);
    }
  };
  if (stream == nullptr) {
    with_element(plan_.shape().dtype, [&](auto* element) { decode_elements(element); });
  } else {
    with_gpu_element(plan_.shape().dtype, [&](auto* element) { decode_elements(element, stream); });
  }
}

void RowWriter::flush() {
  if (!copies_.empty()) transport_.copy_rows(copies_);
  copies_.clear();
}

}  // namespace pcpp
