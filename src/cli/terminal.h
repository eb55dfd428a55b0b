// What a person sees of a job: a line per stage while it runs, warnings and errors as they come, a table at the end.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "taper/taper.h"

namespace taper {

// Where text goes. `write` gets whole lines, or on a terminal also a line without its end that a later one replaces.
struct Stream {
  std::function<void(std::string_view)> write;
  bool is_terminal = false;
};

// Reads an environment variable: std::getenv, or what a test says.
using Environment = std::function<const char*(const char*)>;

struct TerminalStyle {
  bool colour_out = false;
  bool colour_err = false;
  bool live = false;   // a stage that runs is shown and then replaced by its result
  bool utf8 = false;   // marks beyond ASCII
  bool quiet = false;  // only warnings and errors
  bool verbose = false;
};

// Colours and live lines belong to terminals that know them (not TERM=dumb; NO_COLOR switches colours off, see
// no-color.org; else CLICOLOR_FORCE switches them on wherever text goes, and CLICOLOR=0 off, see
// bixense.com/clicolors); UTF-8 to locales that say so.
TerminalStyle detect_style(const Stream& out, const Stream& err, const Environment& environment);

// Lines of report/weight_tree.h with what stands behind the names in a fainter look.
std::string tree_line(bool colour, std::string_view line);

// Writes progress, the summary and errors. Whatever comes from files is escaped before it is written.
class Terminal {
 public:
  Terminal(TerminalStyle style, Stream out, Stream err);

  void show(const Progress& progress);
  void summarize(const ExportReport& report);
  // "error: ..." or "warning: ..." with its places and next step.
  void show_error(const Error& error);
  void show_warning(const Error& error);

 private:
  void line(const std::string& text);
  void live_line(const std::string& text);
  void clear_live_line();
  void problem(bool is_error, const std::string& model, std::string_view text);
  void details(const ModelReport& model);
  void table(const ExportReport& report);
  void closing_line(const ExportReport& report);

  TerminalStyle style_;
  Stream out_;
  Stream err_;
  bool live_line_shown_ = false;
  bool anything_shown_ = false;
};

}  // namespace taper
