// The result of a scan as JSON and as SARIF 2.1.0 (docs.oasis-open.org/sarif).
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/scan.h"
#include "taper/taper.h"

namespace taper {
namespace {

// Keeps the order of insertion. A reference into it dies with the next insertion: build parts first, then add them.
using Json = nlohmann::ordered_json;
using pickle::Mention;
using pickle::Trust;

std::string dumped(const Json& json) {
  // Names in files may be any bytes: what is no UTF-8 is replaced by U+FFFD.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string_view use_word(const Mention& mention) {
  constexpr std::array<std::string_view, 4> kWords = {"imported", "instantiated", "called", "changed"};
  return kWords[static_cast<std::size_t>(mention.use)];
}

Json finding_json(const ScanFinding& finding) {
  const Mention& mention = finding.mention;
  Json json = {{"member", finding.member}, {"offset", mention.offset}};
  if (finding.file_offset) json["file_offset"] = *finding.file_offset;
  json["module"] = mention.module;
  json["name"] = mention.name;
  json["trust"] = trust_name(mention.trust);
  json["use"] = use_word(mention);
  if (mention.calls > 0) {
    json["arguments"] = mention.arguments.front();
    json["calls"] = mention.calls;
  }
  if (mention.arguments.size() > 1)
    json["further_arguments"] = std::vector<std::string>(mention.arguments.begin() + 1, mention.arguments.end());
  if (mention.state_set) json["state_set"] = true;
  json["reason"] = mention.reason;
  return json;
}

Json file_json(const ScannedFile& file) {
  Json findings = Json::array();
  for (const ScanFinding& finding : file.scan.findings) findings.push_back(finding_json(finding));
  Json json = {
      {"path", file.path.native()}, {"format", file.scan.format}, {"verdict", verdict_name(file.scan.verdict)}};
  if (!file.scan.reason.empty()) json["reason"] = file.scan.reason;
  json["findings"] = std::move(findings);
  json["harmless"] = file.scan.harmless;
  return json;
}

// ---- SARIF

struct Rule {
  std::string_view id;
  std::string_view name;
  std::string_view text;
  std::string_view level;
};

constexpr Rule kRules[] = {
    {"TAPER001", "DangerousGlobal",
     "Loading the checkpoint with Python's pickle runs something that no checkpoint needs.", "error"},
    {"TAPER002", "UnknownGlobal", "Loading the checkpoint with Python's pickle runs code that is not known.",
     "warning"},
    {"TAPER003", "Unreadable", "The file can't be read to its end, so that something may be hidden.", "error"},
    {"TAPER004", "CanCarryCode", "The file is of a format that can carry code.", "warning"},
};

Json rules_json() {
  Json rules = Json::array();
  for (const Rule& rule : kRules) {
    const Json text = {{"text", rule.text}};
    const Json level = {{"level", rule.level}};
    rules.push_back(
        {{"id", rule.id}, {"name", rule.name}, {"shortDescription", text}, {"defaultConfiguration", level}});
  }
  return rules;
}

// RFC 3986: what is not unreserved or '/' is percent-encoded. Relative paths stay relative.
std::string uri_of(const std::filesystem::path& path) {
  std::string uri;
  for (const char c : path.native()) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~' || c == '/';
    uri += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return path.is_absolute() ? "file://" + uri : uri;
}

Json result_json(const ScannedFile& file, std::size_t rule, const std::string& message, const ScanFinding* finding) {
  const Json artifact = {{"uri", uri_of(file.path)}};
  Json physical = {{"artifactLocation", artifact}};
  if (finding && finding->file_offset)
    physical["region"] = Json{{"byteOffset", *finding->file_offset}, {"byteLength", 1}};
  Json location = {{"physicalLocation", std::move(physical)}};
  if (finding && !finding->member.empty()) {
    const Json logical = {{"fullyQualifiedName", finding->member}, {"kind", "member"}};
    location["logicalLocations"] = Json::array({logical});
  }
  const Json text = {{"text", message}};
  return {{"ruleId", kRules[rule].id},
          {"ruleIndex", rule},
          {"level", kRules[rule].level},
          {"message", text},
          {"locations", Json::array({std::move(location)})}};
}

void add_results(Json& results, const ScannedFile& file) {
  bool any = false;
  for (const ScanFinding& finding : file.scan.findings) {
    const Mention& mention = finding.mention;
    if (mention.trust != Trust::dangerous && mention.trust != Trust::unknown) continue;
    any = true;
    const std::string message =
        fmt::format("{} ({} at byte {}{}) {}", finding_text(mention), use_word(mention), mention.offset,
                    finding.member.empty() ? "" : fmt::format(" of '{}'", finding.member), mention.reason);
    results.push_back(result_json(file, mention.trust == Trust::dangerous ? 0 : 1, message, &finding));
  }
  if (file.scan.verdict == Verdict::unreadable) results.push_back(result_json(file, 2, file.scan.reason, nullptr));
  if (file.scan.verdict == Verdict::unknown && !any) results.push_back(result_json(file, 3, file.scan.reason, nullptr));
}

}  // namespace

std::string scan_json(const std::vector<ScannedFile>& files) {
  Json list = Json::array();
  for (const ScannedFile& file : files) list.push_back(file_json(file));
  return dumped({{"version", 1},
                 {"files", std::move(list)},
                 {"verdict", verdict_name(worst_verdict(files))},
                 {"taper_version", version()}});
}

std::string scan_sarif(const std::vector<ScannedFile>& files) {
  Json results = Json::array();
  for (const ScannedFile& file : files) add_results(results, file);
  const Json driver = {{"name", "taper scan"}, {"version", version()}, {"rules", rules_json()}};
  const Json tool = {{"driver", driver}};
  const Json run = {{"tool", tool}, {"results", std::move(results)}, {"columnKind", "utf16CodeUnits"}};
  return dumped({{"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
                 {"version", "2.1.0"},
                 {"runs", Json::array({run})}});
}

}  // namespace taper
