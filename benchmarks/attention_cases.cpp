#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "kernel_case.h"
#include "ops/attention.h"

namespace pcpp::benchmarks {

namespace {

struct Shape {
  const char* where;
  std::int64_t batch;
  std::int64_t queries;
  std::vector<std::int64_t> segments;  // keys of each
  std::int64_t heads;
  std::int64_t size;
};

const std::vector<Shape> kShapes = {
    {"SD1.5 512x512", 2, 4096, {4096}, 8, 40},
    {"SD1.5 512x512", 2, 1024, {1024}, 8, 80},
    {"SD1.5 512x512", 2, 256, {256}, 8, 160},
    {"SD1.5 512x512", 2, 64, {64}, 8, 160},
    {"SD1.5, inner band of 4", 2, 1024, {307, 1024, 308}, 8, 40},
    {"SD1.5, inner band of 4", 2, 256, {76, 256, 77}, 8, 80},
    {"SD1.5, inner band of 4", 2, 64, {19, 64, 20}, 8, 160},
    {"SD1.5 1024x1024, 2 heads of 8", 1, 16384, {16384}, 2, 40},
    {"SD1.5 1024x1024, 2 heads of 8", 1, 4096, {4096}, 2, 80},
    {"SD1.5 2048x2048, 2 heads of 8", 1, 4096, {4096}, 2, 160},
    {"SD1.5 text", 2, 4096, {77}, 8, 40},
    {"SD1.5 text", 2, 64, {77}, 8, 160},
    {"SDXL 1024x1024", 2, 4096, {4096}, 10, 64},
    {"SDXL 1024x1024", 2, 1024, {1024}, 20, 64},
    {"SDXL, inner band of 4", 2, 1024, {307, 1024, 308}, 10, 64},
    {"SDXL 512x512", 2, 256, {256}, 20, 64},
    {"SDXL text", 2, 1024, {77}, 20, 64},
    {"SDXL text", 2, 256, {77}, 20, 64},
    {"VAE 512x512", 1, 4096, {4096}, 1, 512},
};

std::string text_of(const Shape& shape) {
  std::string keys;
  for (const std::int64_t segment : shape.segments) {
    keys += fmt::format("{}{}", keys.empty() ? "" : "+", segment);
  }
  return fmt::format("{}: {} x {} tokens on {}, {} x {}", shape.where, shape.batch, shape.queries,
                     keys, shape.heads, shape.size);
}

at::Tensor libtorch_attention(const at::Tensor& query, const std::vector<KeyValues>& segments,
                              std::int64_t heads) {
  std::vector<at::Tensor> rows;
  rows.reserve(segments.size());
  for (const KeyValues& segment : segments) rows.push_back(segment.rows);
  const at::Tensor all = rows.size() == 1 ? rows.front() : at::cat(rows, 1);
  const std::vector<at::Tensor> parts = all.chunk(2, 2);
  return at::scaled_dot_product_attention(by_head(query, heads), by_head(parts[0], heads),
                                          by_head(parts[1], heads))
      .transpose(1, 2)
      .flatten(2);
}

// Each head's, for blocks of queries whose scores stay in the cache.
std::function<void()> products_of(const Shape& shape, const at::TensorOptions& options) {
  constexpr std::int64_t kBlock = 256;
  std::int64_t keys = 0;
  for (const std::int64_t segment : shape.segments) keys += segment;
  const std::int64_t block = std::min(kBlock, shape.queries);
  const at::Tensor query = at::randn({block, shape.size}, options);
  const at::Tensor key = at::randn({keys, shape.size}, options).t();
  const at::Tensor value = at::randn({keys, shape.size}, options);
  const at::Tensor scores = at::empty({block, keys}, options);
  const at::Tensor output = at::empty({block, shape.size}, options);
  const std::int64_t count = shape.batch * shape.heads * (shape.queries / block);
  return [=] {
    at::Tensor product = scores;
    at::Tensor result = output;
    for (std::int64_t i = 0; i < count; ++i) {
      at::mm_out(product, query, key);
      at::mm_out(result, product, value);
    }
  };
}

KernelRun prepare(const Shape& shape, at::ScalarType dtype) {
  const at::TensorOptions options(dtype);
  const std::int64_t width = shape.heads * shape.size;
  const at::Tensor query = at::randn({shape.batch, shape.queries, width}, options);
  std::vector<KeyValues> segments;
  double keys = 0;
  for (const std::int64_t count : shape.segments) {
    segments.push_back({at::randn({shape.batch, count, 2 * width}, options)});
    keys += static_cast<double>(count);
  }
  KernelRun run;
  run.ours = [=] { return attend(query, segments, shape.heads); };
  run.libtorch = [=] { return libtorch_attention(query, segments, shape.heads); };
  run.products = products_of(shape, options);
  run.flops = 4 * keys * static_cast<double>(shape.batch * shape.queries * width);
  run.relative_bound = dtype == at::kFloat ? 1e-5 : 1e-2;
  return run;
}

}  // namespace

std::vector<KernelCase> attention_cases() {
  std::vector<KernelCase> cases;
  for (const Shape& shape : kShapes) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      cases.push_back({"attention", text_of(shape), name_of(dtype),
                       [&shape, dtype] { return prepare(shape, dtype); }});
    }
  }
  return cases;
}

}  // namespace pcpp::benchmarks
