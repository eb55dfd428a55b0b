#include "formats/exported_json.h"

#include <limits>

#include "formats/exported_guards.h"
#include "formats/size_expression.h"
#include "formats/text.h"

namespace taper::exported {

// --------------------------------------------------------------------------------------------------------------- JSON

namespace {

// Puts quotes around the numbers that JSON has no spelling for. Texts are stepped over.
std::string with_quoted_numbers(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 64);
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (inside) {
      out += c;
      if (c == '\\' && i + 1 < text.size()) out += text[++i];
      inside = c != '"';
      continue;
    }
    inside = c == '"';
    std::string_view found;
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"})
      if (text.substr(i).starts_with(word)) {
        found = word;
        break;
      }
    if (found.empty()) {
      out += c;
      continue;
    }
    out += fmt::format("\"{}\"", found);
    i += found.size() - 1;
  }
  return out;
}

}  // namespace

Expected<Json> parse_json(std::string_view text) {
  // To the parser a NUL is the end of the text, and whatever follows would go unread.
  if (text.find('\0') != std::string_view::npos) return fail("the JSON holds a NUL byte");
  std::string quoted;
  if (text.find("Infinity") != std::string_view::npos || text.find("NaN") != std::string_view::npos) {
    quoted = with_quoted_numbers(text);
    text = quoted;
  }
  Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded()) return fail("it is not valid JSON");
  return json;
}

Expected<const Json*> member(const Json& object, const char* key) {
  if (!object.is_object()) return fail("found {}, expected an object with '{}'", object.type_name(), key);
  const auto found = object.find(key);
  if (found == object.end()) return fail("an object has no field '{}'", key);
  return &*found;
}

const Json* optional_member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Expected<std::string> text_of(const Json& object, const char* key) {
  TAPER_ASSIGN(const Json* value, member(object, key));
  if (!value->is_string()) return fail("field '{}' is {}, expected a text", key, value->type_name());
  return value->get<std::string>();
}

Expected<std::int64_t> integer_of(const Json& value, std::string_view what) {
  if (!value.is_number_integer()) return fail("{} is {}, expected an integer", what, value.type_name());
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    return fail("{} is {}, which doesn't fit into 64 bits", what, value.get<std::uint64_t>());
  return value.get<std::int64_t>();
}

namespace {

Expected<const Json*> array_of(const Json& object, const char* key) {
  TAPER_ASSIGN(const Json* value, member(object, key));
  if (!value->is_array()) return fail("field '{}' is {}, expected an array", key, value->type_name());
  return value;
}

// The members of an object, or nothing if it is absent.
Expected<const Json*> object_of(const Json& object, const char* key) {
  TAPER_ASSIGN(const Json* value, member(object, key));
  if (!value->is_object()) return fail("field '{}' is {}, expected an object", key, value->type_name());
  return value;
}

// ------------------------------------------------------------------------------------------------------------- numbers

// ScalarType of schema.py, in its order.
struct ScalarTypeRow {
  std::int64_t number;
  std::optional<DType> dtype;
  std::string_view name;
  std::optional<DType> parts = std::nullopt;  // of complex numbers
};
constexpr ScalarTypeRow kScalarTypes[] = {
    {1, DType::u8, "uint8"},
    {2, DType::i8, "int8"},
    {3, DType::i16, "int16"},
    {4, DType::i32, "int32"},
    {5, DType::i64, "int64"},
    {6, DType::f16, "float16"},
    {7, DType::f32, "float32"},
    {8, DType::f64, "float64"},
    {9, std::nullopt, "complex32", DType::f16},
    {10, std::nullopt, "complex64", DType::f32},
    {11, std::nullopt, "complex128", DType::f64},
    {12, DType::boolean, "bool"},
    {13, DType::bf16, "bfloat16"},
    {28, DType::u16, "uint16"},
    {29, std::nullopt, "float8_e4m3fn"},
    {30, std::nullopt, "float8_e5m2"},
    {31, std::nullopt, "float8_e4m3fnuz"},
    {32, std::nullopt, "float8_e5m2fnuz"},
    {33, std::nullopt, "float8_e8m0fnu"},
    {34, DType::u32, "uint32"},
    {35, DType::u64, "uint64"},
};
constexpr std::int64_t kStrided = 7;  // of Layout

Expected<const ScalarTypeRow*> scalar_type(const Json& value) {
  TAPER_ASSIGN(const std::int64_t number, integer_of(value, "a dtype"));
  for (const ScalarTypeRow& row : kScalarTypes)
    if (row.number == number) return &row;
  return fail("dtype {} is unknown", number);
}

// JSON has no infinities: they are texts.
Expected<double> real_of(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text == "Infinity") return std::numeric_limits<double>::infinity();
    if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
    if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  }
  return fail("found {}, expected a number", value.type_name());
}

// The one field of a union that is set.
struct Variant {
  std::string_view kind;
  const Json* value;
};
Expected<Variant> variant_of(const Json& json) {
  if (!json.is_object()) return fail("found {}, expected an object with one field", json.type_name());
  std::optional<Variant> found;
  for (const auto& [key, value] : json.items()) {
    if (value.is_null()) continue;
    if (found) return fail("a union has the fields '{}' and '{}'", excerpt(found->kind), excerpt(key));
    found = Variant{key, &value};
  }
  if (!found) return fail("a union has no field");
  return *found;
}

// -------------------------------------------------------------------------------------------------------------- reader

constexpr int kMostNestedGraphs = 16;

class Reader {
 public:
  std::map<std::string, SymbolInfo, std::less<>> symbols;

  Expected<Graph> graph(const Json& json, int depth) {
    if (depth > kMostNestedGraphs) return fail("graphs are nested more than {} deep", kMostNestedGraphs);
    Graph result;
    TAPER_ASSIGN(const Json* tensors, object_of(json, "tensor_values"));
    for (const auto& [name, meta] : tensors->items()) {
      TAPER_ASSIGN_WITHIN(result.tensors[name], tensor_meta(meta), fmt::format("in tensor '{}'", excerpt(name)));
    }
    TAPER_ASSIGN(const Json* integers, object_of(json, "sym_int_values"));
    for (const auto& [name, value] : integers->items()) {
      TAPER_ASSIGN_WITHIN(result.integers[name], size(value), fmt::format("in value '{}'", excerpt(name)));
    }
    TAPER_ASSIGN(const Json* inputs, array_of(json, "inputs"));
    TAPER_ASSIGN(result.inputs, arguments(*inputs, depth));
    TAPER_ASSIGN(const Json* outputs, array_of(json, "outputs"));
    TAPER_ASSIGN(result.outputs, arguments(*outputs, depth));
    TAPER_ASSIGN(const Json* nodes, array_of(json, "nodes"));
    result.nodes.reserve(nodes->size());
    for (std::size_t i = 0; i < nodes->size(); ++i) {
      TAPER_ASSIGN_WITHIN(Node read, node((*nodes)[i], depth), fmt::format("in node {}", i));
      result.nodes.push_back(std::move(read));
    }
    return result;
  }

  Expected<Argument> argument(const Json& json, int depth) {
    TAPER_ASSIGN(const Variant variant, variant_of(json));
    auto read = content(variant, depth);
    if (!read) return std::unexpected(within(std::move(read).error(), fmt::format("in an argument {}", variant.kind)));
    return Argument{std::move(*read)};
  }

 private:
  using Content = decltype(Argument::value);
  using ReadItem = Expected<Content> (Reader::*)(const Json&, int);

  Expected<std::vector<Argument>> arguments(const Json& list, int depth) {
    std::vector<Argument> result;
    result.reserve(list.size());
    for (const Json& item : list) {
      TAPER_ASSIGN(Argument read, argument(item, depth));
      result.push_back(std::move(read));
    }
    return result;
  }

  // ---- one reader per kind of content

  Expected<Content> none(const Json&, int) { return Content(); }
  Expected<Content> name(const Json& json, int) {
    TAPER_ASSIGN(std::string text, text_of(json, "name"));
    return Content(ValueName{std::move(text)});
  }
  // PyTorch 2.5 to 2.7 also call True and False integers, in signatures.
  Expected<Content> integer(const Json& json, int) {
    if (json.is_boolean()) return Content(json.get<bool>());
    TAPER_ASSIGN(const std::int64_t number, integer_of(json, "a number"));
    return Content(number);
  }
  Expected<Content> real(const Json& json, int) {
    TAPER_ASSIGN(const double number, real_of(json));
    return Content(number);
  }
  Expected<Content> complex(const Json& json, int) {
    TAPER_ASSIGN(const Json* real_json, member(json, "real"));
    TAPER_ASSIGN(const Json* imag_json, member(json, "imag"));
    TAPER_ASSIGN(const double real, real_of(*real_json));
    TAPER_ASSIGN(const double imag, real_of(*imag_json));
    return Content(ComplexNumber{real, imag});
  }
  Expected<Content> boolean(const Json& json, int) {
    if (!json.is_boolean()) return fail("found {}, expected true or false", json.type_name());
    return Content(json.get<bool>());
  }
  Expected<Content> text(const Json& json, int) {
    if (!json.is_string()) return fail("found {}, expected a text", json.type_name());
    return Content(json.get<std::string>());
  }
  Expected<Content> dtype(const Json& json, int) {
    TAPER_ASSIGN(const ScalarTypeRow* row, scalar_type(json));
    if (row->parts) return Content(ComplexDType{});
    if (!row->dtype) return Content(Unread{fmt::format("dtype {}", row->name)});
    return Content(*row->dtype);
  }
  // A name of the graph, or a number in the place of one.
  Expected<Content> symbolic(const Json& json, int depth) {
    TAPER_ASSIGN(const Variant variant, variant_of(json));
    if (variant.kind == "as_int") return integer(*variant.value, depth);
    if (variant.kind == "as_float") return real(*variant.value, depth);
    if (variant.kind == "as_bool") return boolean(*variant.value, depth);
    if (variant.kind != "as_name") return fail("found '{}', expected a name or a number", excerpt(variant.kind));
    TAPER_ASSIGN(Content read, text(*variant.value, depth));
    return Content(ValueName{std::get<std::string>(std::move(read))});
  }
  Expected<Content> optional_tensor(const Json& json, int depth) {
    TAPER_ASSIGN(const Variant variant, variant_of(json));
    if (variant.kind == "as_none") return Content();
    if (variant.kind == "as_tensor") return name(*variant.value, depth);
    return fail("found '{}', expected a tensor or none", excerpt(variant.kind));
  }
  Expected<Content> subgraph(const Json& json, int depth) {
    TAPER_ASSIGN(std::string called, text_of(json, "name"));
    TAPER_ASSIGN(const Json* inner, member(json, "graph"));
    TAPER_ASSIGN_WITHIN(Graph read, graph(*inner, depth + 1), fmt::format("in graph '{}'", excerpt(called)));
    return Content(Subgraph{std::move(called), std::make_shared<const Graph>(std::move(read))});
  }
  Expected<Content> list(const Json& json, int depth, ReadItem item) {
    if (!json.is_array()) return fail("found {}, expected an array", json.type_name());
    Argument::List items;
    items.reserve(json.size());
    for (const Json& element : json) {
      TAPER_ASSIGN(Content read, (this->*item)(element, depth));
      items.push_back({std::move(read)});
    }
    return Content(std::move(items));
  }
  template <ReadItem item>
  Expected<Content> list_of(const Json& json, int depth) {
    return list(json, depth, item);
  }

  Expected<Content> content(const Variant& variant, int depth) {
    struct Row {
      std::string_view kind;
      ReadItem read;
    };
    static constexpr Row kRows[] = {
        {"as_none", &Reader::none},
        {"as_tensor", &Reader::name},
        {"as_tensors", &Reader::list_of<&Reader::name>},
        {"as_nested_tensors", &Reader::list_of<&Reader::list_of<&Reader::name>>},
        {"as_optional_tensor", &Reader::optional_tensor},
        {"as_optional_tensors", &Reader::list_of<&Reader::optional_tensor>},
        {"as_int", &Reader::integer},
        {"as_ints", &Reader::list_of<&Reader::integer>},
        {"as_int_lists", &Reader::list_of<&Reader::list_of<&Reader::integer>>},
        {"as_float", &Reader::real},
        {"as_floats", &Reader::list_of<&Reader::real>},
        {"as_float_lists", &Reader::list_of<&Reader::list_of<&Reader::real>>},
        {"as_complex", &Reader::complex},
        {"as_bool", &Reader::boolean},
        {"as_bools", &Reader::list_of<&Reader::boolean>},
        {"as_string", &Reader::text},
        {"as_strings", &Reader::list_of<&Reader::text>},
        {"as_operator", &Reader::text},
        {"as_sym_int", &Reader::symbolic},
        {"as_sym_ints", &Reader::list_of<&Reader::symbolic>},
        {"as_sym_float", &Reader::symbolic},
        {"as_sym_floats", &Reader::list_of<&Reader::symbolic>},
        {"as_sym_bool", &Reader::symbolic},
        {"as_sym_bools", &Reader::list_of<&Reader::symbolic>},
        {"as_scalar_type", &Reader::dtype},
        {"as_graph", &Reader::subgraph},
        {"as_device", &Reader::none},
        {"as_layout", &Reader::none},
        {"as_memory_format", &Reader::none},
    };
    struct UnreadRow {
      std::string_view kind, what;
    };
    static constexpr UnreadRow kUnread[] = {
        {"as_custom_obj", "an object of a class of its own"},
        {"as_string_to_argument", "a dictionary of arguments"},
    };
    for (const Row& row : kRows)
      if (row.kind == variant.kind) return (this->*row.read)(*variant.value, depth);
    for (const UnreadRow& row : kUnread)
      if (row.kind == variant.kind) return Content(Unread{std::string(row.what)});
    return fail("arguments of kind '{}' are unknown", excerpt(variant.kind));
  }

  // ---- sizes and tensors

  Expected<Dim> size(const Json& json) {
    TAPER_ASSIGN(const Variant variant, variant_of(json));
    if (variant.kind == "as_int") {
      TAPER_ASSIGN(const std::int64_t number, integer_of(*variant.value, "a size"));
      return Dim(number);
    }
    if (variant.kind != "as_expr")
      return fail("a size is '{}', expected a number or an expression", excerpt(variant.kind));
    TAPER_ASSIGN(const std::string text, text_of(*variant.value, "expr_str"));
    // Programs repeat few expressions many times.
    auto known = expressions_.find(text);
    if (known == expressions_.end()) {
      known = expressions_.emplace(text, parse_size_expression(text)).first;
    }
    // Sizes of what calls compute are only compared with ours: those that can't be read are unknown.
    if (!known->second) {
      unread_ = known->second.error().text();
      return Dim(std::numeric_limits<std::int64_t>::max()) + 1;
    }
    const Dim& dim = *known->second;
    const Json* hint = optional_member(*variant.value, "hint");
    if (const auto symbol = dim.as_symbol(); symbol && hint != nullptr) {
      const Json* number = hint->is_object() ? optional_member(*hint, "as_int") : hint;
      if (number != nullptr && number->is_number_integer()) {
        TAPER_ASSIGN(symbols[*symbol].usual, integer_of(*number, "a hint"));
      }
    }
    return dim;
  }

  Expected<TensorMeta> tensor_meta(const Json& json) {
    TensorMeta meta;
    unread_.clear();
    TAPER_ASSIGN(const Json* dtype, member(json, "dtype"));
    TAPER_ASSIGN(const ScalarTypeRow* row, scalar_type(*dtype));
    meta.dtype = row->dtype;
    meta.parts = row->parts;
    TAPER_ASSIGN(const Json* sizes, array_of(json, "sizes"));
    meta.sizes.reserve(sizes->size());
    for (const Json& item : *sizes) {
      TAPER_ASSIGN(Dim read, size(item));
      meta.sizes.push_back(std::move(read));
    }
    meta.unread = std::move(unread_);
    return meta;
  }

  // ---- nodes

  Expected<Node> node(const Json& json, int depth) {
    Node result;
    TAPER_ASSIGN(result.target, text_of(json, "target"));
    const std::string place = fmt::format("in a call of {}", excerpt(result.target));
    TAPER_ASSIGN_WITHIN(const Json* inputs, array_of(json, "inputs"), place);
    for (const Json& input : *inputs) {
      TAPER_ASSIGN_WITHIN(std::string called, text_of(input, "name"), place);
      TAPER_ASSIGN_WITHIN(const Json* value, member(input, "arg"), place);
      TAPER_ASSIGN_WITHIN(Argument read, argument(*value, depth), place);
      result.inputs.push_back({std::move(called), std::move(read)});
    }
    TAPER_ASSIGN_WITHIN(const Json* outputs, array_of(json, "outputs"), place);
    TAPER_ASSIGN_WITHIN(result.outputs, arguments(*outputs, depth), place);
    if (const Json* metadata = optional_member(json, "metadata")) {
      result.module_path = module_path(*metadata);
      result.source_line = source_line(*metadata);
    }
    return result;
  }

  // nn_module_stack: "key,path,class;key,path,class", outermost first. A path may end in "@1" for a second call.
  static std::string module_path(const Json& metadata) {
    const Json* stack = optional_member(metadata, "nn_module_stack");
    if (stack == nullptr || !stack->is_string()) return {};
    std::string_view text = stack->get_ref<const std::string&>();
    text = text.substr(text.rfind(';') + 1);  // npos + 1 is 0
    const std::size_t first = text.find(',');
    const std::size_t last = text.rfind(',');
    if (first == std::string_view::npos || first == last) return {};
    std::string_view path = text.substr(first + 1, last - first - 1);
    path = path.substr(0, path.find('@'));
    if (path.starts_with("_empty_nn_module_stack")) return {};
    return excerpt(path);
  }

  // stack_trace: Python's, innermost last. Frames inside of PyTorch's own modules say less than who called them.
  static std::string source_line(const Json& metadata) {
    const Json* trace = optional_member(metadata, "stack_trace");
    if (trace == nullptr || !trace->is_string()) return {};
    constexpr std::size_t kLongestFrame = 1024;
    std::string_view text = trace->get_ref<const std::string&>();
    while (true) {
      const std::size_t frame = text.rfind("File \"");
      if (frame == std::string_view::npos) return {};
      const std::string_view found = text.substr(frame + 6, kLongestFrame);
      text = text.substr(0, frame);
      const std::size_t quote = found.find("\", line ");
      const std::string_view file = found.substr(0, quote);
      if (quote == std::string_view::npos || file.find("/torch/") != std::string_view::npos ||
          file.starts_with("torch/"))
        continue;
      const std::string_view after = found.substr(quote + 8);
      const std::string_view number = after.substr(0, after.find_first_not_of("0123456789"));
      return fmt::format("line {} of {}", number.substr(0, 9), excerpt(file.substr(file.rfind('/') + 1)));
    }
  }

  std::map<std::string, Expected<Dim>> expressions_;
  std::string unread_;  // what was wrong with the last size that can't be read
};

// ----------------------------------------------------------------------------------------------------------- signature

struct InputRow {
  std::string_view kind;
  InputKind means;
  const char* target;
};
constexpr InputRow kInputs[] = {
    {"user_input", InputKind::user, nullptr},
    {"parameter", InputKind::parameter, "parameter_name"},
    {"buffer", InputKind::buffer, "buffer_name"},
    {"tensor_constant", InputKind::constant_tensor, "tensor_constant_name"},
    {"constant_input", InputKind::constant, "name"},
    {"custom_obj", InputKind::custom_object, "custom_obj_name"},
    {"token", InputKind::token, nullptr},
};

struct OutputRow {
  std::string_view kind;
  OutputKind means;
  const char* target;
};
constexpr OutputRow kOutputs[] = {
    {"user_output", OutputKind::user, nullptr},
    {"loss_output", OutputKind::user, nullptr},
    {"buffer_mutation", OutputKind::buffer_mutation, "buffer_name"},
    {"parameter_mutation", OutputKind::parameter_mutation, "parameter_name"},
    {"user_input_mutation", OutputKind::input_mutation, "user_input_name"},
    {"gradient_to_parameter", OutputKind::gradient, "parameter_name"},
    {"gradient_to_user_input", OutputKind::gradient, "user_input_name"},
    {"token", OutputKind::token, nullptr},
};

// The argument of a specification: a union where any kind may stand, else the name of a tensor.
Expected<Argument> spec_argument(Reader& reader, const Json& spec) {
  TAPER_ASSIGN(const Json* arg, member(spec, "arg"));
  if (const Json* name = optional_member(*arg, "name"); name != nullptr && name->is_string())
    return Argument{ValueName{name->get<std::string>()}};
  return reader.argument(*arg, 0);
}

// Reads one specification, of inputs or of outputs, by the rows of its kinds.
template <class Spec, class Row, std::size_t count>
Expected<Spec> specification(Reader& reader, const Json& json, const Row (&rows)[count]) {
  TAPER_ASSIGN(const Variant variant, variant_of(json));
  for (const Row& row : rows) {
    if (row.kind != variant.kind) continue;
    Spec spec;
    spec.kind = row.means;
    if (row.target != nullptr) {
      TAPER_ASSIGN(spec.target, text_of(*variant.value, row.target));
    }
    if (variant.kind == "constant_input") {
      TAPER_ASSIGN(const Json* value, member(*variant.value, "value"));
      TAPER_ASSIGN(spec.argument, reader.argument(*value, 0));
    } else {
      TAPER_ASSIGN(spec.argument, spec_argument(reader, *variant.value));
    }
    return spec;
  }
  return fail("'{}' is unknown", excerpt(variant.kind));
}

Status read_signature(Reader& reader, const Json& module, Program& program) {
  TAPER_ASSIGN(const Json* signature, member(module, "signature"));
  TAPER_ASSIGN(const Json* inputs, array_of(*signature, "input_specs"));
  for (const Json& json : *inputs) {
    TAPER_ASSIGN_WITHIN(Input input, specification<Input>(reader, json, kInputs), "in an input of the signature");
    program.inputs.push_back(std::move(input));
  }
  TAPER_ASSIGN(const Json* outputs, array_of(*signature, "output_specs"));
  for (const Json& json : *outputs) {
    TAPER_ASSIGN_WITHIN(Output output, specification<Output>(reader, json, kOutputs), "in an output of the signature");
    program.outputs.push_back(std::move(output));
  }
  return {};
}

// By the tree of the root module's call; by number where there is none that fits.
std::vector<std::string> output_names(const Json& module, std::size_t count) {
  std::map<std::string, std::vector<std::string>> fields;
  if (const Json* tuples = optional_member(module, "treespec_namedtuple_fields");
      tuples != nullptr && tuples->is_object())
    for (const auto& [type, definition] : tuples->items())
      if (const Json* names = optional_member(definition, "field_names"); names != nullptr && names->is_array())
        for (const Json& name : *names)
          if (name.is_string()) fields[type].push_back(name.get<std::string>());
  if (const Json* calls = optional_member(module, "module_call_graph"); calls != nullptr && calls->is_array())
    for (const Json& call : *calls) {
      const Json* fqn = optional_member(call, "fqn");
      const Json* signature = optional_member(call, "signature");
      if (fqn == nullptr || *fqn != "" || signature == nullptr) continue;
      const Json* tree = optional_member(*signature, "out_spec");
      if (tree == nullptr || !tree->is_string()) continue;
      if (auto names = leaf_names(tree->get_ref<const std::string&>(), fields); names && names->size() == count)
        return std::move(*names);
    }
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(i == 0 ? "output" : fmt::format("output_{}", i));
  return names;
}

Status read_version(const Json& json, Program& program) {
  constexpr std::int64_t kLeastMajor = 7, kMostMajor = 8;
  TAPER_ASSIGN(const Json* version, member(json, "schema_version"));
  TAPER_ASSIGN(const Json* major_json, member(*version, "major"));
  TAPER_ASSIGN(const Json* minor_json, member(*version, "minor"));
  TAPER_ASSIGN(const std::int64_t major, integer_of(*major_json, "the schema's version"));
  TAPER_ASSIGN(const std::int64_t minor, integer_of(*minor_json, "the schema's version"));
  program.schema_version = fmt::format("{}.{}", major, minor);
  if (const Json* torch = optional_member(json, "torch_version"); torch != nullptr && torch->is_string())
    program.torch_version = excerpt(torch->get_ref<const std::string&>());
  if (major >= kLeastMajor && major <= kMostMajor) return {};
  return fail_with_hint(
      fmt::format("the program has schema {}{}{}, expected {} or {} (PyTorch 2.5 to 2.13)", program.schema_version,
                  program.torch_version.empty() ? "" : " of PyTorch ", program.torch_version, kLeastMajor, kMostMajor),
      major > kMostMajor ? "taper is older than the file: a newer taper may read it"
                         : "export it again with a newer PyTorch");
}

// An end of a range; null: it has none. PyTorch 2.5 writes Infinity, for which the JSON parser has a text.
const Json* bound_of(const Json& range, const char* key) {
  const Json* bound = optional_member(range, key);
  const bool is_open =
      bound != nullptr && bound->is_string() &&
      (bound->get_ref<const std::string&>() == "Infinity" || bound->get_ref<const std::string&>() == "-Infinity");
  return is_open ? nullptr : bound;
}

}  // namespace

Expected<Program> program_from_json(const Json& json) {
  Program program;
  TAPER_TRY(read_version(json, program));
  TAPER_ASSIGN(const Json* module, member(json, "graph_module"));
  TAPER_ASSIGN(const Json* graph, member(*module, "graph"));
  Reader reader;
  TAPER_ASSIGN(program.graph, reader.graph(*graph, 0));
  TAPER_TRY(read_signature(reader, *module, program));
  program.symbols = std::move(reader.symbols);
  TAPER_ASSIGN(const Json* ranges, object_of(json, "range_constraints"));
  for (const auto& [symbol, range] : ranges->items()) {
    SymbolInfo& info = program.symbols[symbol];
    const std::string what = fmt::format("the range of '{}'", excerpt(symbol));
    if (const Json* least = bound_of(range, "min_val")) {
      TAPER_ASSIGN(info.least, integer_of(*least, what));
    }
    if (const Json* most = bound_of(range, "max_val")) {
      TAPER_ASSIGN(info.most, integer_of(*most, what));
    }
  }
  std::size_t count = 0;
  for (const Output& output : program.outputs) count += output.kind == OutputKind::user ? 1 : 0;
  program.output_names = output_names(*module, count);
  read_guards(json, program);
  return program;
}

Expected<WeightMeta> weight_meta(const Json& json) {
  WeightMeta meta;
  TAPER_ASSIGN(const Json* dtype, member(json, "dtype"));
  TAPER_ASSIGN(const ScalarTypeRow* row, scalar_type(*dtype));
  meta.dtype = row->parts ? row->parts : row->dtype;
  meta.is_complex = row->parts.has_value();
  if (!meta.dtype) meta.unread = fmt::format("has dtype {}", row->name);
  const auto numbers = [&](const char* key, std::vector<std::int64_t>& into) -> Status {
    TAPER_ASSIGN(const Json* list, array_of(json, key));
    for (const Json& item : *list) {
      TAPER_ASSIGN(const Json* number, member(item, "as_int"));
      TAPER_ASSIGN(const std::int64_t value, integer_of(*number, key));
      into.push_back(value);
    }
    return {};
  };
  TAPER_TRY(numbers("sizes", meta.sizes));
  TAPER_TRY(numbers("strides", meta.strides));
  TAPER_ASSIGN(const Json* offset, member(json, "storage_offset"));
  TAPER_ASSIGN(const Json* number, member(*offset, "as_int"));
  TAPER_ASSIGN(meta.offset, integer_of(*number, "storage_offset"));
  TAPER_ASSIGN(const Json* layout_json, member(json, "layout"));
  TAPER_ASSIGN(const std::int64_t layout, integer_of(*layout_json, "layout"));
  if (layout != kStrided) meta.unread = "is a sparse tensor";
  return meta;
}

}  // namespace taper::exported
