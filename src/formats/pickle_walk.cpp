#include "formats/pickle_walk.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "formats/pickle_walker.h"
#include "formats/text.h"

namespace taper::pickle {
namespace {

// Keys that make an attribute of what Python itself calls or follows. pickle looks __setstate__ up on the instance.
bool is_risky_key(std::string_view key) {
  constexpr std::string_view kKeys[] = {"__setstate__", "__class__", "__reduce__",     "__reduce_ex__",   "__code__",
                                        "__call__",     "__del__",   "__globals__",    "__getattr__",     "__new__",
                                        "__init__",     "__bases__", "__subclasses__", "__getattribute__"};
  return std::ranges::find(kKeys, key) != std::end(kKeys);
}

}  // namespace

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
  // As Python's int() reads it: with white space, a sign and underscores.
  std::string digits(now_.text());
  std::erase_if(digits, [](char c) { return (c >= '\t' && c <= '\r') || c == ' ' || c == '_' || c == '+'; });
  std::uint64_t index = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (digits.empty() || end != digits.data() + digits.size() || code != std::errc{})
    return fail("'{}' is not a memo number", excerpt(now_.text()));
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

Status Walker::repeat() {
  switch (now_.code()) {
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
    default:  // MEMOIZE
      return memo_put(memoized_);
  }
}

Status Walker::unwind() {
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
    default: {  // POP_MARK
      TAPER_ASSIGN([[maybe_unused]] const auto dropped, pop_to_mark());
      return {};
    }
  }
}

Status Walker::step() {
  switch (now_.code()) {
    case Op::stop:
    case Op::mark:
    case Op::pop:
    case Op::pop_mark:
      return unwind();
    case Op::dup:
    case Op::put:
    case Op::get:
    case Op::binput:
    case Op::long_binput:
    case Op::binget:
    case Op::long_binget:
    case Op::memoize:
      return repeat();
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

Walk walk(const SharedBytes& bytes, const std::vector<std::string>& trusted) {
  return Walker(bytes, trusted).run();
}

}  // namespace taper::pickle
