// From the graph to files: each target's passes, its backend, and files that appear complete or not at all.
#include <chrono>
#include <fstream>

#include "backend/onnx.h"
#include "backend/tflite.h"
#include "passes/passes.h"
#include "pipeline/model.h"
#include "report/text.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

// Files on their way to their final names. What has not been published is removed in the end.
class PendingFiles {
 public:
  explicit PendingFiles(fs::path folder) : folder_(std::move(folder)) {}
  PendingFiles(const PendingFiles&) = delete;
  PendingFiles& operator=(const PendingFiles&) = delete;
  ~PendingFiles() {
    std::error_code ignored;
    for (const Pending& file : files_)
      if (!file.published) fs::remove(file.temporary, ignored);
  }

  // Writes a file under a temporary name; `write` fills it. Returns its size.
  Expected<std::uint64_t> write(const std::string& name, const std::function<Status(const ByteSink&)>& write) {
    files_.push_back({folder_ / fmt::format(".{}.partial", name), folder_ / name, false});
    const Pending& file = files_.back();
    std::ofstream out(file.temporary, std::ios::binary | std::ios::trunc);
    if (!out) return fail("cannot create the file '{}'", path_text(file.temporary));
    TAPER_TRY(write(sink_to(out)));
    out.close();
    if (!out) return fail("cannot write the file '{}': the disk may be full", path_text(file.temporary));
    return fs::file_size(file.temporary);
  }

  // Gives all files their names.
  Status publish() {
    for (Pending& file : files_) {
      std::error_code error;
      fs::rename(file.temporary, file.final, error);
      if (error) return fail("cannot name the file '{}': {}", path_text(file.final), error.message());
      file.published = true;
    }
    return {};
  }

 private:
  struct Pending {
    fs::path temporary;
    fs::path final;
    bool published;
  };
  fs::path folder_;
  std::vector<Pending> files_;
};

struct Job {
  const Model& model;
  const fs::path& folder;
  const std::string& stem;
  const ConvertOptions& options;
  PendingFiles& pending;
  std::vector<Artifact>& artifacts;

  const Graph& graph() const { return model.impl().imported.graph; }
  Bindings default_sizes() const {
    return {{std::string(kBatch), 1}, {std::string(kSteps), model.impl().sequence_length}};
  }
  LegalizeOptions legalize_options() const { return {.freeze = options.static_shapes ? default_sizes() : Bindings{}}; }
  std::string description() const { return fmt::format("{} exported by taper {}", model.info().family, version()); }
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Status add_file(Job& job, const std::string& key, const std::string& suffix,
                std::chrono::steady_clock::time_point start, std::vector<std::string> notes,
                const std::function<Status(const ByteSink&)>& write) {
  const std::string name = job.stem + suffix;
  TAPER_ASSIGN(const std::uint64_t bytes, job.pending.write(name, write));
  job.artifacts.push_back({key, job.folder / name, bytes, seconds_since(start), std::move(notes)});
  return {};
}

Status write_onnx_artifact(Job& job) {
  const auto start = std::chrono::steady_clock::now();
  TAPER_ASSIGN(const Graph legal, legalize(job.graph(), Target::onnx, job.legalize_options()));
  TAPER_ASSIGN(const OnnxFile file,
               spell_onnx(legal, {.producer_version = version(), .description = job.description()}));
  TAPER_TRY(check_onnx(file.model, file.weights));
  return add_file(job, "onnx", ".onnx", start, {},
                  [&](const ByteSink& sink) { return write_onnx(file.model, file.weights, sink); });
}

Status write_tflite_artifact(Job& job, const Graph& graph, Precision precision,
                             std::chrono::steady_clock::time_point start) {
  const bool half = precision == Precision::fp16;
  std::vector<HalfPrecisionNote> kept;
  Graph halved;
  if (half) {
    TAPER_ASSIGN(halved, store_weights_as_f16(graph, &kept));
  }
  TAPER_ASSIGN(const TfliteModel spelled, spell_tflite(half ? halved : graph, {.description = job.description(),
                                                                               .default_sizes = job.default_sizes()}));
  std::vector<std::string> notes;
  for (const HalfPrecisionNote& note : kept)
    notes.push_back(fmt::format("'{}' stays float32: it {}", note.tensor, note.reason));
  return add_file(job, half ? "tflite_fp16" : "tflite_fp32", half ? "_fp16.tflite" : "_fp32.tflite", start,
                  std::move(notes),
                  [&](const ByteSink& sink) { return write_tflite(spelled.model, spelled.buffers, sink); });
}

Status write_tflite_artifacts(Job& job) {
  if (job.options.tflite.empty()) return {};
  auto start = std::chrono::steady_clock::now();
  TAPER_ASSIGN(const Graph legal, legalize(job.graph(), Target::tflite, job.legalize_options()));
  for (const Precision precision : job.options.tflite) {
    TAPER_TRY(write_tflite_artifact(job, legal, precision, start));
    start = std::chrono::steady_clock::now();
  }
  return {};
}

}  // namespace

Expected<std::vector<Artifact>> convert(const Model& model, const fs::path& folder, const std::string& stem,
                                        const ConvertOptions& options) {
  if (options.savedmodel)
    return fail_with_hint("SavedModel files can't be written yet", "leave 'savedmodel' out of the formats");
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fail("cannot create the folder '{}': {}", path_text(folder), error.message());
  PendingFiles pending(folder);
  std::vector<Artifact> artifacts;
  Job job{model, folder, stem, options, pending, artifacts};
  if (options.onnx) TAPER_TRY(write_onnx_artifact(job));
  TAPER_TRY(write_tflite_artifacts(job));
  TAPER_TRY(pending.publish());
  return artifacts;
}

}  // namespace taper
