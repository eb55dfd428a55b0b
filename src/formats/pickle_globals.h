// What a pickle may name, and whether that is harmless to import and call. Safe is a list of exact names; the whole
// rest of Python, PyTorch and NumPy is dangerous or at least unknown. Any global that is safe must be so with any
// arguments, as a pickle chooses them, as long as these are data or themselves safe globals.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace taper::pickle {

enum class Trust : std::uint8_t {
  safe,       // data, or rebuilds data
  trusted,    // the user says so
  unknown,    // of a package or program that taper doesn't know: importing it runs its code
  dangerous,  // runs commands or code, reaches files or the network, or has no business in a checkpoint
};

// Safe for some arguments only: whoever sees the call must look at them, and anything else than a call is dangerous.
enum class Care : std::uint8_t {
  none,
  attribute,      // getattr: safe as what it reaches, which is named by a literal
  nested_pickle,  // loads its literal bytes as a checkpoint of their own
  type_of,        // type(x), not type(name, bases, attributes)
  typing_item,    // getitem(typing.List, int)
  method,         // an attribute of a harmless class: nothing while it is not called
};

struct Judgement {
  Trust trust = Trust::unknown;  // with Care: what it is for other arguments
  Care care = Care::none;
  std::string reason;  // "runs shell commands"; empty if safe
};

// Judges `name` of `module`, as find_class of Python's unpickler gets them: the name may have dots from protocol 4 on.
// `trusted` are modules whose classes the user knows ("models" also means "models.transformer").
Judgement judge(std::string_view module, std::string_view name, std::span<const std::string> trusted = {});

// Whether a text can be a dotted name of Python: what is no name was not found by reading a pickle.
bool is_dotted_name(std::string_view text);

std::string_view trust_name(Trust trust);

}  // namespace taper::pickle
