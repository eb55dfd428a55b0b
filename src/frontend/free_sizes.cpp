#include "frontend/free_sizes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "frontend/free_call.h"

namespace taper {

Dim frozen(const Dim& dim, const FrozenSizes& sizes) {
  if (dim.constant()) return dim;
  std::map<std::string, Dim, std::less<>> replacements;
  for (const auto& [symbol, size] : sizes) replacements.emplace(symbol, size);
  return substitute(dim, replacements);
}

std::vector<std::string> freed_symbols(const Dim& dim, const FrozenSizes& sizes) {
  std::vector<std::string> symbols = symbols_of(dim);
  std::erase_if(symbols, [&](const std::string& symbol) { return !sizes.contains(symbol); });
  return symbols;
}

bool is_freed(const Dim& dim, const FrozenSizes& sizes) {
  return !freed_symbols(dim, sizes).empty();
}

void Freeing::note(const std::string& symbol, std::string sentence) {
  std::vector<std::string>& known = notes[symbol];
  if (std::ranges::find(known, sentence) == known.end()) known.push_back(std::move(sentence));
}

namespace {

using namespace freeing;

// Remembers a literal piece of a freed axis.
void remember_piece(const FreeCall& call, std::size_t axis, std::int64_t first, std::int64_t past) {
  const auto* tensor = call.arguments[0].arg.as<aten::TensorPtr>();
  const Dim& freed = (*call.self())[axis];
  const auto size = frozen(freed, call.sizes()).constant();
  if (!size || first < 0 || past > *size || past - first >= *size) return;
  const auto add = [&](Freeing::Pieces& pieces) {
    if (pieces.ends.empty()) pieces = {*size, freed, call.freeing.place, {}};
    pieces.ends.emplace_back(first, past);
  };
  Freeing::Pieces& pieces = call.freeing.pieces[{tensor->get(), static_cast<std::int64_t>(axis)}];
  if (pieces.ends.empty()) call.freeing.kept.push_back(*tensor);
  add(pieces);
  if (past == first + 1) add(call.freeing.entries[freed.text()]);
}

// Smaller sizes would leave nothing behind the start.
void keep_beyond(const FreeCall& call, const Dim& size, std::int64_t start) {
  const std::vector<std::string> symbols = freed_symbols(size, call.sizes());
  if (symbols.size() != 1 || symbols_of(size).size() != 1) return;
  const std::string& symbol = symbols[0];
  std::int64_t& least = call.freeing.least[symbol];
  const std::int64_t usual = call.sizes().at(symbol);
  constexpr std::int64_t kMostTried = 1 << 16;
  std::int64_t fitting = std::max<std::int64_t>(1, usual - kMostTried);
  while (fitting < usual && frozen(size, {{symbol, fitting}}).constant().value_or(0) <= start) ++fitting;
  if (fitting <= std::max<std::int64_t>(least, 1)) return;
  least = fitting;
  call.note(symbol, fmt::format("the freed size '{}' is {} or more: {} starts at {} along it", symbol, fitting,
                                call.name, start));
}

// The second of two parts of an axis of 2 x_1: both ends of it follow from the axis. Whether that is so.
bool free_part(const FreeCall& call, const Dim& size, std::int64_t start, std::optional<std::int64_t> stop) {
  const auto before = frozen(size, call.sizes()).constant();
  if (!before || size.as_symbol() || start <= 1 || start >= *before) return false;
  Dim first = start, past = size;
  if (!divide_exactly(size * start, *before) || call.sizes_for(first).size() != 1) return false;
  if (stop && *stop < *before) {
    const auto share = *stop > 0 ? divide_exactly(size * *stop, *before) : std::nullopt;
    if (!share) return false;
    past = *share;
  }
  if (!call.assume(first)) return false;
  call.argument("start", 2)->value = std::move(first);
  if (Arg* end = call.argument("end", 3); end != nullptr && stop) end->value = std::move(past);
  return true;
}

// An end at the frozen size or beyond it is the end of a freed axis; on other axes (tables of positions) it is the
// length.
void free_slice(const FreeCall& call) {
  const Shape* from = call.self();
  Arg* end = call.argument("end", 3);
  const auto at = call.axis(1);
  if (from == nullptr || !at) return;
  const Dim* literal = end == nullptr ? nullptr : end->as<Dim>();
  const auto stop = literal == nullptr ? std::nullopt : literal->constant();
  const Dim& size = (*from)[*at];
  if (!call.freed(size)) {
    Dim length = stop ? *literal : Dim(0);
    if (stop && !size.is(*stop) && call.assume(length)) {
      end->value = std::move(length);
      call.freeing.cuts_one_more |= call.freeing.has_one_more && size.is(*stop + 1);
    }
    return;
  }
  const auto before = frozen(size, call.sizes()).constant();
  const std::int64_t start = call.integer("start", 2).value_or(0);
  call.tell_of_kept(size, call.integer("step", 4).value_or(1));
  if (before && *before >= kLeastTelling && start == -*before) {
    call.note(size, fmt::format("a literal start {} of {} is taken as the start of a freed axis", start, call.name));
    call.argument("start", 2)->value = Dim(0);
  } else if (before && start <= -kLeastTelling && start > -*before && !size.as_symbol()) {
    if (Dim length = -start; call.assume(length)) call.argument("start", 2)->value = size - length;
  } else if (free_part(call, size, start, stop)) {
    return;
  }
  if (start > 1) {
    call.tell_of_shares(start);
    call.tell_of_half(size, start);
    keep_beyond(call, size, start);
  }
  if (before && start > 1 && start > *before - kLeastTelling)
    call.note(size, fmt::format("a literal start {} of {} stays as it is along a freed axis", start, call.name));
  if (!stop || !before || *stop < 0) return;
  // As many of a longer axis as a freed size says: x_1 of 2 x_1.
  if (Dim length = *literal;
      *stop < *before && !size.as_symbol() && start == 0 && (assume_along(call, size, length) || call.assume(length))) {
    end->value = std::move(length);
    return;
  }
  if (*stop < *before) {
    remember_piece(call, *at, start, *stop);
    call.tell_of_half(size, *stop);
    return call.tell_of_shares(*stop);
  }
  constexpr std::int64_t kEverything = std::int64_t{1} << 40;
  if (*stop < kEverything)
    call.note(size, fmt::format("a literal end {} of {} is taken as the end of a freed axis", *stop, call.name));
  if (start > 0) remember_piece(call, *at, start, *before);
  end->value = size;
}

// Entries that count from the end are right at all sizes; others may be the steps of a loop, or the last one.
void free_entry(const FreeCall& call) {
  const auto at = call.axis(1);
  Arg* arg = call.argument("index", 2);
  const auto index = call.integer("index", 2);
  if (!at || !index || *index < 0) return;
  const Dim& size = (*call.self())[*at];
  const auto before = call.freed(size) ? frozen(size, call.sizes()).constant() : std::nullopt;
  if (!before || *index >= *before) return;
  remember_piece(call, *at, *index, *index + 1);
  call.tell_of_shares(*index);
  call.tell_of_half(size, *index);
  if (*before == 1)
    return call.note(
        size, fmt::format("entry 0 of an axis of the freed size '{}' is taken, which had no others", size.text()));
  if (*index + 1 != *before) return;
  const bool last = *before >= kLeastTelling;
  call.note(size, fmt::format("entry {} of an axis of the freed size '{}' {}", *index, size.text(),
                              last ? "is taken as the last one" : "stays as it is, though it was the last one"));
  if (last) arg->value = Dim(-1);
}

// One length: the end of a range, the number of steps.
void free_length(const FreeCall& call, std::string_view parameter, std::size_t position) {
  Arg* arg = call.argument(parameter, position);
  const Dim* literal = arg == nullptr ? nullptr : arg->as<Dim>();
  if (literal == nullptr) return;
  Dim length = *literal;
  if (call.assume(length, true))
    arg->value = std::move(length);
  else
    call.tell_of_shares(length);
}

void free_range(const FreeCall& call) {
  // arange(end), arange(start, end, ...): the exported form names its arguments.
  free_length(call, "end", call.arguments.size() > 1 && call.arguments[1].name.empty() ? 1 : 0);
  // From T down, or to -T: distances.
  Arg* start = call.argument("start", call.arguments.size());
  const auto first = call.integer("start", call.arguments.size());
  if (Dim size = first.value_or(0); first && *first >= kLeastTelling && call.assume(size))
    start->value = std::move(size);
  Arg* end = call.argument("end", call.arguments.size());
  const auto last = call.integer("end", call.arguments.size());
  if (!last || *last > -kLeastTelling || *last == std::numeric_limits<std::int64_t>::min()) return;
  if (Dim size = -*last; call.assume(size)) end->value = size * -1;
}

// Numbers that may come from a size and stay as they are.
void tell_of_others(const FreeCall& call) {
  const auto tell = [&](const Arg& arg) {
    const Dim* integer = arg.as<Dim>();
    const double* real = arg.as<double>();
    for (const auto& [symbol, size] : call.sizes()) {
      if (size < kLeastTelling) continue;
      const auto number = static_cast<double>(size);
      const auto near = [&](double other) { return std::abs(*real - other) <= 1e-6 * std::abs(other); };
      const bool same = integer != nullptr && integer->is(size);
      if (!same && (real == nullptr ||
                    !(near(number) || near(1 / number) || near(std::sqrt(number)) || near(1 / std::sqrt(number)))))
        continue;
      std::string sentence =
          same ? fmt::format("a literal {} of {} stays as it is, though the freed size '{}' was as large", size,
                             call.name, symbol)
               : fmt::format("a literal {} of {} stays as it is, though it may come of the freed size '{}'", *real,
                             call.name, symbol);
      call.keep_number(symbol, std::move(sentence));
    }
  };
  // Places of axes, and what weights say.
  constexpr std::array<std::string_view, 9> kNoSizes = {"dim",       "dims",    "dim0",   "dim1",      "dim2",
                                                        "start_dim", "end_dim", "groups", "num_groups"};
  for (const aten::NamedArg& argument : call.arguments) {
    if (std::ranges::find(kNoSizes, argument.name) != kNoSizes.end()) continue;
    tell(argument.arg);
    if (const auto* list = argument.arg.as<Arg::List>()) std::ranges::for_each(*list, tell);
  }
}

// Numbers of calls beside their operand's axes: how many entries, which diagonal. Python's arithmetic gives them.
void tell_of_number(const FreeCall& call, std::string_view parameter, bool one_less = false) {
  const Shape* from = call.self();
  const auto number = call.integer(parameter, 1);
  if (from == nullptr || !number || *number == std::numeric_limits<std::int64_t>::min()) return;
  for (const Dim& size : *from)
    if (!call.is_batch(size)) call.tell_of_kept(size, std::abs(*number), one_less);
}

void tell_of_count(const FreeCall& call) {
  tell_of_others(call);
  tell_of_number(call, "k");
}
void tell_of_diagonal(const FreeCall& call) {
  tell_of_others(call);
  tell_of_number(call, call.name == "diagonal" ? "offset" : "diagonal");
}
void tell_of_operand(const FreeCall& call) {
  tell_of_others(call);
  tell_of_number(call, "other", true);
}

// The size that a sum is divided by.
void free_divisor(const FreeCall& call) {
  Arg* arg = call.argument("other", 1);
  const Dim* literal = arg == nullptr ? nullptr : arg->as<Dim>();
  if (literal == nullptr) return tell_of_others(call);
  Dim size = *literal;
  if (call.assume(size, true))
    arg->value = std::move(size);
  else
    tell_of_number(call, "other", true);
}

// A window as large as a freed axis, with steps as large, is the whole axis: a global pool.
void free_windows(const FreeCall& call) {
  const Shape* from = call.self();
  Arg* arg = call.argument("kernel_size", 1);
  auto kernel = shape_in(arg);
  if (from == nullptr || !kernel || kernel->empty() || kernel->size() >= from->size()) return tell_of_others(call);
  const std::size_t axes = call.name.ends_with("3d") ? 3 : call.name.ends_with("2d") ? 2 : 1;
  Arg* steps = call.argument("stride", 2);
  const auto stride = shape_in(steps);
  const auto padding = shape_in(call.argument("padding", 3));
  if (axes >= from->size()) return;
  if (kernel->size() == 1) kernel->resize(axes, Dim(*kernel->begin()));
  if (kernel->size() != axes) return;
  const auto entry = [](const std::optional<Shape>& list, std::size_t axis, const Dim& otherwise) {
    return !list || list->empty() ? otherwise
           : list->size() == 1    ? (*list)[0]
                                  : (*list)[std::min(axis, list->size() - 1)];
  };
  Shape moved(axes);
  bool any = false;
  for (std::size_t axis = 0; axis < axes; ++axis) {
    Dim& size = (*kernel)[axis];
    const Dim& whole = (*from)[from->size() - axes + axis];
    moved[axis] = entry(stride, axis, size);
    if (const auto number = size.constant()) call.tell_of_kept(whole, *number);
    if (!call.freed(whole) || frozen(whole, call.sizes()) != size) continue;
    const auto number = size.constant();
    const bool is_whole = number && *number >= kLeastTelling && moved[axis] == size && entry(padding, axis, 0).is(0);
    call.note(whole,
              fmt::format("windows of {} entries of {} along an axis of the freed size '{}' {}", size.text(), call.name,
                          whole.text(), is_whole ? "are taken as the whole axis" : "stay as they are"));
    if (!is_whole) continue;
    size = moved[axis] = whole;
    any = true;
  }
  if (!any) return;
  set_shape(*arg, std::move(*kernel));
  if (steps != nullptr) set_shape(*steps, std::move(moved));
}

// How far an axis is turned.
void tell_of_shifts(const FreeCall& call) {
  tell_of_others(call);
  const Shape* from = call.self();
  const auto shifts = shape_in(call.argument("shifts", 1)), dims = shape_in(call.argument("dims", 2));
  if (from == nullptr || !shifts) return;
  for (std::size_t i = 0; i < shifts->size(); ++i) {
    const std::int64_t shift = (*shifts)[i].constant().value_or(0);
    if (shift == std::numeric_limits<std::int64_t>::min()) continue;
    call.tell_of_shares(std::abs(shift));
    auto dim = dims && i < dims->size() ? (*dims)[i].constant().value_or(-1) : -1;
    if (dim < 0) dim += static_cast<std::int64_t>(from->size());
    if (dims && dim >= 0 && dim < static_cast<std::int64_t>(from->size()))
      call.tell_of_half((*from)[static_cast<std::size_t>(dim)], std::abs(shift));
  }
}

// How many entries windows have, and how far they step.
void tell_of_windows(const FreeCall& call) {
  tell_of_others(call);
  const Shape* from = call.self();
  const auto rank = from == nullptr ? 0 : static_cast<std::int64_t>(from->size());
  const auto axis = call.integer("dimension", 1);
  const bool is_known = axis && *axis >= -rank && *axis < rank;
  for (const auto& [name, position] : {std::pair{"size", 2}, std::pair{"step", 3}})
    if (const auto number = call.integer(name, static_cast<std::size_t>(position))) {
      call.tell_of_shares(*number);
      if (is_known) call.tell_of_half((*from)[static_cast<std::size_t>(*axis < 0 ? *axis + rank : *axis)], *number);
    }
}

// More at the end of a freed axis than at its start fills it up to a size that Python computed: to multiples of a
// number, where one is tried (Freeing::fills).
void free_padding(const FreeCall& call) {
  const Shape* from = call.self();
  Arg* arg = call.argument("pad", 1);
  auto pads = shape_in(arg);
  if (from == nullptr || !pads || pads->size() > 2 * from->size()) return;
  bool any = false;
  for (std::size_t i = 0; i + 1 < pads->size(); i += 2) {
    const Dim& size = (*from)[from->size() - 1 - i / 2];
    const auto first = (*pads)[i].constant(), last = (*pads)[i + 1].constant();
    for (const auto& count : {first, last})
      if (count) call.tell_of_kept(size, *count);
    if (!call.freed(size) || !first || !last || *last <= *first) continue;
    const auto before = frozen(size, call.sizes()).constant();
    if (*first == 0 && before) call.freeing.padded.emplace(size.text(), std::pair{*before + *last, *before});
    if (const auto fill = call.freeing.fills.find(size.text()); fill != call.freeing.fills.end() && *first == 0) {
      const Dim multiple = fill->second;
      const Dim filled = floor_divide(size + multiple - 1, multiple) * multiple;
      call.freeing.filled.emplace(filled.text(), fill->second);
      (*pads)[i + 1] = filled - size;
      any = true;
      call.note(size, fmt::format("{} entries behind an axis of the freed size '{}' are taken to fill it up to a "
                                  "multiple of {}",
                                  *last, size.text(), fill->second));
    } else {
      call.note(size, fmt::format("{} entries behind an axis of the freed size '{}' stay as many: {} may fill it up",
                                  *last, size.text(), call.name));
    }
  }
  if (any) set_shape(*arg, std::move(*pads));
}

// The same share of a freed axis: 4 of an axis 2 q that was 8 is q.
std::optional<Dim> share_of_axis(const FreeCall& call, const Dim& size, const Dim& literal) {
  const auto before = frozen(size, call.sizes()).constant(), length = literal.constant();
  if (!before || !length || *before < 1 || *length < 1) return std::nullopt;
  const auto share = divide_exactly(size * *length, *before);
  if (share)
    call.note(size, fmt::format("a literal {} of {} is taken as {} of an axis of the freed size '{}'", *length,
                                call.name, share->text(), size.text()));
  return share;
}

// Parts of one length.
void free_split(const FreeCall& call) {
  const auto at = call.axis(2);
  Arg* length = call.argument("split_size", 1);
  const Dim* literal = length == nullptr ? nullptr : length->as<Dim>();
  if (!at || literal == nullptr || !call.freed((*call.self())[*at])) return;
  if (auto share = share_of_axis(call, (*call.self())[*at], *literal)) length->value = std::move(*share);
}

Status free_parts(const FreeCall& call) {
  const auto at = call.axis(2);
  if (!at || !call.freed((*call.self())[*at])) return {};
  Arg* given = call.argument("split_sizes", 1);
  const auto lengths = shape_in(given);
  if (!lengths || std::ranges::any_of(*lengths, [&](const Dim& length) { return call.freed(length); })) return {};
  Shape shares;
  for (const Dim& length : *lengths) {
    auto share = share_of_axis(call, (*call.self())[*at], length);
    if (!share) break;
    shares.push_back(std::move(*share));
  }
  if (shares.size() == lengths->size()) {
    set_shape(*given, std::move(shares));
    return {};
  }
  return fail_with_hint(fmt::format("parts of fixed sizes {} of an axis of the freed size '{}'", shape_text(*lengths),
                                    (*call.self())[*at].text()),
                        "export with dynamic_shapes instead of --dynamic");
}

// --------------------------------------------------------------------------------------------------------------- calls

using Rule = void (*)(const FreeCall&);

struct NamedRule {
  std::string_view name;
  Rule rule;
};

void new_of_size(const FreeCall& call) {
  free_new(call, "size", 0);
}
void new_like(const FreeCall& call) {
  free_new(call, "size", 1);
}
void view_of_size(const FreeCall& call) {
  free_reshape(call, "size");
}
void expanded(const FreeCall& call) {
  free_expansion(call, "size", false);
}

constexpr auto kRules = std::to_array<NamedRule>({
    {"view", view_of_size},
    {"_unsafe_view", view_of_size},
    {"view_copy", view_of_size},
    {"reshape", [](const FreeCall& call) { free_reshape(call, "shape"); }},
    {"expand", expanded},
    {"expand_copy", expanded},
    {"broadcast_to", expanded},
    {"repeat", [](const FreeCall& call) { free_expansion(call, "repeats", true); }},
    {"tile", [](const FreeCall& call) { free_expansion(call, "dims", true); }},
    {"slice", free_slice},
    {"slice_copy", free_slice},
    {"select", free_entry},
    {"select_copy", free_entry},
    {"zeros", new_of_size},
    {"ones", new_of_size},
    {"full", new_of_size},
    {"empty", new_of_size},
    {"new_zeros", new_like},
    {"new_ones", new_like},
    {"new_full", new_like},
    {"new_empty", new_like},
    {"arange", free_range},
    {"linspace", [](const FreeCall& call) { free_length(call, "steps", 2); }},
    {"eye", [](const FreeCall& call) { free_length(call, "n", 0); }},
    {"div", free_divisor},
    {"mul", tell_of_operand},
    {"add", tell_of_operand},
    {"sub", tell_of_operand},
    {"topk", tell_of_count},
    {"kthvalue", tell_of_count},
    {"tril", tell_of_diagonal},
    {"triu", tell_of_diagonal},
    {"diagonal", tell_of_diagonal},
    {"diagonal_copy", tell_of_diagonal},
    {"avg_pool1d", free_windows},
    {"avg_pool2d", free_windows},
    {"avg_pool3d", free_windows},
    {"max_pool1d", free_windows},
    {"max_pool2d", free_windows},
    {"max_pool3d", free_windows},
    {"max_pool2d_with_indices", free_windows},
    {"max_pool3d_with_indices", free_windows},
    {"roll", tell_of_shifts},
    {"unfold", tell_of_windows},
    {"dropout", [](const FreeCall&) {}},
    {"pad", free_padding},
    {"constant_pad_nd", free_padding},
    {"cat", [](const FreeCall& call) { repeat_joined(call, false); }},
    {"concat", [](const FreeCall& call) { repeat_joined(call, false); }},
    {"stack", [](const FreeCall& call) { repeat_joined(call, true); }},
    {"bmm", repeat_matrices},
    {"gather", repeat_index},
    {"scatter", repeat_index},
    {"scatter_add", repeat_index},
    {"scatter_reduce", repeat_index},
    {"gru", repeat_states},
    {"lstm", repeat_states},
    {"rnn_tanh", repeat_states},
    {"rnn_relu", repeat_states},
});

// Whether the pieces, put side by side, are all of the axis.
bool cover(Freeing::Pieces pieces) {
  std::ranges::sort(pieces.ends);
  std::int64_t reached = 0;
  for (const auto& [first, past] : pieces.ends) {
    if (first > reached) return false;
    reached = std::max(reached, past);
  }
  return reached == pieces.size;
}

Status refuse_loop(const Freeing::Pieces& pieces) {
  Error error = fail_with_hint(fmt::format("the program takes all {} entries of an axis of the freed size '{}' one by "
                                           "one, or in fixed pieces: a loop that the export unrolled",
                                           pieces.size, pieces.freed.text()),
                               "export with dynamic_shapes, with a recurrent layer or torch.scan in the place of the "
                               "loop; or leave this axis out of --dynamic")
                    .error();
  return std::unexpected(pieces.place.empty() ? std::move(error) : within(std::move(error), "in " + pieces.place));
}

}  // namespace

namespace {

// An axis whose entries all become tensors of their own.
Status refuse_unbinding(const FreeCall& call) {
  const auto at = call.axis(1);
  if (!at || !call.freed((*call.self())[*at])) return {};
  const Dim& size = (*call.self())[*at];
  return refuse_loop({frozen(size, call.sizes()).constant().value_or(0), size, {}, {}});
}

}  // namespace

void remember_sizes(const Arg& result, Freeing& freeing) {
  constexpr std::size_t kMostSizes = 256;
  if (freeing.sizes.empty()) return;
  if (const auto* list = result.as<Arg::List>())
    for (const Arg& each : *list) remember_sizes(each, freeing);
  const auto* tensor = result.as<aten::TensorPtr>();
  if (tensor == nullptr) return;
  for (const Dim& dim : (*tensor)->type().shape) {
    const std::vector<std::string> symbols = freed_symbols(dim, freeing.sizes);
    const auto is_one = [&](const std::string& symbol) { return freeing.sizes.at(symbol) == 1; };
    if (symbols.empty() || dim.as_symbol() || std::ranges::any_of(symbols, is_one)) continue;
    const auto before = frozen(dim, freeing.sizes).constant();
    if (!before || *before < kLeastTelling || freeing.derived.size() >= kMostSizes) continue;
    std::vector<Dim>& known = freeing.derived[*before];
    if (known.size() < kMostSizes && std::ranges::find(known, dim) == known.end()) known.push_back(dim);
  }
}

Status free_literals(Builder& build, std::string_view name, std::vector<aten::NamedArg>& arguments, Freeing& freeing) {
  if (freeing.sizes.empty()) return {};
  const FreeCall call{build, name.substr(0, name.find('.')), arguments, freeing};
  const auto row = std::ranges::find(kRules, call.name, &NamedRule::name);
  if (row != kRules.end())
    row->rule(call);
  else if (call.name.starts_with("upsample_") || call.name.starts_with("_upsample_"))
    free_resampling(call);
  else if (call.name == "split_with_sizes" || name == "split.sizes")
    TAPER_TRY(free_parts(call));
  else if (name == "split.Tensor")
    free_split(call);
  else if (call.name == "unbind")
    TAPER_TRY(refuse_unbinding(call));
  else
    tell_of_others(call);
  return build.status();
}

Status check_loops(Freeing& freeing) {
  for (const auto& [tensor, pieces] : freeing.pieces)
    if (pieces.ends.size() > 1 && cover(pieces)) return refuse_loop(pieces);
  // Entries of several tensors, as of one that each step of a loop moves anew.
  for (const auto& [size, pieces] : freeing.entries)
    if (pieces.size >= 3 && cover(pieces)) return refuse_loop(pieces);
  for (const auto& [weight, count] : freeing.uses)
    for (const auto& [symbol, size] : freeing.sizes)
      if (size >= 3 && count == size)
        freeing.note(symbol, fmt::format("'{}' is used {} times, as often as the freed size '{}' says: by a loop?",
                                         weight, count, symbol));
  return {};
}

}  // namespace taper
