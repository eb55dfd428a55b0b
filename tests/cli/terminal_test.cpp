#include "cli/terminal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace taper {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What a job writes to a terminal of the given style; `err` apart from `out`.
struct Screen {
  explicit Screen(TerminalStyle style = {})
      : terminal(style, {[this](std::string_view text) { out += text; }},
                 {[this](std::string_view text) { err += text; }}) {}

  std::string out;
  std::string err;
  Terminal terminal;
};

using Kind = Progress::Kind;

void show_a_model(Terminal& terminal) {
  terminal.show({Kind::model_started, "gru", "", "GRU.pt", 0});
  terminal.show({Kind::stage_started, "gru", "load", "", 0});
  terminal.show({Kind::stage_finished, "gru", "load", "MediaPipeGRU, 531 k weights, PyTorch zip checkpoint", 0.0042});
  terminal.show({Kind::warning, "gru", "", "norm_eps is assumed", 0});
  terminal.show({Kind::stage_started, "gru", "convert", "", 0});
  terminal.show({Kind::stage_finished, "gru", "tflite_fp32", "exports/mediapipe_gru_fp32.tflite, 2.3 MB", 0.0125});
}

ExportReport a_report() {
  ModelReport model;
  model.key = "gru";
  model.model_name = "mediapipe_gru";
  model.info = ModelInfo{};
  model.info->family = "MediaPipeGRU";
  model.info->hyper_parameters = {{"hidden1", "256", "shapes"}};
  model.info->source_sha256 = std::string(64, 'a');
  model.artifacts = {{"onnx", "exports/mediapipe_gru.onnx", 2'345'678, 0.038, {}},
                     {"tflite_fp32", "exports/mediapipe_gru_fp32.tflite", 2'310'000, 0.0125, {}},
                     {"tflite_fp16", "exports/mediapipe_gru_fp16.tflite", 1'180'000, 0.011, {}}};
  for (const char* key : {"tflite_fp32", "tflite_fp16"}) {
    Verification verification;
    verification.key = key;
    verification.runtime = "LiteRT";
    verification.worst = {{1, 300, 178}, 0.99999987, 2e-6, 3.5e-7, 1.0};
    verification.runs = {verification.worst};
    verification.seconds = 0.03;
    verification.passed = true;
    model.verifications.push_back(verification);
  }
  model.peak_memory = 45'600'000;
  ExportReport report;
  report.models = {model};
  report.results_path = "exports/export_results.json";
  report.seconds = 0.1234;
  return report;
}

TEST(Screen, shows_plain_lines_in_a_pipe) {
  Screen screen;
  show_a_model(screen.terminal);
  EXPECT_EQ(screen.out,
            "gru  GRU.pt\n"
            "  load                  4.2 ms  MediaPipeGRU, 531 k weights, PyTorch zip checkpoint\n"
            "  tflite_fp32            12 ms  exports/mediapipe_gru_fp32.tflite, 2.3 MB\n");
  EXPECT_EQ(screen.err, "warning: gru: norm_eps is assumed\n");
}

TEST(Screen, replaces_the_running_stage_on_a_terminal) {
  TerminalStyle style;
  style.live = true;
  Screen screen(style);
  screen.terminal.show({Kind::stage_started, "gru", "load", "", 0});
  EXPECT_EQ(screen.out, "  load ...");
  screen.terminal.show({Kind::stage_finished, "gru", "load", "done", 1});
  EXPECT_EQ(screen.out, "  load ...\r\x1b[K  load                  1.00 s  done\n");
}

TEST(Screen, clears_the_running_stage_before_a_warning) {
  TerminalStyle style;
  style.live = true;
  Screen screen(style);
  screen.terminal.show({Kind::stage_started, "gru", "load", "", 0});
  screen.terminal.show({Kind::warning, "gru", "", "odd", 0});
  EXPECT_THAT(screen.out, ::testing::EndsWith("\r\x1b[K"));
  EXPECT_EQ(screen.err, "warning: gru: odd\n");
}

TEST(Screen, ends_with_a_table) {
  Screen screen;
  screen.terminal.summarize(a_report());
  EXPECT_EQ(screen.out,
            "\n"
            "  file                          size     cosine   relative error    time\n"
            "  mediapipe_gru.onnx          2.3 MB                               38 ms\n"
            "  mediapipe_gru_fp32.tflite   2.3 MB   1.000000          3.5e-07   42 ms  ok\n"
            "  mediapipe_gru_fp16.tflite   1.2 MB   1.000000          3.5e-07   41 ms  ok\n"
            "\n"
            "Exported and verified 1 model in 123 ms. Results: exports/export_results.json\n");
  EXPECT_EQ(screen.err, "");
}

TEST(Screen, leaves_out_the_columns_of_what_was_not_verified) {
  ExportReport report = a_report();
  report.models[0].verifications.clear();
  Screen screen;
  screen.terminal.summarize(report);
  EXPECT_EQ(screen.out,
            "\n"
            "  file                          size    time\n"
            "  mediapipe_gru.onnx          2.3 MB   38 ms\n"
            "  mediapipe_gru_fp32.tflite   2.3 MB   12 ms\n"
            "  mediapipe_gru_fp16.tflite   1.2 MB   11 ms\n"
            "\n"
            "Exported 1 model in 123 ms, not verified. Results: exports/export_results.json\n");
}

TEST(Screen, marks_in_utf8_and_colour_where_both_are_known) {
  ExportReport report = a_report();
  report.models[0].verifications[1].passed = false;
  TerminalStyle style;
  style.utf8 = true;
  style.colour_out = true;
  Screen screen(style);
  screen.terminal.summarize(report);
  EXPECT_THAT(screen.out, HasSubstr("\x1b[32m✓\x1b[0m"));
  EXPECT_THAT(screen.out, HasSubstr("\x1b[1;31m✗\x1b[0m"));
}

TEST(Screen, shows_an_error_with_its_place_and_next_step) {
  Screen screen;
  screen.terminal.show({Kind::model_failed, "gru", "", "not a PyTorch file\nin file 'GRU.pt'\nnext: save it again", 0});
  EXPECT_EQ(screen.err,
            "error: gru: not a PyTorch file\n"
            "       in file 'GRU.pt'\n"
            "       next: save it again\n");
}

TEST(Screen, shows_the_error_of_the_job_and_no_table) {
  ExportReport report;
  report.error = Error{"the sequence length is 0", {}, "give a number"};
  Screen screen;
  screen.terminal.summarize(report);
  EXPECT_EQ(screen.err, "error: the sequence length is 0\n       next: give a number\n");
  EXPECT_EQ(screen.out, "");
}

TEST(Screen, counts_failures_in_its_last_line) {
  ExportReport report = a_report();
  report.models.push_back({});
  report.models.back().error = Error{"broken", {}, {}};
  report.models.push_back({});
  report.models.back().skipped = true;
  Screen screen;
  screen.terminal.summarize(report);
  EXPECT_THAT(screen.out, HasSubstr("\nExported and verified 1 model in 123 ms; 1 model failed. Results: "));
}

TEST(Screen, says_when_a_figure_is_not_finite) {
  ExportReport report = a_report();
  report.models[0].verifications[0].worst.cosine_similarity = std::numeric_limits<double>::quiet_NaN();
  Screen screen;
  screen.terminal.summarize(report);
  EXPECT_THAT(screen.out, HasSubstr("not finite"));
}

TEST(Screen, adds_origins_and_shapes_when_verbose) {
  TerminalStyle style;
  style.verbose = true;
  Screen screen(style);
  screen.terminal.summarize(a_report());
  EXPECT_THAT(screen.out, HasSubstr("  hidden1                  256  shapes\n"));
  EXPECT_THAT(screen.out, HasSubstr("  tflite_fp32          [1, 300, 178]  cosine 1.000000, max error 2.0e-06"));
  EXPECT_THAT(screen.out, HasSubstr("peak memory          45.6 MB"));
}

TEST(Screen, is_empty_when_quiet_but_for_problems) {
  TerminalStyle style;
  style.quiet = true;
  style.live = true;
  Screen screen(style);
  show_a_model(screen.terminal);
  screen.terminal.summarize(a_report());
  EXPECT_EQ(screen.out, "");
  EXPECT_EQ(screen.err, "warning: gru: norm_eps is assumed\n");
}

TEST(Screen, escapes_whatever_comes_from_a_file) {
  TerminalStyle style;
  style.live = true;
  Screen screen(style);
  const std::string evil = "a\x1b[2J\r";
  for (const Kind kind :
       {Kind::model_started, Kind::stage_finished, Kind::warning, Kind::model_failed, Kind::model_skipped}) {
    screen.terminal.show({kind, evil, evil, evil, 0});
  }
  ExportReport report = a_report();
  report.models[0].artifacts[0].path = evil;
  screen.terminal.summarize(report);
  EXPECT_THAT(screen.out, Not(HasSubstr("\x1b[2J")));
  EXPECT_THAT(screen.err, Not(HasSubstr("\x1b[2J")));
  EXPECT_THAT(screen.err, HasSubstr("a\\x1b[2J\\r: a\\x1b[2J\\r"));
}

// ----------------------------------------------------------------------------------------------------------- style

TerminalStyle style_with(const std::map<std::string, std::string>& variables, bool out_is_terminal = true,
                         bool err_is_terminal = true) {
  return detect_style({{}, out_is_terminal}, {{}, err_is_terminal}, [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(Style, is_coloured_and_live_on_a_capable_terminal) {
  const TerminalStyle style = style_with({{"TERM", "xterm-256color"}});
  EXPECT_TRUE(style.colour_out && style.colour_err && style.live);
}

TEST(Style, has_no_colours_with_no_color) {
  const TerminalStyle style = style_with({{"TERM", "xterm"}, {"NO_COLOR", "1"}});
  EXPECT_FALSE(style.colour_out || style.colour_err);
  EXPECT_TRUE(style.live);
  EXPECT_TRUE(style_with({{"TERM", "xterm"}, {"NO_COLOR", ""}}).colour_out);
}

TEST(Style, follows_clicolor) {
  const TerminalStyle forced = style_with({{"CLICOLOR_FORCE", "1"}}, false, false);
  EXPECT_TRUE(forced.colour_out && forced.colour_err);
  EXPECT_FALSE(forced.live);
  EXPECT_FALSE(style_with({{"CLICOLOR_FORCE", "0"}}, false, false).colour_out);
  EXPECT_FALSE(style_with({{"CLICOLOR_FORCE", "1"}, {"NO_COLOR", "1"}}).colour_out);
  EXPECT_FALSE(style_with({{"TERM", "xterm"}, {"CLICOLOR", "0"}}).colour_out);
  EXPECT_TRUE(style_with({{"TERM", "xterm"}, {"CLICOLOR", "1"}}).colour_out);
}

TEST(Style, of_trees_is_fainter_behind_the_names) {
  EXPECT_EQ(tree_line(true, "    head  Linear 4 -> 2"), "    head\x1b[2m  Linear 4 -> 2\x1b[0m");
  EXPECT_EQ(tree_line(false, "    head  Linear 4 -> 2"), "    head  Linear 4 -> 2");
  EXPECT_EQ(tree_line(true, "  program = export(model)"), "  program = export(model)");
  EXPECT_EQ(tree_line(true, ""), "");
}

TEST(Style, is_plain_on_a_dumb_terminal_and_in_a_pipe) {
  for (const TerminalStyle& style :
       {style_with({{"TERM", "dumb"}}), style_with({}), style_with({{"TERM", "xterm"}}, false, false)}) {
    EXPECT_FALSE(style.colour_out || style.colour_err || style.live);
  }
  EXPECT_TRUE(style_with({{"TERM", "xterm"}}, false, true).colour_err);
}

TEST(Style, is_utf8_where_the_locale_is) {
  EXPECT_TRUE(style_with({{"LANG", "en_US.UTF-8"}}).utf8);
  EXPECT_TRUE(style_with({{"LC_CTYPE", "C.utf8"}, {"LANG", "C"}}).utf8);
  EXPECT_TRUE(style_with({{"LC_ALL", ""}, {"LANG", "de_DE.utf8"}}).utf8);
  EXPECT_FALSE(style_with({{"LC_ALL", "C"}, {"LANG", "en_US.UTF-8"}}).utf8);
  EXPECT_FALSE(style_with({}).utf8);
}

}  // namespace
}  // namespace taper
