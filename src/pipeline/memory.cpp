#include "pipeline/memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>

#include "base/bytes.h"
#include "ops/evaluate.h"
#include "ops/table.h"
#include "pipeline/model.h"
#include "pipeline/trials.h"

namespace taper {
namespace {

// Multiples of the float32 weights, and bytes, measured with networks of 60 to 100 million weights: ONNX holds merged
// and transposed weights, float16 its halves, verification the weights in float64 one by one and the runtime's packed
// copy.
constexpr double kPrograms = 64e6;  // code, libraries, the runtime's own
constexpr double kOnnx = 1.4, kSavedModel = 0.3, kTflite = 1.2;
constexpr double kVerify = 2.5;
constexpr double kBytesPerElement = 16;  // of operands and results, in float64, float32 and a copy

double elements(const Dim& count, const Bindings& sizes) {
  return static_cast<double>(count.evaluate(sizes).value_or(std::numeric_limits<std::int64_t>::max()));
}

double elements(const Value* value, const Bindings& sizes) {
  return value == nullptr || constant_of(value) != nullptr ? 0 : elements(element_count(value->type.shape), sizes);
}

// Of the operator that holds most: its operands, its results, and what its evaluation holds beside them.
double largest_operator(const Graph& graph, const Bindings& sizes) {
  double largest = 0;
  for (const Node& node : graph.nodes()) {
    double held = 0;
    for (const Value* value : node.operands) held += elements(value, sizes);
    for (const Value* value : node.results) held += elements(value, sizes);
    const Op* row = find_op(node.op);
    if (row != nullptr && row->workspace != nullptr) held += elements(row->workspace(node), sizes);
    largest = std::max(largest, held);
  }
  return largest;
}

double convert_factor(const ConvertOptions& options, bool side_by_side) {
  std::vector<double> factors;
  if (options.onnx) factors.push_back(kOnnx);
  if (options.onnx_qdq) factors.push_back(kTflite);
  if (options.savedmodel) factors.push_back(kSavedModel);
  factors.insert(factors.end(), options.tflite.size(), kTflite);
  double all = 0, most = 0;
  for (const double factor : factors) {
    all += factor;
    most = std::max(most, factor);
  }
  return side_by_side ? all : most;
}

// A figure in kB from a file like /proc/self/status: "VmHWM:	  123 kB".
std::uint64_t read_figure(const char* path, std::string_view field) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(field)) return std::strtoull(line.c_str() + field.size(), nullptr, 10) * 1024;
  return 0;
}

std::optional<std::uint64_t> read_number(const char* path) {
  std::uint64_t number = 0;
  if (std::ifstream(path) >> number) return number;
  return std::nullopt;
}

}  // namespace

std::uint64_t estimate_memory(const Model& model, const ExportRequest& request) {
  const Model::Impl& impl = model.impl();
  const auto weights = 4.0 * static_cast<double>(model.info().parameters);
  const double mapped = static_cast<double>(impl.source.view.size());
  const double converting =
      weights * convert_factor(request.convert, model.info().parameters <= kMostWeightsSideBySide);
  double verifying = 0;
  if (request.verify) {
    // The most of each size in any trial.
    Bindings sizes = usual_sizes(impl.symbols);
    for (const auto& [symbol, size] : other_sizes(impl.symbols)) sizes[symbol] = std::max(sizes[symbol], size);
    if (request.verification.input && model.info().kind == SourceKind::family)
      sizes[std::string(kBatch)] = kMostWindows;
    sizes = with_measured_sizes(impl.graph, std::move(sizes));
    verifying = weights * kVerify + kBytesPerElement * largest_operator(impl.graph, sizes);
  }
  const double total = kPrograms + mapped + std::max(converting, verifying);
  return total < 0x1p63 ? static_cast<std::uint64_t>(total) : std::numeric_limits<std::uint64_t>::max();
}

// What getrusage says counts the parent's at the time of the fork too, so that Linux's own figure of this program comes
// first.
std::uint64_t peak_memory() {
  if (const std::uint64_t peak = read_figure("/proc/self/status", "VmHWM:"); peak != 0) return peak;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

std::optional<std::uint64_t> available_memory() {
  std::optional<std::uint64_t> available;
  if (const std::uint64_t free = read_figure("/proc/meminfo", "MemAvailable:"); free != 0) available = free;
  const auto limit = read_number("/sys/fs/cgroup/memory.max");
  const auto used = read_number("/sys/fs/cgroup/memory.current");
  if (limit && used) available = std::min(available.value_or(*limit), *limit - std::min(*limit, *used));
  return available;
}

MemoryBudget::Share MemoryBudget::take(std::uint64_t bytes) {
  bytes = std::min(bytes, total_);
  std::unique_lock lock(mutex_);
  given_back_.wait(lock, [&] { return free_ >= bytes; });
  free_ -= bytes;
  return {*this, bytes};
}

void MemoryBudget::give_back(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  free_ += bytes;
  given_back_.notify_all();
}

}  // namespace taper
