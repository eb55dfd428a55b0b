#include "formats/pickle_walk.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <deque>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "formats/pickle_opcodes.h"
#include "formats/text.h"

namespace taper::pickle {
namespace {

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

// Keys that make an attribute of what Python itself calls or follows. pickle looks __setstate__ up on the instance.
bool is_risky_key(std::string_view key) {
  constexpr std::string_view kKeys[] = {"__setstate__", "__class__", "__reduce__",     "__reduce_ex__",   "__code__",
                                        "__call__",     "__del__",   "__globals__",    "__getattr__",     "__new__",
                                        "__init__",     "__bases__", "__subclasses__", "__getattribute__"};
  return std::ranges::find(kKeys, key) != std::end(kKeys);
}

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

// ---- stack and memo

Status Walker::push(Ref ref) {
  if (stack_.size() >= kMostRefs) return fail("the stack holds more than {} values", kMostRefs);
  stack_.push_back(ref);
  return {};
}

Status Walker::push_node(Node node) {
  if (nodes_.size() >= kMostNodes) return fail("the pickle holds more than {} values", kMostNodes);
  nodes_.push_back(node);
  return push(static_cast<Ref>(nodes_.size() - 1));
}

// A text that can't be decoded is no text: what it names is unknown.
Status Walker::push_decoded(Expected<std::string> text) {
  if (!text) return push(kOther);
  return push_text(strings_.emplace_back(*std::move(text)));
}

Status Walker::push_number(std::string_view digits) {
  if (digits.ends_with('L')) digits.remove_suffix(1);
  std::int64_t value = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (code != std::errc{} || end != digits.data() + digits.size()) return push(kOther);
  return push_node({.kind = Kind::integer, .number = value});
}

Expected<Ref> Walker::top() const {
  if (stack_.size() <= floor()) return fail("the stack is empty");
  return stack_.back();
}

Expected<Ref> Walker::pop() {
  TAPER_ASSIGN(const Ref ref, top());
  stack_.pop_back();
  return ref;
}

Expected<std::vector<Ref>> Walker::pop_to_mark() {
  if (marks_.empty()) return fail("there is no mark on the stack");
  const auto start = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<Ref> items(start, stack_.end());
  stack_.erase(start, stack_.end());
  marks_.pop_back();
  return items;
}

Status Walker::memo_put(std::uint64_t index) {
  TAPER_ASSIGN(const Ref ref, top());
  if (memoized_ >= kMostRefs) return fail("the memo holds more than {} values", kMostRefs);
  if (index > 2 * memoized_ + 1024) {
    if (sparse_memo_.size() >= kMostSparse) return fail("the memo has more than {} gaps", kMostSparse);
    memoized_ += sparse_memo_.insert_or_assign(index, ref).second ? 1 : 0;
    return {};
  }
  if (index >= memo_.size()) memo_.resize(index + 1, kNothing);
  // A number that was far beyond the count may not be by now.
  const bool is_new = memo_[index] == kNothing && sparse_memo_.erase(index) == 0;
  memoized_ += is_new ? 1 : 0;
  memo_[index] = ref;
  return {};
}

Status Walker::memo_get(std::uint64_t index) {
  if (index < memo_.size() && memo_[index] != kNothing) return push(memo_[index]);
  const auto found = sparse_memo_.find(index);
  if (found == sparse_memo_.end()) return fail("memo number {} was never set", index);
  return push(found->second);
}

Expected<std::uint64_t> Walker::line_number() const {
  const std::string_view digits = now_.text();
  std::uint64_t index = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (digits.empty() || end != digits.data() + digits.size() || code != std::errc{})
    return fail("'{}' is not a memo number", excerpt(digits));
  return index;
}

// ---- values

// A careful global that becomes an element or an argument can be called where nobody sees the arguments.
void Walker::become_value(std::span<const Ref> items) {
  for (const Ref item : items) {
    const Node& node = nodes_[item];
    if (node.kind == Kind::global && symbols_[node.symbol].care != Care::none) symbols_[node.symbol].escaped = true;
  }
}

Status Walker::make_tuple(std::span<const Ref> items) {
  if (children_.size() + items.size() > kMostRefs) return fail("tuples hold more than {} values", kMostRefs);
  const auto start = static_cast<std::int64_t>(children_.size());
  children_.insert(children_.end(), items.begin(), items.end());
  return push_node({.kind = Kind::tuple, .number = start, .count = static_cast<std::uint32_t>(items.size())});
}

Status Walker::set_items(Ref target, std::span<const Ref> items) {
  become_value(items);
  for (std::size_t i = 0; i < items.size(); i += 2) {
    const Node& key = nodes_[items[i]];
    if (key.kind == Kind::text && is_risky_key(key.text) && target > kTrue) nodes_[target].risky = true;
  }
  return {};
}

Status Walker::add_items(std::span<const Ref> items) {
  TAPER_ASSIGN([[maybe_unused]] const Ref target, top());
  become_value(items);
  return {};
}

// ---- globals

Expected<Ref> Walker::symbol_of(std::string_view module, std::string_view name) {
  const bool too_long = module.size() > kLongestName || name.size() > kLongestName;
  if (too_long) {
    module = module.substr(0, 60);
    name = name.substr(0, 60);
  }
  std::string key = fmt::format("{}\n{}", module, name);
  if (const auto found = symbol_by_name_.find(key); found != symbol_by_name_.end()) return found->second;
  if (symbols_.size() >= kMostSymbols) return fail("the pickle names more than {} globals", kMostSymbols);
  Judgement judgement = judge(module, name, trusted_);
  if (too_long) judgement = {Trust::dangerous, Care::none, "has a name that is longer than any real one"};
  Symbol& symbol = symbols_.emplace_back();
  symbol.mention.module = module;
  symbol.mention.name = name;
  symbol.mention.offset = now_.offset;
  symbol.mention.trust = judgement.trust;
  symbol.mention.reason = std::move(judgement.reason);
  symbol.care = judgement.care;
  const auto ref = static_cast<Ref>(symbols_.size() - 1);
  symbol_by_name_.emplace(std::move(key), ref);
  return ref;
}

Status Walker::push_symbol(std::string_view module, std::string_view name) {
  TAPER_ASSIGN(const Ref symbol, symbol_of(module, name));
  return push_node({.kind = Kind::global, .symbol = symbol});
}

// Something that only shows its name when it is loaded.
Status Walker::push_computed(std::string name, std::string reason) {
  TAPER_ASSIGN(const Ref ref, symbol_of("(computed)", name));
  symbols_[ref].mention.trust = Trust::dangerous;
  symbols_[ref].mention.reason = std::move(reason);
  return push_node({.kind = Kind::global, .symbol = ref});
}

void Walker::note_call(Ref symbol, std::span<const Ref> arguments, bool instantiates, bool harmful) {
  Symbol& called = symbols_[symbol];
  ++(harmful ? called.harmful_calls : called.harmless_calls);
  Mention& mention = called.mention;
  if (!harmful || mention.trust == Trust::safe) return;
  mention.use = std::max(mention.use, instantiates ? Use::instantiated : Use::called);
  if (mention.calls++ < kMostShownCalls) mention.arguments.push_back(shown(arguments, 0));
}

Status Walker::call(Ref callee, Ref arguments, bool instantiates) {
  const Node& tuple = nodes_[arguments];
  if (tuple.kind == Kind::tuple) return call(callee, children(tuple), instantiates);
  return call(callee, std::array{arguments}, instantiates);  // Python refuses; who knows what it is here
}

Status Walker::call(Ref callee, std::span<const Ref> arguments, bool instantiates) {
  const Node& node = nodes_[callee];
  if (node.kind != Kind::global) {
    TAPER_TRY(push_computed(
        node.symbol == kNothing
            ? "value"
            : fmt::format("result of {}.{}", symbols_[node.symbol].mention.module, symbols_[node.symbol].mention.name),
        "calls a value that was made while loading, not a plain class or function"));
    TAPER_ASSIGN(callee, pop());
  }
  const Ref symbol = nodes_[callee].symbol;
  const Care care = symbols_[symbol].care;
  if (care != Care::none && care != Care::method) return call_careful(symbol, arguments);
  become_value(arguments);
  note_call(symbol, arguments, instantiates, true);
  Node made{.kind = Kind::object, .symbol = symbol};
  if (encodes_latin1(symbol, arguments)) made.number = arguments.front();
  return push_node(made);
}

// _codecs.encode(text, 'latin1'), as protocols 0 to 2 write bytes.
bool Walker::encodes_latin1(Ref symbol, std::span<const Ref> arguments) const {
  const Mention& mention = symbols_[symbol].mention;
  if (mention.trust != Trust::safe || mention.name != "encode" || arguments.size() != 2) return false;
  const Node& codec = nodes_[arguments[1]];
  return codec.kind == Kind::text && (codec.text == "latin1" || codec.text == "latin-1");
}

Status Walker::call_careful(Ref symbol, std::span<const Ref> arguments) {
  const auto is_typing = [&](Ref ref) {
    return nodes_[ref].kind == Kind::global && symbols_[nodes_[ref].symbol].mention.module == "typing" &&
           symbols_[nodes_[ref].symbol].mention.trust == Trust::safe;
  };
  bool harmless = false;
  switch (symbols_[symbol].care) {
    case Care::attribute:
      return call_getattr(symbol, arguments);
    case Care::nested_pickle:
      harmless = note_nested(arguments);
      break;
    case Care::type_of:
      harmless = arguments.size() == 1;
      break;
    case Care::typing_item:
      harmless = arguments.size() == 2 && is_typing(arguments[0]);
      break;
    case Care::none:
    case Care::method:
      break;
  }
  become_value(arguments);
  note_call(symbol, arguments, false, !harmless);
  return push_node({.kind = Kind::object, .symbol = symbol});
}

// getattr(X, 'name') is how Python pickles methods, and nested classes up to protocol 3: the same as the global X.name.
Status Walker::call_getattr(Ref symbol, std::span<const Ref> arguments) {
  const bool literal = arguments.size() == 2 && nodes_[arguments[1]].kind == Kind::text;
  const Ref owner = arguments.empty() ? kNothing : nodes_[arguments[0]].symbol;
  if (!literal || owner == kNothing) {
    become_value(arguments);
    note_call(symbol, arguments, false, true);
    return push_computed("attribute", "reaches an attribute of a value that was made while loading");
  }
  const Mention& of = symbols_[owner].mention;
  if (symbols_[owner].care != Care::none) symbols_[owner].escaped = true;
  note_call(symbol, arguments, false, false);
  if (of.name.size() + nodes_[arguments[1]].text.size() > kLongestName)
    return push_computed("attribute", "reaches an attribute over too many steps");
  return push_symbol(of.module, fmt::format("{}.{}", of.name, nodes_[arguments[1]].text));
}

// The bytes given to a loader of pickles, if they stand in the pickle itself.
bool Walker::note_nested(std::span<const Ref> arguments) {
  if (arguments.size() != 1) return false;
  const Node& argument = nodes_[arguments[0]];
  if (argument.kind == Kind::bytes) {
    if (!nested_seen_.insert(argument.text.data()).second) return true;
    const auto start = static_cast<std::size_t>(argument.text.data() - as_text(bytes_.view).data());
    walk_.nested.push_back({now_.offset, bytes_.sub(start, argument.text.size())});
    return true;
  }
  if (argument.kind != Kind::object) return false;
  const Node& source = nodes_[static_cast<Ref>(argument.number)];
  if (source.kind != Kind::text) return false;
  if (!nested_seen_.insert(source.text.data()).second) return true;
  std::vector<std::byte> decoded;
  decoded.reserve(source.text.size());
  for (std::size_t i = 0; i < source.text.size(); ++i) {
    const auto lead = static_cast<unsigned char>(source.text[i]);
    if (lead > 0xc3 || (lead >= 0x80 && i + 1 == source.text.size())) return false;
    const unsigned low = lead < 0x80 ? 0 : static_cast<unsigned char>(source.text[++i]) & 0x3fu;
    decoded.push_back(static_cast<std::byte>(lead < 0x80 ? lead : (lead & 3u) << 6 | low));
  }
  walk_.nested.push_back({now_.offset, share(std::move(decoded))});
  return true;
}

Status Walker::build() {
  TAPER_ASSIGN(const Ref state, pop());
  TAPER_ASSIGN(const Ref target, top());
  become_value(std::array{state});
  const Node& given = nodes_[state];
  bool risky = given.risky;
  if (given.kind == Kind::tuple)
    for (const Ref part : children(given)) risky = risky || nodes_[part].risky;
  const Node& node = nodes_[target];
  if (node.symbol == kNothing) return {};
  Mention& mention = symbols_[node.symbol].mention;
  mention.state_set = true;
  if (mention.module == "joblib.numpy_pickle") walk_.holds_raw_arrays = true;
  if (node.kind != Kind::global && !risky) return {};
  mention.trust = Trust::dangerous;
  mention.use = Use::changed;
  mention.offset = now_.offset;
  mention.reason =
      risky ? "gets an attribute that Python calls by itself" : "is changed itself: attributes of it are set";
  symbols_[node.symbol].harmful_calls += 1;
  return {};
}

// torch.save's legacy format writes classes as ('module', class, file, source).
Status Walker::persistent(Ref id) {
  become_value(std::array{id});
  const Node& node = nodes_[id];
  if (node.kind == Kind::tuple && node.count >= 2) {
    const auto parts = children(node);
    const Node& first = nodes_[parts[0]];
    if (first.kind == Kind::text && first.text == "module" && nodes_[parts[1]].kind == Kind::global)
      return push(parts[1]);
  }
  return push(kOther);
}

// ---- opcodes

Status Walker::push_plain() {
  switch (now_.code()) {
    case Op::none:
      return push(kNone);
    case Op::newtrue:
      return push(kTrue);
    case Op::newfalse:
      return push(kFalse);
    case Op::int_line:
      if (now_.text() == "00" || now_.text() == "01") return push(now_.text() == "01" ? kTrue : kFalse);
      return push_number(now_.text());
    case Op::long_line:
      return push_number(now_.text());
    case Op::binint:
    case Op::binint1:
    case Op::binint2:
      return push_node({.kind = Kind::integer, .number = now_.signed_number()});
    case Op::string:
      return push_decoded(decode_python2_string(now_.text()));
    case Op::unicode:
      return push_decoded(decode_raw_unicode_escape(now_.text()));
    case Op::binstring:
    case Op::short_binstring:
    case Op::binunicode:
    case Op::short_binunicode:
    case Op::binunicode8:
      return push_text(now_.text());
    case Op::binbytes:
    case Op::short_binbytes:
    case Op::binbytes8:
      return push_node({.kind = Kind::bytes, .text = now_.text()});
    case Op::empty_dict:
      return push_node({.kind = Kind::dict});
    case Op::empty_tuple:
      return make_tuple({});
    case Op::empty_list:
    case Op::empty_set:
    default:  // numbers of other kinds, bytearrays, out-of-band buffers
      return push(kOther);
  }
}

Status Walker::make() {
  const auto last = [&](std::size_t count) -> Status {
    if (stack_.size() - floor() < count) return fail("a tuple of {} needs more than the stack holds", count);
    const std::vector<Ref> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return make_tuple(items);
  };
  switch (now_.code()) {
    case Op::tuple1:
      return last(1);
    case Op::tuple2:
      return last(2);
    case Op::tuple3:
      return last(3);
    case Op::tuple: {
      TAPER_ASSIGN(const auto items, pop_to_mark());
      return make_tuple(items);
    }
    case Op::dict: {
      TAPER_ASSIGN(const auto items, pop_to_mark());
      TAPER_TRY(push_node({.kind = Kind::dict}));
      return set_items(stack_.back(), items);
    }
    default: {  // LIST, FROZENSET
      TAPER_ASSIGN(const auto items, pop_to_mark());
      become_value(items);
      return push(kOther);
    }
  }
}

Status Walker::pop_and_call(bool instantiates) {
  TAPER_ASSIGN(const Ref arguments, pop());
  TAPER_ASSIGN(const Ref callee, pop());
  return call(callee, arguments, instantiates);
}

Status Walker::follow_global() {
  switch (now_.code()) {
    case Op::global:
      return push_symbol(now_.text(), now_.second_line);
    case Op::stack_global: {
      TAPER_ASSIGN(const Ref name, pop());
      TAPER_ASSIGN(const Ref module, pop());
      if (nodes_[name].kind != Kind::text || nodes_[module].kind != Kind::text)
        return push_computed("name", "has a name that is made while loading");
      return push_symbol(nodes_[module].text, nodes_[name].text);
    }
    case Op::inst: {
      TAPER_ASSIGN(const auto arguments, pop_to_mark());
      TAPER_TRY(push_symbol(now_.text(), now_.second_line));
      TAPER_ASSIGN(const Ref callee, pop());
      return call(callee, arguments, true);
    }
    case Op::obj: {
      TAPER_ASSIGN(const auto items, pop_to_mark());
      if (items.empty()) return fail("no class stands after the mark");
      return call(items.front(), std::span(items).subspan(1), true);
    }
    case Op::reduce:
      return pop_and_call(false);
    case Op::newobj:
      return pop_and_call(true);
    case Op::newobj_ex: {
      TAPER_ASSIGN(const Ref keywords, pop());
      become_value(std::array{keywords});
      return pop_and_call(true);
    }
    default:  // EXT1, EXT2, EXT4
      return push_computed(fmt::format("extension code {}", now_.signed_number()),
                           "is named by a code of the extension registry, not by its name");
  }
}

Status Walker::use_values() {
  switch (now_.code()) {
    case Op::append: {
      TAPER_ASSIGN(const Ref item, pop());
      return add_items(std::array{item});
    }
    case Op::appends:
    case Op::additems: {
      TAPER_ASSIGN(const auto items, pop_to_mark());
      return add_items(items);
    }
    case Op::setitem: {
      TAPER_ASSIGN(const Ref value, pop());
      TAPER_ASSIGN(const Ref key, pop());
      TAPER_ASSIGN(const Ref target, top());
      return set_items(target, std::array{key, value});
    }
    case Op::setitems: {
      TAPER_ASSIGN(const auto items, pop_to_mark());
      TAPER_ASSIGN(const Ref target, top());
      return set_items(target, items);
    }
    case Op::build:
      return build();
    case Op::binpersid: {
      TAPER_ASSIGN(const Ref id, pop());
      return persistent(id);
    }
    default:  // PERSID
      return push(kOther);
  }
}

Status Walker::step() {
  switch (now_.code()) {
    case Op::stop: {
      TAPER_ASSIGN(const Ref result, pop());
      become_value(std::array{result});
      walk_.stopped = true;
      return {};
    }
    case Op::mark:
      if (marks_.size() >= kMostRefs) return fail("there are more than {} marks", kMostRefs);
      marks_.push_back(stack_.size());
      return {};
    case Op::pop:
      if (stack_.size() > floor()) {
        stack_.pop_back();
        return {};
      }
      if (marks_.empty()) return fail("the stack is empty");
      marks_.pop_back();  // POP on a mark removes the mark
      return {};
    case Op::pop_mark: {
      TAPER_ASSIGN([[maybe_unused]] const auto dropped, pop_to_mark());
      return {};
    }
    case Op::dup: {
      TAPER_ASSIGN(const Ref ref, top());
      return push(ref);
    }
    case Op::put: {
      TAPER_ASSIGN(const std::uint64_t index, line_number());
      return memo_put(index);
    }
    case Op::get: {
      TAPER_ASSIGN(const std::uint64_t index, line_number());
      return memo_get(index);
    }
    case Op::binput:
    case Op::long_binput:
      return memo_put(now_.number);
    case Op::binget:
    case Op::long_binget:
      return memo_get(now_.number);
    case Op::memoize:
      return memo_put(memoized_);
    case Op::proto:
      if (now_.number > 5) return fail("protocol {} is unknown, expected 0 to 5", now_.number);
      return {};
    case Op::frame:
    case Op::readonly_buffer:
      return {};
    case Op::global:
    case Op::stack_global:
    case Op::inst:
    case Op::obj:
    case Op::reduce:
    case Op::newobj:
    case Op::newobj_ex:
    case Op::ext1:
    case Op::ext2:
    case Op::ext4:
      return follow_global();
    case Op::append:
    case Op::appends:
    case Op::additems:
    case Op::setitem:
    case Op::setitems:
    case Op::build:
    case Op::persid:
    case Op::binpersid:
      return use_values();
    case Op::tuple:
    case Op::tuple1:
    case Op::tuple2:
    case Op::tuple3:
    case Op::dict:
    case Op::list:
    case Op::frozenset:
      return make();
    default:
      return push_plain();
  }
}

// ---- what is told

std::string quoted(std::string_view text, std::string_view prefix) {
  constexpr std::size_t kLongest = 60;
  const std::string_view part = text.substr(0, kLongest);
  // As Python's repr: single quotes, unless the text has those and no double ones.
  const bool has_single = part.find('\'') != std::string_view::npos;
  const char quote = has_single && part.find('"') == std::string_view::npos ? '"' : '\'';
  return fmt::format("{}{}{}{}{}", prefix, quote, part, part.size() < text.size() ? "..." : "", quote);
}

std::string Walker::shown(Ref ref, int depth) const {
  const Node& node = nodes_[ref];
  switch (node.kind) {
    case Kind::none:
      return "None";
    case Kind::boolean:
      return node.number == 1 ? "True" : "False";
    case Kind::integer:
      return std::to_string(node.number);
    case Kind::text:
      return quoted(node.text, "");
    case Kind::bytes:
      return quoted(node.text, "b");
    case Kind::global:
    case Kind::object: {
      if (node.symbol == kNothing) return "...";
      const Mention& mention = symbols_[node.symbol].mention;
      return fmt::format("{}.{}{}", mention.module, mention.name, node.kind == Kind::object ? "(...)" : "");
    }
    case Kind::tuple:
      return depth > 1 ? "(...)" : fmt::format("({})", shown(children(node), depth + 1));
    case Kind::dict:
      return "{...}";
    case Kind::other:
      break;
  }
  return "...";
}

std::string Walker::shown(std::span<const Ref> items, int depth) const {
  std::string text;
  for (const Ref item : items) {
    if (text.size() > kLongestArguments) return text + ", ...";
    text += (text.empty() ? "" : ", ") + shown(item, depth);
  }
  return text;
}

void Walker::finish(Walk& walk) {
  std::set<std::string> harmless;
  for (Symbol& symbol : symbols_) {
    Mention& mention = symbol.mention;
    const bool careful = symbol.care != Care::none && symbol.care != Care::method;
    const bool spared = careful && !symbol.escaped && symbol.harmful_calls == 0 && symbol.harmless_calls > 0;
    if (mention.trust == Trust::safe || spared) {
      harmless.insert(fmt::format("{}.{}", mention.module, mention.name));
      continue;
    }
    if (symbol.care == Care::method && mention.calls > 0) {
      mention.trust = Trust::dangerous;
      mention.reason += " and is called";
    }
    walk.mentions.push_back(std::move(mention));
  }
  walk.harmless.assign(harmless.begin(), harmless.end());
  std::ranges::sort(walk.mentions, {}, &Mention::offset);
}

// Whether the opcode there is followed by a line without an end.
bool Walker::lacks_end_of_line(std::uint64_t offset) const {
  if (offset >= bytes_.view.size()) return false;
  const auto code = static_cast<Op>(bytes_.view[offset]);
  const auto opcode = std::ranges::find(opcodes(), code, &Opcode::code);
  return opcode != opcodes().end() && (opcode->argument == Argument::line || opcode->argument == Argument::two_lines);
}

Walk Walker::run() {
  Status status;
  while (status && !walk_.stopped) {
    walk_.problem_offset = reader_.offset();
    auto next = next_instruction(reader_);
    if (!next) {
      if (lacks_end_of_line(walk_.problem_offset)) walk_.looked_at = bytes_.view.size();
      status = std::unexpected(std::move(next).error());
      break;
    }
    now_ = *next;
    status = step();
    if (!status)
      status = std::unexpected(
          within(std::move(status).error(), fmt::format("in opcode {} at byte {}", now_.opcode->name, now_.offset)));
  }
  walk_.size = reader_.offset();
  walk_.looked_at = std::max(walk_.looked_at, walk_.size);
  if (!status) walk_.problem = status.error().text();
  finish(walk_);
  return std::move(walk_);
}

}  // namespace

Walk walk(const SharedBytes& bytes, const std::vector<std::string>& trusted) {
  return Walker(bytes, trusted).run();
}

}  // namespace taper::pickle
