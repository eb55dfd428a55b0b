// The state of a walk over a pickle (pickle_walk.h): a stack, marks and a memo of notes on what each value is. Internal
// to formats.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "formats/pickle_opcodes.h"
#include "formats/pickle_walk.h"

namespace taper::pickle {

using Ref = std::uint32_t;  // of a node

constexpr std::size_t kMostNodes = 10'000'000;
constexpr std::size_t kMostRefs = std::size_t{1} << 25;  // on the stack, in tuples, in the memo
constexpr std::size_t kMostSymbols = 10'000;
constexpr std::size_t kLongestName = 300;
constexpr std::size_t kMostShownCalls = 4;
constexpr std::size_t kLongestArguments = 120;
constexpr std::size_t kMostSparse = 1'000'000;  // of the memo
constexpr Ref kNothing = ~Ref{0};

enum class Kind : std::uint8_t { other, none, boolean, integer, text, bytes, global, object, tuple, dict };

struct Node {
  Kind kind = Kind::other;
  bool risky = false;          // a dict or object with a key that changes what Python does with it
  Ref symbol = kNothing;       // of a global; of an object: what was called to make it
  std::int64_t number = 0;     // an integer; a tuple's first child; the text that was encoded
  std::string_view text = {};  // of texts and bytes
  std::uint32_t count = 0;     // of a tuple's children
};

struct Symbol {
  Mention mention;
  Care care = Care::none;
  bool escaped = false;              // a careful one became a value, so that it can be called out of sight
  std::uint64_t harmless_calls = 0;  // of a careful one
  std::uint64_t harmful_calls = 0;
};

class Walker {
 public:
  Walker(const SharedBytes& bytes, const std::vector<std::string>& trusted)
      : bytes_(bytes), reader_(bytes.view), trusted_(trusted) {
    for (const Kind kind : {Kind::other, Kind::none, Kind::boolean, Kind::boolean}) nodes_.push_back({.kind = kind});
    nodes_[kTrue].number = 1;
  }

  Walk run();

 private:
  // Nodes that are shared.
  static constexpr Ref kOther = 0;
  static constexpr Ref kNone = 1;
  static constexpr Ref kFalse = 2;
  static constexpr Ref kTrue = 3;

  Status step();
  Status unwind();
  Status repeat();
  Status push_plain();
  Status make();
  Status follow_global();
  Status use_values();

  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Status push(Ref ref);
  Status push_node(Node node);
  Status push_text(std::string_view text) { return push_node({.kind = Kind::text, .text = text}); }
  Status push_decoded(Expected<std::string> text);
  Status push_number(std::string_view digits);
  Expected<Ref> pop();
  Expected<Ref> top() const;
  Expected<std::vector<Ref>> pop_to_mark();

  Status memo_put(std::uint64_t index);
  Status memo_get(std::uint64_t index);
  Expected<std::uint64_t> line_number() const;

  Status make_tuple(std::span<const Ref> items);
  Status set_items(Ref target, std::span<const Ref> items);
  Status add_items(std::span<const Ref> items);
  void become_value(std::span<const Ref> items);

  Expected<Ref> symbol_of(std::string_view module, std::string_view name);
  Status push_symbol(std::string_view module, std::string_view name);
  Status push_computed(std::string name, std::string reason);
  Status pop_and_call(bool instantiates);
  Status call(Ref callee, Ref arguments, bool instantiates);
  Status call(Ref callee, std::span<const Ref> arguments, bool instantiates);
  Status call_careful(Ref symbol, std::span<const Ref> arguments);
  Status call_getattr(Ref symbol, std::span<const Ref> arguments);
  bool encodes_latin1(Ref symbol, std::span<const Ref> arguments) const;
  bool note_nested(std::span<const Ref> arguments);
  void note_call(Ref symbol, std::span<const Ref> arguments, bool instantiates, bool harmful);
  Status build();
  Status persistent(Ref id);

  std::span<const Ref> children(const Node& tuple) const {
    return std::span(children_).subspan(static_cast<std::size_t>(tuple.number), tuple.count);
  }
  std::string shown(Ref ref, int depth) const;
  std::string shown(std::span<const Ref> items, int depth) const;
  void finish(Walk& walk);
  bool lacks_end_of_line(std::uint64_t offset) const;

  const SharedBytes& bytes_;
  ByteReader reader_;
  const std::vector<std::string>& trusted_;
  Instruction now_;
  std::deque<Node> nodes_;
  std::vector<Ref> children_;  // of all tuples
  std::vector<Ref> stack_;
  std::vector<std::size_t> marks_;
  std::vector<Ref> memo_;                               // by number, as picklers count
  std::unordered_map<std::uint64_t, Ref> sparse_memo_;  // numbers far beyond the count
  std::size_t memoized_ = 0;
  std::deque<std::string> strings_;
  std::deque<Symbol> symbols_;
  std::unordered_map<std::string, Ref> symbol_by_name_;
  std::unordered_set<const char*> nested_seen_;
  Walk walk_;
};

}  // namespace taper::pickle
