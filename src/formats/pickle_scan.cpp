#include "formats/pickle_scan.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <set>

#include "base/mapped_file.h"
#include "formats/archive_kind.h"
#include "formats/file_look.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "formats/text.h"
#include "formats/zip.h"

namespace taper {
namespace {

using pickle::Mention;
using pickle::Trust;
using pickle::Walk;

constexpr int kDeepest = 5;  // archives in archives
constexpr std::size_t kMostFindings = 4096;
constexpr std::uint64_t kMostInflatedEntry = std::uint64_t{256} << 20;  // as one buffer
constexpr std::uint64_t kInflatedBase = std::uint64_t{64} << 20;        // of a file, as in zip.cpp
constexpr std::uint64_t kInflatedRatio = 64;
constexpr std::size_t kMostMembers = 200'000;  // of a tar or a damaged zip

// Where some bytes are: in which member, and where in the file if they stand there as they are.
struct Place {
  std::string member;
  std::optional<std::uint64_t> file_offset;
  int depth = 0;

  Place inside(std::string_view name, std::optional<std::uint64_t> offset) const {
    return {member.empty() ? std::string(name) : fmt::format("{}: {}", member, name),
            file_offset && offset ? std::optional(*file_offset + *offset) : std::nullopt, depth + 1};
  }
  Place further(std::uint64_t bytes) const {
    Place moved = *this;
    if (moved.file_offset) *moved.file_offset += bytes;
    return moved;
  }
  std::string text() const { return member.empty() ? "" : fmt::format(" of '{}'", excerpt(member)); }
};

struct Scan {
  const ScanOptions& options;
  std::uint64_t inflatable = 0;  // bytes that compressed parts may still grow to
  std::uint64_t walkable = 0;    // bytes that searches for pickles may still walk
  FileScan result = {};
  std::set<std::string> harmless = {};
  std::vector<std::string> problems = {};  // what makes the file unreadable
  std::vector<std::string> doubts = {};    // what makes it unknown
  bool findings_left_out = false;
};

std::string scan_content(Scan& scan, const SharedBytes& bytes, const Place& place);

void add_problem(std::vector<std::string>& list, std::string text) {
  if (list.size() < 100 && std::ranges::find(list, text) == list.end()) list.push_back(std::move(text));
}

// ---- pickles

bool is_plausible(const Mention& mention) {
  return mention.module.size() < 200 && mention.name.size() < 200 && pickle::is_dotted_name(mention.module) &&
         pickle::is_dotted_name(mention.name);
}

// Numbers that look like opcodes name nothing that could be a name.
void drop_implausible(Walk& walk) {
  std::erase_if(walk.mentions, [](const Mention& mention) { return !is_plausible(mention); });
}

// `start`: of the pickle in its member.
void take_findings(Scan& scan, Walk& walk, const Place& place, std::uint64_t start) {
  scan.harmless.insert(walk.harmless.begin(), walk.harmless.end());
  for (Mention& mention : walk.mentions) {
    if (scan.result.findings.size() >= kMostFindings) {
      scan.findings_left_out = true;
      break;
    }
    mention.offset += start;
    ScanFinding finding{place.member, std::nullopt, std::move(mention)};
    if (place.file_offset) finding.file_offset = *place.file_offset + finding.mention.offset;
    scan.result.findings.push_back(std::move(finding));
  }
  for (const pickle::NestedPickle& nested : walk.nested)
    scan_content(scan, nested.bytes,
                 place.inside(fmt::format("pickle at byte {}", start + nested.offset), std::nullopt));
}

std::string broken_text(const Walk& walk, const Place& place, std::uint64_t start) {
  std::string text = fmt::format("the pickle{}", place.text());
  if (start > 0) text += fmt::format(" that starts at byte {}", start);
  text += fmt::format(" is broken: {}", walk.problem);
  const auto before = std::ranges::find(walk.mentions, Trust::dangerous, &Mention::trust);
  if (before != walk.mentions.end())
    text += fmt::format("; before that it {} {}", before->calls > 0 ? "calls" : "imports", finding_text(*before));
  return text;
}

bool starts_pickle(std::string_view text) {  // PROTO, from protocol 2 on
  return text.size() > 1 && text[0] == '\x80' && static_cast<unsigned char>(text[1]) <= 5;
}

// Walks what may be a pickle or any bytes. Takes its findings if it is one: it ends with STOP and names something, or
// names something that has the form of a name and is not harmless. Returns the bytes walked if it is one, else 0.
std::uint64_t sniff(Scan& scan, const SharedBytes& bytes, const Place& place, std::uint64_t start, bool whole) {
  Walk walk = pickle::walk(bytes.sub(start, bytes.view.size() - start), scan.options.trusted);
  if (!walk.stopped) drop_implausible(walk);
  const bool names = !walk.mentions.empty() || !walk.harmless.empty() || !walk.nested.empty();
  const bool is_pickle = (walk.stopped && (names || whole)) || !walk.mentions.empty();
  if (!is_pickle) return 0;
  if (!walk.stopped) add_problem(scan.problems, broken_text(walk, place, start));
  take_findings(scan, walk, place, start);
  return walk.size;
}

// Whether a search may go on after this walk: together they are linear in the size of the file.
bool pay(Scan& scan, const Walk& walk) {
  constexpr std::uint64_t kStart = 1024;  // what it takes to begin one
  if (walk.looked_at + kStart > scan.walkable) {
    add_problem(scan.problems, "searching it for pickles took too long");
    scan.walkable = 0;
    return false;
  }
  scan.walkable -= walk.looked_at + kStart;
  return true;
}

// Searches bytes that can't be followed for the beginnings of pickles. What it finds counts; that it finds nothing
// proves nothing.
void search_pickles(Scan& scan, const SharedBytes& bytes, const Place& place, std::uint64_t from) {
  const std::string_view text = as_text(bytes.view);
  for (std::size_t at = text.find('\x80', from); at != std::string_view::npos; at = text.find('\x80', at + 1)) {
    if (!starts_pickle(text.substr(at))) continue;
    Walk walk = pickle::walk(bytes.sub(at, text.size() - at), scan.options.trusted);
    if (!pay(scan, walk)) return;
    drop_implausible(walk);
    if (walk.mentions.empty()) continue;
    const std::uint64_t size = walk.size;
    take_findings(scan, walk, place, at);
    at += size - 1;
  }
}

// Walks what must be a pickle; returns its end, or that of the bytes if it can't be followed.
std::uint64_t follow_pickle(Scan& scan, const SharedBytes& bytes, const Place& place, std::uint64_t start) {
  const std::uint64_t size = bytes.view.size();
  if (start >= size) {
    add_problem(scan.problems, fmt::format("the pickle{} is missing at byte {}", place.text(), start));
    return size;
  }
  Walk walk = pickle::walk(bytes.sub(start, size - start), scan.options.trusted);
  if (!walk.stopped && !walk.holds_raw_arrays) add_problem(scan.problems, broken_text(walk, place, start));
  take_findings(scan, walk, place, start);
  if (walk.stopped) return start + walk.size;
  if (walk.holds_raw_arrays) {
    add_problem(scan.doubts,
                fmt::format("joblib's arrays between the opcodes{} were searched, not followed", place.text()));
    search_pickles(scan, bytes, place, start + walk.problem_offset);
  }
  return size;
}

// Files may hold one pickle after another. What follows the last one is not read by anyone.
void follow_more(Scan& scan, const SharedBytes& bytes, const Place& place, std::uint64_t offset) {
  const std::string_view text = as_text(bytes.view);
  while (offset < text.size()) {
    if (starts_pickle(text.substr(offset))) {
      offset = follow_pickle(scan, bytes, place, offset);
      continue;
    }
    const std::uint64_t size = sniff(scan, bytes, place, offset, true);
    if (size == 0) return;
    offset += size;
  }
}

void scan_pickles(Scan& scan, const SharedBytes& bytes, const Place& place, std::uint64_t start) {
  follow_more(scan, bytes, place, follow_pickle(scan, bytes, place, start));
}

// torch.save's legacy format: magic number, protocol, system, the checkpoint, the keys of its storages; then numbers.
void scan_legacy(Scan& scan, const SharedBytes& bytes, const Place& place) {
  constexpr int kPickles = 5;
  std::uint64_t offset = 0;
  const std::size_t problems = scan.problems.size();
  for (int i = 0; i < kPickles && scan.problems.size() == problems; ++i)
    offset = follow_pickle(scan, bytes, place, offset);
}

bool looks_like_legacy(std::string_view text) {
  constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
  return text.substr(0, 40).find(kMagic) != std::string_view::npos ||
         text.substr(0, 40).find("119547037146038801333356") != std::string_view::npos;
}

// ---- archives

// Inflates to at most `most` bytes. `window`: as inflateInit2 takes it.
Expected<SharedBytes> inflated(Bytes in, std::uint64_t most, int window) {
  z_stream stream = {};
  if (inflateInit2(&stream, window) != Z_OK) return fail("cannot start to inflate");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(in.data()));
  stream.avail_in = static_cast<uInt>(std::min<std::size_t>(in.size(), std::size_t{1} << 30));
  std::vector<std::byte> out;
  std::array<std::byte, 1 << 16> block{};
  int status = Z_OK;
  while (status == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    status = ::inflate(&stream, Z_NO_FLUSH);
    const std::size_t count = block.size() - stream.avail_out;
    if (out.size() + count > most) return fail("it would inflate to more than {} bytes", most);
    out.insert(out.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(count));
  }
  if (status != Z_STREAM_END && out.empty()) return fail("compressed data is damaged");
  return share(std::move(out));
}

// torch.save's storages: raw numbers, which nothing unpickles.
bool is_storage(std::string_view name) {
  const std::string_view inner = without_top_folder(name);
  for (const std::string_view folder : {"data/", ".data/", "tensors/", "constants/"})
    if (inner.starts_with(folder) && inner.find('.', folder.size()) == std::string_view::npos) return true;
  return false;
}

bool must_be_pickle(std::string_view name) {
  return name.ends_with(".pkl") || name.ends_with(".pickle");
}

bool is_native_code(std::string_view text, std::string_view name) {
  return text.starts_with("\x7f\x45LF") || text.starts_with("MZ") || name.ends_with(".so") || name.ends_with(".dll") ||
         name.ends_with(".dylib") || name.ends_with(".pyd");
}

void scan_member(Scan& scan, const SharedBytes& bytes, const Place& place, std::string_view name) {
  const std::string_view text = as_text(bytes.view);
  if (!is_storage(name) && is_native_code(text, name))
    add_problem(scan.doubts, fmt::format("it carries native code, '{}'", excerpt(place.member)));
  if (is_storage(name)) {
    sniff(scan, bytes, place, 0, false);
  } else if (must_be_pickle(name) && !looks_like_zip(text)) {
    scan_pickles(scan, bytes, place, 0);
  } else if (starts_pickle(text) || looks_like_zip(text) || looks_like_tar(text) || text.starts_with("\x93NUMPY") ||
             text.starts_with("\x1f\x8b")) {
    scan_content(scan, bytes, place);
  } else {
    sniff(scan, bytes, place, 0, false);
  }
}

std::string archive_format(Scan& scan, const ZipArchive& archive) {
  if (const ArchiveKind* kind = other_archive(archive)) {
    if (!kind->code.empty()) add_problem(scan.doubts, fmt::format("it carries {}", kind->code));
    return std::string(kind->format);
  }
  const bool torch = std::ranges::any_of(
      archive.entries(), [](const ZipEntry& entry) { return without_top_folder(entry.name) == "data.pkl"; });
  return torch ? "PyTorch zip" : "zip archive";
}

void scan_zip_entry(Scan& scan, const ZipArchive& archive, const ZipEntry& entry, const Place& place) {
  const Place inside = place.inside(entry.name, entry.deflated ? std::nullopt : std::optional(entry.data_offset));
  if (entry.deflated) {
    if (is_storage(entry.name) && entry.size > kInflatedBase) return;  // raw numbers
    if (entry.size > std::min(kMostInflatedEntry, scan.inflatable))
      return add_problem(scan.problems, fmt::format("entry '{}' would inflate to {} bytes", entry.name, entry.size));
    scan.inflatable -= entry.size;
  }
  const auto content = archive.read(entry);
  if (!content) return add_problem(scan.problems, content.error().text());
  if (Status checked = archive.verify(entry); !checked && must_be_pickle(entry.name))
    add_problem(scan.problems, checked.error().text());
  scan_member(scan, *content, inside, entry.name);
}

// An archive whose directory is refused is read from the local headers instead, wherever their signature stands.
void scan_damaged_zip(Scan& scan, const SharedBytes& bytes, const Place& place) {
  constexpr std::string_view kSignature("PK\x03\x04", 4);
  constexpr std::size_t kHeader = 30;
  const std::string_view text = as_text(bytes.view);
  std::size_t members = 0;
  for (std::size_t at = text.find(kSignature); at != std::string_view::npos; at = text.find(kSignature, at + 4)) {
    if (text.size() - at < kHeader || ++members > kMostMembers) return;
    const auto number = [&](std::size_t offset, int size) {
      std::uint32_t value = 0;
      std::memcpy(&value, text.data() + at + offset, static_cast<std::size_t>(size));
      return value;
    };
    const std::size_t name_size = number(26, 2);
    const std::size_t data = at + kHeader + name_size + number(28, 2);
    if (data >= text.size()) continue;
    const std::string name(text.substr(at + kHeader, name_size));
    const std::uint64_t declared = number(18, 4);
    const bool known = declared != 0 && declared != 0xffffffff && declared <= text.size() - data;
    const std::uint64_t size = known ? declared : text.size() - data;
    SharedBytes content = bytes.sub(data, size);
    const bool deflated = number(8, 2) == 8;
    if (deflated) {
      auto unpacked = inflated(content.view, std::min(kInflatedBase, scan.inflatable), -MAX_WBITS);
      if (!unpacked) continue;
      content = *std::move(unpacked);
      scan.inflatable -= content.view.size();
    }
    const Place inside = place.inside(name, deflated ? std::nullopt : std::optional<std::uint64_t>(data));
    if (is_storage(name) || inside.depth > kDeepest) continue;
    Walk walk = pickle::walk(content, scan.options.trusted);
    if (!pay(scan, walk)) return;
    drop_implausible(walk);
    take_findings(scan, walk, inside, 0);
  }
}

std::string scan_zip(Scan& scan, const SharedBytes& bytes, const Place& place) {
  const auto archive = open_zip(bytes);
  if (!archive) {
    add_problem(scan.problems,
                fmt::format("the zip archive{} is damaged or strange: {}", place.text(), archive.error().text()));
    scan_damaged_zip(scan, bytes, place);
    return "zip archive";
  }
  for (const ZipEntry& entry : archive->entries()) scan_zip_entry(scan, *archive, entry, place);
  return archive_format(scan, *archive);
}

// ---- tar

constexpr std::size_t kTarBlock = 512;

std::optional<std::uint64_t> octal(std::string_view field) {
  field = field.substr(0, field.find('\0'));
  while (field.starts_with(' ')) field.remove_prefix(1);
  while (field.ends_with(' ')) field.remove_suffix(1);
  std::uint64_t value = 0;
  const auto [end, code] = std::from_chars(field.data(), field.data() + field.size(), value, 8);
  return code == std::errc{} && end == field.data() + field.size() ? std::optional(value) : std::nullopt;
}

// Python's tarfile goes by the checksum: headers from before POSIX have no "ustar".
bool is_tar_header(std::string_view header) {
  if (header.size() < kTarBlock) return false;
  const auto declared = octal(header.substr(148, 8));
  std::uint64_t sum = 8 * ' ';
  for (std::size_t i = 0; i < kTarBlock; ++i)
    if (i < 148 || i >= 156) sum += static_cast<unsigned char>(header[i]);
  return declared == sum;
}

std::string scan_tar(Scan& scan, const SharedBytes& bytes, const Place& place) {
  const std::string_view text = as_text(bytes.view);
  bool torch = false;
  std::size_t at = 0;
  for (std::size_t members = 0; at + kTarBlock <= text.size() && members < kMostMembers; ++members) {
    const std::string_view header = text.substr(at, kTarBlock);
    if (header.find_first_not_of('\0') == std::string_view::npos) return torch ? "PyTorch tar (2016)" : "tar archive";
    const auto size = octal(header.substr(124, 12));
    if (!is_tar_header(header) || !size || *size > text.size() - at - kTarBlock) break;
    std::string name(header.substr(0, 100).substr(0, header.substr(0, 100).find('\0')));
    if (name.starts_with("./")) name.erase(0, 2);
    const SharedBytes content = bytes.sub(at + kTarBlock, *size);
    const Place inside = place.inside(name, at + kTarBlock);
    if (name == "pickle" || name == "sys_info") {
      torch = torch || name == "pickle";
      scan_pickles(scan, content, inside, 0);
    } else if (name == "tensors" || name == "storages") {
      // A number of pickles with raw numbers between them.
      add_problem(scan.doubts, fmt::format("the numbers in '{}' were searched for pickles, not followed", name));
      search_pickles(scan, content, inside, 0);
    } else {
      scan_member(scan, content, inside, name);
    }
    at += kTarBlock + (*size + kTarBlock - 1) / kTarBlock * kTarBlock;
  }
  add_problem(scan.problems, fmt::format("the tar archive{} breaks off at byte {}", place.text(), at));
  return torch ? "PyTorch tar (2016)" : "tar archive";
}

// ---- other kinds

// Arrays of numbers are data; arrays of objects are a pickle after the header.
void scan_npy(Scan& scan, const SharedBytes& bytes, const Place& place) {
  const auto array = read_npy(bytes);
  if (array) return;
  const std::string_view text = as_text(bytes.view);
  const std::size_t size_bytes = text.size() > 6 && text[6] == 1 ? 2 : 4;
  const std::size_t start = 8 + size_bytes;
  std::uint32_t header_size = 0;
  if (text.size() >= start) std::memcpy(&header_size, text.data() + 8, size_bytes);
  // Numbers of which the file doesn't hold all are no array of other kinds.
  if (has_npy_header(bytes) || text.size() < start || header_size > text.size() - start)
    return add_problem(scan.problems,
                       fmt::format("the .npy array{} is broken: {}", place.text(), array.error().text()));
  const std::string_view header = text.substr(start, header_size);
  // Whether NumPy takes the elements for objects is up to a Python literal, which can be written in many ways.
  const bool plain = header.find('O') == std::string_view::npos && header.find('\\') == std::string_view::npos;
  if (plain) {
    sniff(scan, bytes, place, start + header_size, false);
  } else {
    follow_pickle(scan, bytes, place, start + header_size);
  }
}

std::string scan_gzip(Scan& scan, const SharedBytes& bytes, const Place& place) {
  const auto content = inflated(bytes.view, std::min(kMostInflatedEntry, scan.inflatable), MAX_WBITS + 32);
  if (!content) {
    add_problem(scan.problems,
                fmt::format("the compressed data{} can't be looked into: {}", place.text(), content.error().text()));
    return "gzip or zlib";
  }
  scan.inflatable -= content->view.size();
  return "compressed " + scan_content(scan, *content, place.inside("inflated", std::nullopt));
}

bool looks_like_zlib(std::string_view text) {
  if (text.size() < 3) return false;
  const auto first = static_cast<unsigned char>(text[0]);
  const auto second = static_cast<unsigned char>(text[1]);
  return first == 0x78 && (first * 256 + second) % 31 == 0;
}

// Kinds that are told by their first bytes and hold no pickle. A pickle can begin like some of them.
std::string scan_other(Scan& scan, const SharedBytes& bytes, const Place& place) {
  const std::string_view text = as_text(bytes.view);
  const std::uint64_t walked = sniff(scan, bytes, place, 0, true);
  const bool is_pickle = walked > 0;
  if (is_pickle) follow_more(scan, bytes, place, walked);
  if (const Look* look = look_of(text)) {
    if (look->carries == Carries::perhaps_code) add_problem(scan.doubts, fmt::format("{} can carry code", look->name));
    if (look->carries == Carries::packed || look->carries == Carries::nothing)
      add_problem(scan.problems, fmt::format("it is {}, not a model; {}", look->name,
                                             look->hint.empty() ? "there is nothing to scan" : look->hint));
    return std::string(look->name);
  }
  if (looks_like_onnx(text)) return "ONNX";
  if (is_pickle) return "pickle";
  if (looks_like_text(text)) {
    if (!text.starts_with('{') && !text.starts_with('[')) add_problem(scan.problems, "it is text, not a model");
    return "text";
  }
  add_problem(scan.problems, "it is of no kind that taper knows");
  return "unknown";
}

// Scans bytes of any kind; returns what they are.
std::string scan_content(Scan& scan, const SharedBytes& bytes, const Place& place) {
  const std::string_view text = as_text(bytes.view);
  if (text.empty()) {
    add_problem(scan.problems, fmt::format("there is not a single byte{}", place.text()));
    return "empty";
  }
  if (place.depth > kDeepest) {
    add_problem(scan.problems, fmt::format("archives are nested deeper than {}", kDeepest));
    return "nested";
  }
  if (looks_like_zip(text)) return scan_zip(scan, bytes, place);
  if (looks_like_tar(text) || is_tar_header(text)) {
    sniff(scan, bytes, place, 0, false);
    return scan_tar(scan, bytes, place);
  }
  if (looks_like_safetensors(text)) {
    const bool is_pickle = sniff(scan, bytes, place, 0, true) > 0;  // the length can be that of an opcode
    const auto sound = read_safetensors(bytes);
    if (sound) return is_pickle ? "safetensors and pickle" : "safetensors";
    if (!starts_pickle(text)) {
      add_problem(scan.problems,
                  fmt::format("the safetensors file{} is broken: {}", place.text(), sound.error().text()));
      return "safetensors";
    }
  }
  if (looks_like_legacy(text)) {
    scan_legacy(scan, bytes, place);
    return "PyTorch legacy";
  }
  if (starts_pickle(text)) {
    scan_pickles(scan, bytes, place, 0);
    return "pickle";
  }
  if (text.starts_with("\x93NUMPY")) {
    scan_npy(scan, bytes, place);
    return "NumPy .npy";
  }
  if (text.starts_with("\x1f\x8b") || looks_like_zlib(text)) return scan_gzip(scan, bytes, place);
  return scan_other(scan, bytes, place);
}

// ---- the verdict

const ScanFinding* worst_finding(const FileScan& result) {
  const auto rank = [](const ScanFinding& finding) {
    return std::pair(finding.mention.trust, finding.mention.calls > 0);
  };
  const auto worst = std::ranges::max_element(result.findings, {}, rank);
  return worst != result.findings.end() ? &*worst : nullptr;
}

void conclude(Scan& scan) {
  FileScan& result = scan.result;
  result.harmless.assign(scan.harmless.begin(), scan.harmless.end());
  std::vector<std::string> reasons;
  const ScanFinding* worst = worst_finding(result);
  const Trust trust = worst ? worst->mention.trust : Trust::safe;
  if (scan.findings_left_out) add_problem(scan.problems, fmt::format("there are more than {} findings", kMostFindings));
  if (trust == Trust::dangerous || trust == Trust::unknown) {
    const Mention& mention = worst->mention;
    const std::string place = worst->member.empty() ? "" : fmt::format(" of '{}'", worst->member);
    reasons.push_back(fmt::format("{} at byte {}{} {}", finding_text(mention), mention.offset, place, mention.reason));
  }
  reasons.insert(reasons.end(), scan.problems.begin(), scan.problems.end());
  reasons.insert(reasons.end(), scan.doubts.begin(), scan.doubts.end());
  constexpr std::size_t kMostReasons = 3;
  if (reasons.size() > kMostReasons) reasons.resize(kMostReasons);
  result.reason = fmt::format("{}", fmt::join(reasons, "; "));
  if (trust == Trust::dangerous) {
    result.verdict = Verdict::dangerous;
  } else if (!scan.problems.empty()) {
    result.verdict = Verdict::unreadable;
  } else if (trust == Trust::unknown || !scan.doubts.empty()) {
    result.verdict = Verdict::unknown;
  }
}

}  // namespace

std::string_view verdict_name(Verdict verdict) {
  constexpr std::array<std::string_view, 4> kNames = {"clean", "unknown", "unreadable", "dangerous"};
  return kNames[static_cast<std::size_t>(verdict)];
}

std::string finding_text(const Mention& mention) {
  const std::string path = fmt::format("{}.{}", mention.module, mention.name);
  return mention.calls > 0 ? fmt::format("{}({})", path, mention.arguments.front()) : path;
}

FileScan scan_bytes(const SharedBytes& bytes, const ScanOptions& options) {
  const std::uint64_t size = bytes.view.size();
  Scan scan{options, kInflatedBase + kInflatedRatio * size, kInflatedBase + size};
  scan.result.format = scan_content(scan, bytes, Place{"", 0});
  conclude(scan);
  return std::move(scan.result);
}

FileScan scan_file(const std::filesystem::path& path, const ScanOptions& options) {
  const auto bytes = map_file(path);
  if (bytes) return scan_bytes(*bytes, options);
  FileScan result;
  result.format = "unknown";
  result.verdict = Verdict::unreadable;
  result.reason = bytes.error().text();
  return result;
}

namespace {

// What to do about a pickle that runs code of a module; some do so by a slip that is no attack.
std::string_view hint_on_danger(std::string_view module) {
  if (module == "torch._dynamo.eval_frame")  // torch.save(torch.compile(model))
    return "nothing was executed; the network was saved together with the compiler of torch.compile: save the network "
           "inside, model._orig_mod, or its state_dict()";
  if (module == "torch.fx.graph_module")
    return "nothing was executed; a module of torch.fx holds its forward as Python's source: save it as a program, "
           "torch.export.save(torch.export.export(model.eval(), (example_input,)), \"model.pt2\")";
  if (module == "torch.export.exported_program")  // torch.save(program)
    return "nothing was executed; save exported programs as data: torch.export.save(program, \"model.pt2\")";
  return "nothing was executed; do not load this file with torch.load; 'taper scan FILE' tells more";
}

}  // namespace

Status refuse_dangerous_pickle(const SharedBytes& bytes, std::uint64_t start, std::string_view member) {
  const Walk walk = pickle::walk(bytes.sub(start, bytes.view.size() - start));
  const std::string place = member.empty() ? "" : fmt::format(" of '{}'", member);
  if (const auto found = std::ranges::find(walk.mentions, Trust::dangerous, &Mention::trust);
      found != walk.mentions.end())
    return fail_with_hint(fmt::format("the checkpoint would {} {} (at byte {}{}) if Python loaded it: it {}",
                                      found->calls > 0 ? "run" : "import", finding_text(*found), start + found->offset,
                                      place, found->reason),
                          std::string(hint_on_danger(found->module)));
  for (const pickle::NestedPickle& nested : walk.nested)
    if (const FileScan scan = scan_bytes(nested.bytes); scan.verdict == Verdict::dangerous)
      return fail_with_hint(fmt::format("the checkpoint holds a pickle in bytes (at byte {}{}): {}",
                                        start + nested.offset, place, scan.reason),
                            std::string(hint_on_danger({})));
  return {};
}

}  // namespace taper
