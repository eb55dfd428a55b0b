#include "cli/terminal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <vector>

#include "report/text.h"

namespace taper {
namespace {

// Looks, by SGR code.
constexpr std::string_view kBold = "1";
constexpr std::string_view kDim = "2";
constexpr std::string_view kGood = "32";
constexpr std::string_view kBad = "1;31";
constexpr std::string_view kCaution = "33";

std::string paint(bool colour, std::string_view look, std::string_view text) {
  if (!colour || text.empty()) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", look, text);
}

bool says_utf8(const Environment& environment) {
  // The first that is set and not empty decides (POSIX, locale environment variables).
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = environment(name);
    if (value == nullptr || *value == '\0') continue;
    std::string locale = value;
    std::ranges::transform(locale, locale.begin(), [](unsigned char c) { return std::tolower(c); });
    return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
  }
  return false;
}

// Columns that `text` takes: its code points.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string left(const std::string& text, std::size_t columns) {
  return text + std::string(columns - std::min(columns, width(text)), ' ');
}

std::string right(const std::string& text, std::size_t columns) {
  return std::string(columns - std::min(columns, width(text)), ' ') + text;
}

// Text whose lines are each made printable.
std::vector<std::string> printable_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (true) {
    const std::size_t end = text.find('\n');
    lines.push_back(printable(text.substr(0, end)));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

std::string plural(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += fmt::format("{}{}", text.empty() ? "" : ", ", size);
  return "[" + text + "]";
}

std::string cosine_text(double cosine) {
  return std::isfinite(cosine) ? fmt::format("{:.6f}", cosine) : "not finite";
}
std::string error_text(double error) {
  return std::isfinite(error) ? fmt::format("{:.1e}", error) : "not finite";
}

const Verification* verification_of(const ModelReport& model, const std::string& key) {
  const auto found = std::ranges::find(model.verifications, key, &Verification::key);
  return found == model.verifications.end() ? nullptr : &*found;
}

// ------------------------------------------------------------------------------------------------ the table's rows

enum class Mark { none, good, bad };

constexpr std::size_t kColumns = 5;
struct Row {
  std::array<std::string, kColumns> cells;  // file, size, cosine, relative error, time
  Mark mark = Mark::none;
};

Row artifact_row(const ModelReport& model, const Artifact& artifact) {
  const Verification* verification = verification_of(model, artifact.key);
  double seconds = artifact.seconds;
  Row row{{path_text(artifact.path.filename()), human_size(artifact.bytes), "", "", ""}, Mark::none};
  if (verification != nullptr) {
    seconds += verification->seconds;
    row.cells[2] = cosine_text(verification->worst.cosine_similarity);
    row.cells[3] = error_text(verification->worst.relative_error);
    row.mark = verification->passed ? Mark::good : Mark::bad;
  }
  row.cells[4] = human_seconds(seconds);
  return row;
}

std::vector<Row> rows_of(const ExportReport& report) {
  std::vector<Row> rows = {{{"file", "size", "cosine", "relative error", "time"}, Mark::none}};
  for (const ModelReport& model : report.models) {
    for (const Artifact& artifact : model.artifacts) rows.push_back(artifact_row(model, artifact));
  }
  return rows;
}

std::string marked(const TerminalStyle& style, Mark mark) {
  if (mark == Mark::none) return {};
  const bool good = mark == Mark::good;
  const std::string_view text = style.utf8 ? (good ? "✓" : "✗") : (good ? "ok" : "FAILED");
  return "  " + paint(style.colour_out, good ? kGood : kBad, text);
}

std::string without_trailing_spaces(std::string text) {
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

}  // namespace

TerminalStyle detect_style(const Stream& out, const Stream& err, const Environment& environment) {
  const char* term = environment("TERM");
  const bool capable = term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
  const auto given = [&](const char* name) {
    const char* value = environment(name);
    return value == nullptr ? std::string_view() : std::string_view(value);
  };
  const bool forced = !given("CLICOLOR_FORCE").empty() && given("CLICOLOR_FORCE") != "0";
  const bool refused = !given("NO_COLOR").empty() || (!forced && given("CLICOLOR") == "0");
  TerminalStyle style;
  style.colour_out = !refused && (forced || (capable && out.is_terminal));
  style.colour_err = !refused && (forced || (capable && err.is_terminal));
  style.live = capable && out.is_terminal;
  style.utf8 = says_utf8(environment);
  return style;
}

std::string tree_line(bool colour, std::string_view line) {
  const std::size_t name = line.find_first_not_of(' ');
  const std::size_t gap = name == std::string_view::npos ? name : line.find("  ", name);
  if (gap == std::string_view::npos) return std::string(line);
  return std::string(line.substr(0, gap)) + paint(colour, kDim, line.substr(gap));
}

Terminal::Terminal(TerminalStyle style, Stream out, Stream err)
    : style_(style), out_(std::move(out)), err_(std::move(err)) {}

void Terminal::line(const std::string& text) {
  if (style_.quiet) return;
  clear_live_line();
  out_.write(without_trailing_spaces(text) + "\n");
  anything_shown_ = true;
}

void Terminal::live_line(const std::string& text) {
  if (style_.quiet || !style_.live) return;
  clear_live_line();
  out_.write(text);
  live_line_shown_ = true;
}

void Terminal::clear_live_line() {
  if (live_line_shown_) out_.write("\r\x1b[K");
  live_line_shown_ = false;
}

// "warning: gru: first line", the other lines below it.
void Terminal::problem(bool is_error, const std::string& model, std::string_view text) {
  clear_live_line();
  const std::string_view word = is_error ? "error:" : "warning:";
  const std::string indent(word.size() + 1, ' ');
  std::string message = paint(style_.colour_err, is_error ? kBad : kCaution, word) + " ";
  if (!model.empty()) message += printable(model) + ": ";
  const std::vector<std::string> lines = printable_lines(text);
  message += lines.front() + "\n";
  for (std::size_t i = 1; i < lines.size(); ++i) {
    constexpr std::string_view kNext = "next: ";
    std::string shown = lines[i].starts_with("  ") ? tree_line(style_.colour_err, lines[i]) : lines[i];
    if (shown.starts_with(kNext)) shown = paint(style_.colour_err, kBold, kNext) + shown.substr(kNext.size());
    message += indent + shown + "\n";
  }
  err_.write(message);
}

void Terminal::show(const Progress& progress) {
  constexpr std::size_t kStageColumns = 20;
  constexpr std::size_t kTimeColumns = 8;
  switch (progress.kind) {
    case Progress::Kind::model_started:
      if (anything_shown_) line("");
      line(paint(style_.colour_out, kBold, printable(progress.model)) + "  " + printable(progress.text));
      break;
    case Progress::Kind::stage_started:
      live_line("  " + printable(progress.stage) + " ...");
      break;
    case Progress::Kind::stage_finished:
      line("  " + left(printable(progress.stage), kStageColumns) +
           paint(style_.colour_out, kDim, right(human_seconds(progress.seconds), kTimeColumns)) + "  " +
           printable(progress.text));
      break;
    case Progress::Kind::detail:
      line("  " + printable(progress.text));
      break;
    case Progress::Kind::warning:
    case Progress::Kind::model_skipped:
      problem(false, progress.model, progress.text);
      break;
    case Progress::Kind::model_failed:
      problem(true, progress.model, progress.text);
      break;
  }
}

void Terminal::show_error(const Error& error) {
  problem(true, {}, error_lines(error));
}

void Terminal::show_warning(const Error& error) {
  problem(false, {}, error_lines(error));
}

// What -v adds: where each value comes from, and the agreement at each shape.
void Terminal::details(const ModelReport& model) {
  if (!model.info) return;
  const std::string what(model.info->family.empty() ? source_kind_name(model.info->kind) : model.info->family);
  line("");
  line(paint(style_.colour_out, kBold, printable(model.key)) + "  " + printable(what) + ", SHA-256 " +
       model.info->source_sha256.substr(0, 16));
  for (const HyperParameter& value : model.info->hyper_parameters) {
    line("  " + left(printable(value.name), 20) + right(printable(value.value), 8) + "  " +
         paint(style_.colour_out, kDim, printable(value.origin)));
  }
  for (const Verification& verification : model.verifications) {
    for (const Agreement& run : verification.runs) {
      line(fmt::format("  {}{}  cosine {}, max error {}, relative error {}, top-1 {:.0f} %", left(verification.key, 20),
                       right(shape_text(run.input_shape), 14), cosine_text(run.cosine_similarity),
                       error_text(run.max_error), error_text(run.relative_error), 100 * run.top1_agreement));
    }
  }
  line("  " + left("peak memory", 20) + right(human_size(model.peak_memory), 8));
}

void Terminal::table(const ExportReport& report) {
  const std::vector<Row> rows = rows_of(report);
  if (rows.size() == 1) return;
  const bool verified = std::ranges::any_of(rows, [](const Row& row) { return row.mark != Mark::none; });
  std::array<std::size_t, kColumns> columns{};
  for (const Row& row : rows) {
    for (std::size_t c = 0; c < kColumns; ++c) columns[c] = std::max(columns[c], width(row.cells[c]));
  }
  line("");
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string text = left(rows[r].cells[0], columns[0]);
    for (std::size_t c = 1; c < kColumns; ++c) {
      const bool about_agreement = c == 2 || c == 3;
      if (verified || !about_agreement) text += "   " + right(rows[r].cells[c], columns[c]);
    }
    line("  " + (r == 0 ? paint(style_.colour_out, kDim, text) : text) + marked(style_, rows[r].mark));
  }
}

void Terminal::closing_line(const ExportReport& report) {
  std::size_t exported = 0;
  std::size_t failed = 0;
  bool verified = true;
  for (const ModelReport& model : report.models) {
    if (model.skipped) continue;
    if (model.error) {
      ++failed;
    } else {
      ++exported;
      verified = verified && !model.verifications.empty();
    }
  }
  std::string text;
  if (exported > 0) {
    text = fmt::format("Exported {}{} in {}", verified ? "and verified " : "", plural(exported, "model"),
                       human_seconds(report.seconds));
    if (!verified) text += ", not verified";
  }
  if (failed > 0) text += fmt::format("{}{} failed", text.empty() ? "" : "; ", plural(failed, "model"));
  if (text.empty()) return;
  if (!report.results_path.empty()) text += ". Results: " + path_text(report.results_path);
  line("");
  line(paint(style_.colour_out, report.succeeded() ? kGood : kBad, text));
}

void Terminal::summarize(const ExportReport& report) {
  clear_live_line();
  if (report.error) show_error(*report.error);
  if (style_.verbose) {
    for (const ModelReport& model : report.models) details(model);
  }
  table(report);
  if (!report.error) closing_line(report);
}

}  // namespace taper
