#include "cli/scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "scratch_folder.h"
#include "taper/taper.h"

namespace taper {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using testing_support::ScratchFolder;
namespace fs = std::filesystem;

const std::string kClean = "ccollections\nOrderedDict\n)R.";
const std::string kUnknown = "cmodels.gru\nNet\n)\x81.";
const std::string kDangerous = "cposix\nsystem\n(U\x02idtR.";

// The program in an empty folder.
class Taper : public ::testing::Test {
 protected:
  Taper() : before_(fs::current_path()) { fs::current_path(scratch.path()); }
  ~Taper() override { fs::current_path(before_); }

  int run(const std::vector<std::string>& arguments) {
    out.clear();
    err.clear();
    ProgramContext context;
    context.out = {[this](std::string_view text) { out += text; }, terminal};
    context.err = {[this](std::string_view text) { err += text; }, terminal};
    context.environment = [](const char* name) -> const char* {
      return name == std::string("TERM") ? "xterm" : nullptr;
    };
    return run_taper(arguments, context);
  }
  void file(const std::string& name, const std::string& content) { std::ofstream(name, std::ios::binary) << content; }

  ScratchFolder scratch;
  bool terminal = false;
  std::string out;
  std::string err;

 private:
  fs::path before_;
};

TEST_F(Taper, helps) {
  EXPECT_EQ(run({"--help"}), 0);
  EXPECT_THAT(out, HasSubstr("taper scan FILE..."));
  EXPECT_EQ(run({"--version"}), 0);
  EXPECT_EQ(out, "taper " + version() + "\n");
  EXPECT_EQ(run({"scan", "--help"}), 0);
  EXPECT_THAT(out, HasSubstr("--trust MODULE"));
}

TEST_F(Taper, refuses_wrong_usage_with_status_2) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{}, "a command is missing"},
      {{"scna"}, "unknown command 'scna', did you mean 'scan'?"},
      {{"--verison"}, "unknown option '--verison', did you mean '--version'?"},
      {{"\x1b[2J"}, "unknown command '\\x1b[2J'"},
      {{"scan"}, "no file is given"},
      {{"scan", "--jsn", "a"}, "unknown option '--jsn', did you mean '--json'?"},
      {{"scan", "--json", "--sarif", "a"}, "contradict"},
      {{"scan", "--trust", "a b", "a"}, "expected a module's name"},
      {{"scan", "--output", "", "a"}, "--output is empty"},
      {{"scan", "a", "--trust"}, "--trust"},
  };
  for (const auto& [arguments, message] : cases) {
    EXPECT_EQ(run(arguments), 2) << message;
    EXPECT_THAT(err, StartsWith("error: "));
    EXPECT_THAT(err, HasSubstr(message));
    EXPECT_THAT(err, HasSubstr("--help'"));
    EXPECT_THAT(out, IsEmpty());
  }
}

TEST_F(Taper, replaces_no_file_that_it_scans) {
  file("a.pkl", kClean);
  fs::create_hard_link("a.pkl", "b.pkl");
  for (const char* output : {"a.pkl", "./a.pkl", "b.pkl"}) {
    EXPECT_EQ(run({"scan", "--output", output, "a.pkl"}), 2) << output;
    EXPECT_THAT(err, HasSubstr("is a file that is scanned"));
  }
  EXPECT_EQ(run({"scan", "a.pkl"}), 0);
  EXPECT_EQ(run({"scan", "--output", "no/folder.txt", "a.pkl"}), 1);
  EXPECT_THAT(err, HasSubstr("cannot write the file 'no/folder.txt': No such file or directory"));
  EXPECT_THAT(err, HasSubstr("next: name a file in a folder"));
}

TEST_F(Taper, helps_with_each_command) {
  for (const char* command : {"convert", "inspect", "scan", "ops"}) {
    EXPECT_EQ(run({"help", command}), 0);
    EXPECT_THAT(out, StartsWith(std::string("taper ") + command));
  }
  EXPECT_EQ(run({"help", "covert"}), 2);
  EXPECT_THAT(err, HasSubstr("did you mean 'convert'?"));
}

TEST_F(Taper, the_worst_file_decides_the_status) {
  file("clean.pkl", kClean);
  file("unknown.pkl", kUnknown);
  file("dangerous.pkl", kDangerous);
  file("-odd", kClean);
  EXPECT_EQ(run({"scan", "clean.pkl"}), 0);
  EXPECT_EQ(out, "clean.pkl: clean (pickle)\n");
  EXPECT_EQ(run({"scan", "--quiet", "clean.pkl"}), 0);
  EXPECT_THAT(out, IsEmpty());
  EXPECT_EQ(run({"scan", "--", "-odd"}), 0);
  EXPECT_EQ(run({"scan", "unknown.pkl"}), 1);
  EXPECT_THAT(out, HasSubstr("Load it only if you trust"));
  EXPECT_EQ(run({"scan", "unknown.pkl", "--trust", "models"}), 0);
  EXPECT_THAT(out, HasSubstr("trusted    models.gru.Net()"));
  EXPECT_EQ(run({"scan", "clean.pkl", "dangerous.pkl"}), 1);
  EXPECT_THAT(out, HasSubstr("1 of 2 files are clean"));
  EXPECT_THAT(out, HasSubstr("Don't load it"));
  EXPECT_EQ(run({"scan", "missing.pkl"}), 1);
  EXPECT_THAT(out, HasSubstr("missing.pkl: unreadable"));
  EXPECT_EQ(run({"scan", "."}), 1);
  EXPECT_THAT(out, HasSubstr("is a folder"));
}

TEST_F(Taper, says_what_would_run_and_where) {
  file("dangerous.pkl", kDangerous);
  EXPECT_EQ(run({"scan", "dangerous.pkl"}), 1);
  EXPECT_THAT(out, HasSubstr("dangerous.pkl: dangerous (pickle)\n"
                             "  posix.system('id') at byte 0 runs shell commands\n"
                             "  dangerous  posix.system('id')  called, byte 0\n"
                             "             runs shell commands\n"));
}

TEST_F(Taper, what_files_say_cannot_reach_the_terminal) {
  terminal = true;
  file("a\x1b[2J.pkl", "cposix\nsys\x1b]0;x\x07tem\n(U\x04\x1b[2JtR.");
  EXPECT_EQ(run({"scan", "a\x1b[2J.pkl", "--no-color"}), 1);
  EXPECT_THAT(out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(out, HasSubstr("\\x1b]0;x\\x07"));
  EXPECT_EQ(run({"scan", "a\x1b[2J.pkl"}), 1);
  EXPECT_THAT(out, HasSubstr("\x1b[1;31mdangerous\x1b[0m"));
}

TEST_F(Taper, tells_all_as_json) {
  file("dangerous.pkl", kClean + kDangerous);
  EXPECT_EQ(run({"scan", "--json", "dangerous.pkl"}), 1);
  const json document = json::parse(out);
  EXPECT_EQ(document["version"], 1);
  EXPECT_EQ(document["verdict"], "dangerous");
  const json& scanned = document["files"][0];
  EXPECT_EQ(scanned["path"], "dangerous.pkl");
  EXPECT_EQ(scanned["format"], "pickle");
  EXPECT_EQ(scanned["verdict"], "dangerous");
  EXPECT_EQ(scanned["harmless"], json({"collections.OrderedDict"}));
  const json expected = {{"member", ""},
                         {"offset", kClean.size()},
                         {"file_offset", kClean.size()},
                         {"module", "posix"},
                         {"name", "system"},
                         {"trust", "dangerous"},
                         {"use", "called"},
                         {"arguments", "'id'"},
                         {"calls", 1},
                         {"reason", "runs shell commands"}};
  EXPECT_EQ(scanned["findings"], json::array({expected}));
}

TEST_F(Taper, writes_sarif_to_a_file) {
  fs::create_directory("my models");
  file("my models/\xc3\xa9%.pkl", kDangerous + kUnknown);
  file("text.pkl", "no pickle");
  EXPECT_EQ(run({"scan", "--sarif", "--output", "out.sarif", "my models/\xc3\xa9%.pkl", "text.pkl"}), 1);
  EXPECT_THAT(out, IsEmpty());
  const json document = json::parse(std::ifstream("out.sarif"));
  EXPECT_EQ(document["version"], "2.1.0");
  const json& run_json = document["runs"][0];
  EXPECT_EQ(run_json["tool"]["driver"]["name"], "taper scan");
  const json& results = run_json["results"];
  ASSERT_EQ(results.size(), 3u);
  for (const json& result : results)
    EXPECT_EQ(run_json["tool"]["driver"]["rules"][result["ruleIndex"].get<std::size_t>()]["id"], result["ruleId"]);
  const json& location = results[0]["locations"][0]["physicalLocation"];
  EXPECT_EQ(location["artifactLocation"]["uri"], "my%20models/%C3%A9%25.pkl");
  EXPECT_EQ(location["region"]["byteOffset"], 0);
  EXPECT_EQ(results[0]["level"], "error");
  EXPECT_EQ(results[1]["level"], "warning");
  EXPECT_EQ(results[2]["ruleId"], "TAPER003");
  EXPECT_EQ(run({"scan", "--json", "--output", "no/such/folder", "text.pkl"}), 1);
  EXPECT_THAT(err, HasSubstr("cannot write"));
}

}  // namespace
}  // namespace taper
