// What a walk makes of globals and calls, and what it tells of them.
#include <algorithm>
#include <array>
#include <set>

#include "formats/pickle_walker.h"

namespace taper::pickle {

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
  // What getLogger returns is shared by the whole program.
  const bool shared = node.kind == Kind::global || mention.module == "logging";
  if (!shared && !risky) return {};
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

// ---- what is told

namespace {

std::string quoted(std::string_view text, std::string_view prefix) {
  constexpr std::size_t kLongest = 60;
  const std::string_view part = text.substr(0, kLongest);
  // As Python's repr: single quotes, unless the text has those and no double ones.
  const bool has_single = part.find('\'') != std::string_view::npos;
  const char quote = has_single && part.find('"') == std::string_view::npos ? '"' : '\'';
  return fmt::format("{}{}{}{}{}", prefix, quote, part, part.size() < text.size() ? "..." : "", quote);
}

}  // namespace

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

}  // namespace taper::pickle
