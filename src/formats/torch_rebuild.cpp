#include "formats/torch_rebuild.h"

#include <algorithm>
#include <array>
#include <string>

#include "formats/complex_tensor.h"
#include "formats/npy.h"
#include "formats/text.h"

namespace taper {
namespace {

using pickle::Arena;
using pickle::Blob;
using pickle::Dict;
using pickle::Entry;
using pickle::Kind;
using pickle::Object;
using pickle::SequenceKind;
using pickle::TensorValue;
using pickle::Unsupported;
using pickle::Value;

using Items = std::span<const Value* const>;
using Data = decltype(Value::data);
// What a constructor makes; nothing if the call should stay an inert object.
using Made = Expected<std::optional<Data>>;

constexpr std::size_t kMostDimensions = 64;  // as in PyTorch
// What tensors that repeat elements (stride 0) may add up to beyond the file's own size.
constexpr std::uint64_t kRepeatedBytes = std::uint64_t{64} << 20;

struct StorageType {
  std::string_view name;  // of the class, in torch, torch.cuda or torch.storage
  std::uint64_t element_size;
  std::optional<DType> dtype;
  std::optional<DType> parts = std::nullopt;  // of complex numbers
};

constexpr StorageType kStorageTypes[] = {
    {"DoubleStorage", 8, DType::f64},
    {"FloatStorage", 4, DType::f32},
    {"HalfStorage", 2, DType::f16},
    {"BFloat16Storage", 2, DType::bf16},
    {"LongStorage", 8, DType::i64},
    {"IntStorage", 4, DType::i32},
    {"ShortStorage", 2, DType::i16},
    {"CharStorage", 1, DType::i8},
    {"ByteStorage", 1, DType::u8},
    {"BoolStorage", 1, DType::boolean},
    {"UntypedStorage", 1, DType::u8},
    {"_UntypedStorage", 1, DType::u8},
    {"ComplexDoubleStorage", 16, std::nullopt, DType::f64},
    {"ComplexFloatStorage", 8, std::nullopt, DType::f32},
    {"QInt8Storage", 1, std::nullopt},
    {"QUInt8Storage", 1, std::nullopt},
    {"QInt32Storage", 4, std::nullopt},
    {"QUInt4x2Storage", 1, std::nullopt},
    {"QUInt2x4Storage", 1, std::nullopt},
};

std::uint64_t as_count(const Value& value) {
  return static_cast<std::uint64_t>(value.integer().value_or(-1));
}

bool is_count(const Value& value) {
  return value.integer().value_or(-1) >= 0;
}

Expected<StorageReference> storage_reference(Items id) {
  if (id.size() < 5 || !id[1]->global() || !id[2]->text() || !is_count(*id[4]))
    return fail("a storage is not described by its class, key, location and size");
  StorageReference reference;
  reference.key = *id[2]->text();
  reference.type = id[1]->global()->name;
  reference.count = as_count(*id[4]);
  const auto row = std::ranges::find(kStorageTypes, id[1]->global()->name, &StorageType::name);
  if (row != std::end(kStorageTypes)) {
    reference.dtype = row->dtype;
    reference.parts = row->parts;
    reference.element_size = row->element_size;
  }
  if (id.size() > 5 && !id[5]->is_none()) {
    const Items view = id[5]->items();
    if (view.size() != 3 || !is_count(*view[1]) || !is_count(*view[2]))
      return fail("the view of storage '{}' is not described by key, offset and size", excerpt(reference.key));
    reference.view = {as_count(*view[1]), as_count(*view[2])};
  }
  return reference;
}

// ---- what rebuilding needs along the way

struct Context {
  Arena& arena;
  const StorageSource& source;
  std::unordered_map<std::string_view, SharedBytes> storages = {};  // read once each
  std::unordered_map<const void*, SharedBytes> blobs = {};  // encoded or copied, by the text or bytes they came from
  std::uint64_t copied_items = 0;
  std::uint64_t repeated_bytes = 0;
  std::uint64_t dimensions = 0;  // of all tensors
  bool merged_entries = false;
};

// A constructor's arguments and what followed it.
struct Call {
  std::string_view path;
  Items args;
  const Object& object;

  const Value* arg(std::size_t index) const { return index < args.size() ? args[index] : nullptr; }
};

// A collection is built from another once. A pickle that copies one collection again and again would grow without
// bound.
Status count_copies(Context& context, std::size_t items) {
  context.copied_items += items;
  if (context.copied_items > context.source.file_size)
    return fail("collections are copied {} times over, more than the file's size justifies", context.copied_items);
  return {};
}

// One tuple can be the shape and strides of any number of tensors.
Status count_dimensions(Context& context, std::size_t rank) {
  context.dimensions += rank;
  if (context.dimensions > context.source.file_size)
    return fail("tensors have {} dimensions in all, more than the file's size justifies", context.dimensions);
  return {};
}

Data unsupported(Context& context, std::string_view what, std::string reason) {
  return &context.arena.unsupported.emplace_back(Unsupported{std::string(what), std::move(reason)});
}

// ---- Python's own types

// _codecs.encode(text, "latin1"): how protocol 2 writes bytes.
Made make_encoded(Context& context, const Call& call) {
  const auto text = call.arg(0) ? call.arg(0)->text() : std::nullopt;
  const auto codec = call.arg(1) ? call.arg(1)->text() : std::nullopt;
  if (!text || (codec && codec != "latin1" && codec != "latin-1")) return std::nullopt;
  const auto [slot, is_new] = context.blobs.try_emplace(call.arg(0));
  if (is_new) {
    // Each character up to U+00FF is one byte; in UTF-8 those past U+007F are C2 or C3 and a continuation.
    std::vector<std::byte> bytes;
    bytes.reserve(text->size());
    for (std::size_t i = 0; i < text->size(); ++i) {
      const auto lead = static_cast<unsigned char>((*text)[i]);
      if (lead > 0xc3) return fail("a text to be encoded as Latin-1 has other characters");
      const unsigned low = lead < 0x80 ? 0 : static_cast<unsigned char>((*text)[++i]) & 0x3fu;
      bytes.push_back(static_cast<std::byte>(lead < 0x80 ? lead : (lead & 3u) << 6 | low));
    }
    slot->second = share(std::move(bytes));
    context.arena.sources.push_back(slot->second);
    context.blobs[slot->second.view.data()] = slot->second;
  }
  return Blob{context.blobs[call.arg(0)].view};
}

Made make_bytearray(Context& context, const Call& call) {
  if (call.args.empty()) return Blob{};
  if (const auto bytes = call.args[0]->bytes()) return Blob{*bytes};
  return make_encoded(context, call);
}

template <SequenceKind kind>
Made make_sequence(Context& context, const Call& call) {
  if (call.args.size() > 1 || (call.args.size() == 1 && !call.args[0]->sequence())) return std::nullopt;
  const Items items = call.args.empty() ? Items{} : call.args[0]->items();
  TAPER_TRY(count_copies(context, items.size()));
  std::vector<const Value*> all(items.begin(), items.end());
  all.insert(all.end(), call.object.items.begin(), call.object.items.end());
  return &context.arena.sequences.emplace_back(pickle::Sequence{kind, std::move(all)});
}

// OrderedDict, dict and Counter: nothing, a list of pairs (Python 2) or a dict, then entries that were set.
Made make_dict(Context& context, const Call& call) {
  std::vector<Entry> entries;
  if (!call.args.empty()) {
    const Value& initial = *call.args[0];
    TAPER_TRY(count_copies(context, initial.items().size() + initial.entries().size()));
    entries.assign(initial.entries().begin(), initial.entries().end());
    for (const Value* pair : initial.items()) {
      if (pair->items().size() != 2) return std::nullopt;
      entries.push_back({pair->items()[0], pair->items()[1]});
    }
    context.merged_entries = true;
  }
  entries.insert(entries.end(), call.object.entries.begin(), call.object.entries.end());
  return &context.arena.dicts.emplace_back(Dict{std::move(entries), call.object.state});
}

Made make_default_dict(Context& context, const Call& call) {  // its first argument is the factory
  return make_dict(context,
                   Call{call.path, call.args.subspan(std::min<std::size_t>(call.args.size(), 1)), call.object});
}

// ---- NumPy

struct NumpyType {
  DType dtype;
  bool big_endian;
};

// numpy.dtype('f4', False, True) with the state (version, byte order, ...).
std::optional<NumpyType> numpy_type(const Value* value) {
  const Object* object = value ? value->object() : nullptr;
  if (!object || pickle::class_path(*value) != "numpy.dtype" || object->arguments->items().empty()) return std::nullopt;
  const auto code = object->arguments->items()[0]->text();
  const auto dtype = code ? dtype_from_numpy(*code) : std::nullopt;
  if (!dtype) return std::nullopt;
  const Items state = object->state ? object->state->items() : Items{};
  return NumpyType{*dtype, state.size() > 1 && state[1]->text() == ">"};
}

// Bytes that the arena keeps alive, as bytes that keep themselves alive.
SharedBytes shared_blob(Context& context, Bytes bytes) {
  if (const auto known = context.blobs.find(bytes.data()); known != context.blobs.end()) return known->second;
  const SharedBytes& pickled = context.arena.sources.front();
  const auto start = reinterpret_cast<std::uintptr_t>(bytes.data());
  const auto first = reinterpret_cast<std::uintptr_t>(pickled.view.data());
  if (start >= first && start - first < pickled.view.size()) return {bytes, pickled.owner};
  const SharedBytes copy = share({bytes.begin(), bytes.end()});
  context.blobs[bytes.data()] = copy;
  return copy;
}

Expected<std::vector<std::int64_t>> integers(const Value& tuple, std::string_view what) {
  const Items items = tuple.items();
  if (!tuple.sequence() || items.size() > kMostDimensions)
    return fail("the {} is {}, expected at most {} integers", what, pickle::describe(tuple), kMostDimensions);
  std::vector<std::int64_t> numbers;
  for (const Value* item : items) {
    const auto number = item->integer();
    if (!number) return fail("the {} holds {}, expected integers", what, pickle::describe(*item));
    numbers.push_back(*number);
  }
  return numbers;
}

std::vector<std::int64_t> column_major_strides(std::span<const std::int64_t> shape) {
  std::vector<std::int64_t> reversed(shape.rbegin(), shape.rend());
  std::vector<std::int64_t> strides = row_major_strides(reversed);
  std::ranges::reverse(strides);
  return strides;
}

Made numpy_array(Context& context, NumpyType type, const Value& shape_tuple, bool fortran, Bytes bytes) {
  TAPER_ASSIGN(std::vector<std::int64_t> shape, integers(shape_tuple, "shape"));
  TAPER_ASSIGN([[maybe_unused]] const std::int64_t count, checked_element_count(shape));
  TAPER_TRY(count_dimensions(context, shape.size()));
  std::vector<std::int64_t> strides = fortran ? column_major_strides(shape) : row_major_strides(shape);
  TAPER_ASSIGN(Tensor tensor, make_view(type.dtype, std::move(shape), std::move(strides), shared_blob(context, bytes),
                                        0, type.big_endian));
  TensorValue& made = context.arena.tensors.emplace_back();
  made.tensor = std::move(tensor);
  made.is_numpy = true;
  return &made;
}

// _reconstruct(ndarray, (0,), b'b') with the state (version, shape, dtype, is Fortran, bytes).
Made make_numpy_array(Context& context, const Call& call) {
  const Items state = call.object.state ? call.object.state->items() : Items{};
  if (state.size() != 5 || !state[1]->sequence() || !state[4]->bytes()) return std::nullopt;
  const auto type = numpy_type(state[2]);
  if (!type) return std::nullopt;  // strings, structures, objects
  return numpy_array(context, *type, *state[1], state[3]->boolean().value_or(false), *state[4]->bytes());
}

// _frombuffer(bytes, dtype, shape, order): protocol 5.
Made make_numpy_from_buffer(Context& context, const Call& call) {
  if (call.args.size() != 4 || !call.args[0]->bytes() || !call.args[2]->sequence()) return std::nullopt;
  const auto type = numpy_type(call.args[1]);
  if (!type) return std::nullopt;
  return numpy_array(context, *type, *call.args[2], call.args[3]->text() == "F", *call.args[0]->bytes());
}

// scalar(dtype, bytes)
Made make_numpy_scalar(Context&, const Call& call) {
  const auto type = numpy_type(call.arg(0));
  const auto bytes = call.arg(1) ? call.arg(1)->bytes() : std::nullopt;
  if (!type || !bytes || bytes->size() != size_of(type->dtype)) return std::nullopt;
  const Tensor one{type->dtype, {}, {}, {*bytes, nullptr}, type->big_endian};
  if (type->dtype == DType::boolean) return (*bytes)[0] != std::byte{0};
  if (is_floating(type->dtype)) return to_double(one)[0];
  if (type->dtype == DType::u64 && to_double(one)[0] >= 0x1p63) return std::nullopt;
  std::int64_t number = 0;
  convert_elements(one, DType::i64, std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

// ---- tensors

// A storage's bytes, cut to the view if the reference is to one.
Expected<SharedBytes> storage_bytes(Context& context, const StorageReference& reference) {
  const auto known = context.storages.find(reference.key);
  SharedBytes whole;
  if (known != context.storages.end()) {
    whole = known->second;
  } else {
    TAPER_ASSIGN(whole, context.source.read(reference));
    context.storages[reference.key] = whole;
  }
  const std::uint64_t element_size = reference.element_size.value_or(1);
  const std::uint64_t available = whole.view.size() / element_size;
  if (reference.count > available)
    return fail("storage '{}' should hold {} elements of {}, the file has {}", excerpt(reference.key), reference.count,
                excerpt(reference.type), available);
  if (!reference.view) return whole.sub(0, reference.count * element_size);
  const auto [offset, size] = *reference.view;
  if (offset > reference.count || size > reference.count - offset)
    return fail("a view of elements {} to {} lies outside of storage '{}' of {} elements", offset, offset + size,
                excerpt(reference.key), reference.count);
  return whole.sub(offset * element_size, size * element_size);
}

// Elements reached more than once (stride 0) cost no bytes in the file, so their total is limited.
Status count_repeated(Context& context, const Tensor& tensor) {
  if (tensor.element_count() == 0) return {};
  std::int64_t distinct = 1;  // make_view has checked these sums
  for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis)
    distinct += tensor.strides[axis] * std::max<std::int64_t>(tensor.shape[axis] - 1, 0);
  if (tensor.element_count() <= distinct) return {};
  const std::uint64_t limit = kRepeatedBytes + context.source.file_size;
  const auto bytes =
      checked_mul<std::uint64_t>(static_cast<std::uint64_t>(tensor.element_count()), size_of(tensor.dtype));
  const auto total = bytes ? checked_add(context.repeated_bytes, *bytes) : std::nullopt;
  if (!total || *total > limit)
    return fail("a tensor of shape {} repeats {} elements, more than the file's size justifies",
                shape_text(tensor.shape), distinct);
  context.repeated_bytes = *total;
  return {};
}

// The view of a storage that a call describes. Complex numbers, whose parts are of `dtype`, get one more axis.
Expected<Tensor> storage_view(Context& context, const Call& call, const StorageReference& storage, DType dtype,
                              bool complex) {
  if (!is_count(*call.args[1])) return fail("the offset is {}, expected 0 or more", pickle::describe(*call.args[1]));
  TAPER_ASSIGN(std::vector<std::int64_t> shape, integers(*call.args[2], "size"));
  TAPER_ASSIGN(std::vector<std::int64_t> strides, integers(*call.args[3], "stride"));
  TAPER_TRY(count_dimensions(context, shape.size()));
  TAPER_ASSIGN(const SharedBytes bytes, storage_bytes(context, storage));
  const std::int64_t first = *call.args[1]->integer();
  const auto offset = checked_mul(first, static_cast<std::int64_t>(size_of(dtype)));
  if (!offset) return fail("the offset {} is too large", first);
  const bool big_endian = context.source.big_endian;
  TAPER_ASSIGN_WITHIN(Tensor tensor,
                      complex ? make_complex_view(dtype, std::move(shape), std::move(strides), bytes, first, big_endian)
                              : make_view(dtype, std::move(shape), std::move(strides), bytes, *offset, big_endian),
                      fmt::format("in a view of storage '{}'", excerpt(storage.key)));
  TAPER_TRY(count_repeated(context, tensor));
  return tensor;
}

Made storage_tensor(Context& context, const Call& call, const StorageReference& storage, DType dtype) {
  TAPER_ASSIGN(Tensor tensor, storage_view(context, call, storage, dtype, false));
  TensorValue& made = context.arena.tensors.emplace_back();
  made.tensor = std::move(tensor);
  made.requires_grad = call.args.size() > 4 && call.args[4]->boolean().value_or(false);
  made.storage_key = storage.key;
  return &made;
}

Expected<const StorageReference*> storage_argument(Context& context, const Call& call, std::size_t least_arguments) {
  if (call.args.size() < least_arguments) return fail("{} arguments, expected {}", call.args.size(), least_arguments);
  const auto found = context.source.references.find(call.args[0]);
  if (found == context.source.references.end())
    return fail("{} stands for the storage", pickle::describe(*call.args[0]));
  return &found->second;
}

// A lazily conjugated or negated view ({'conj': True}) needs arithmetic, not only a view.
bool is_lazy_view(const Value* metadata) {
  return metadata &&
         std::ranges::any_of(metadata->entries(), [](const Entry& entry) { return entry.value->boolean() == true; });
}

// Programs read complex numbers, by their parts; checkpoints don't.
Made complex_tensor(Context& context, const Call& call, const StorageReference& storage) {
  TAPER_ASSIGN(Tensor parts, storage_view(context, call, storage, *storage.parts, true));
  Data made = unsupported(context, excerpt(storage.type), "holds complex numbers");
  context.arena.unsupported.back().complex_parts = std::move(parts);
  return made;
}

// _rebuild_tensor(storage, offset, size, stride), _v2(..., requires_grad, hooks, metadata)
Made make_tensor_value(Context& context, const Call& call) {
  TAPER_ASSIGN(const StorageReference* storage, storage_argument(context, call, 4));
  if (!storage->dtype && !storage->parts)
    return unsupported(context, excerpt(storage->type), "has an element type that taper does not read");
  if (is_lazy_view(call.arg(6))) return unsupported(context, call.path, "is a conjugated or negated view");
  if (storage->parts) return complex_tensor(context, call, *storage);
  return storage_tensor(context, call, *storage, *storage->dtype);
}

// "torch.float32" or nothing
std::optional<DType> torch_dtype(const Value* value) {
  const auto* global = value ? value->global() : nullptr;
  return global && global->module == "torch" ? dtype_from_name(global->name) : std::nullopt;
}

// _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata) over untyped storages
Made make_tensor_value_v3(Context& context, const Call& call) {
  TAPER_ASSIGN(const StorageReference* storage, storage_argument(context, call, 7));
  const auto dtype = torch_dtype(call.args[6]);
  if (!dtype)
    return unsupported(context, excerpt(pickle::class_path(*call.args[6])),
                       "is an element type that taper does not read");
  if (is_lazy_view(call.arg(7))) return unsupported(context, call.path, "is a conjugated or negated view");
  return storage_tensor(context, call, *storage, *dtype);
}

template <int reason>
Made make_unsupported(Context& context, const Call& call) {
  constexpr std::array kReasons = {"is a sparse tensor", "is a quantised tensor",
                                   "is a tensor without data (meta device)", "is a nested tensor",
                                   "is a tensor subclass that needs its own code"};
  return unsupported(context, call.path, kReasons[reason]);
}

// A copy of another tensor's record that says more.
Made derived(Context& context, const Value* from, auto&& change) {
  if (from && from->unsupported()) return from->unsupported() ? std::optional(from->data) : std::nullopt;
  if (!from || !from->tensor()) return std::nullopt;
  TAPER_TRY(count_dimensions(context, from->tensor()->tensor.shape.size()));
  TensorValue& made = context.arena.tensors.emplace_back(*from->tensor());
  change(made);
  return &made;
}

// _rebuild_parameter(data, requires_grad, hooks), _with_state(..., state), Parameter(data, requires_grad)
Made make_parameter(Context& context, const Call& call) {
  return derived(context, call.arg(0), [&](TensorValue& tensor) {
    tensor.is_parameter = true;
    tensor.requires_grad = !call.arg(1) || call.arg(1)->boolean().value_or(true);
  });
}

// _rebuild_device_tensor_from_numpy(array, dtype, device, requires_grad), _from_cpu_tensor(tensor, ...)
Made make_device_tensor(Context& context, const Call& call) {
  const auto dtype = torch_dtype(call.arg(1));
  const TensorValue* source = call.arg(0) ? call.arg(0)->tensor() : nullptr;
  if (source && dtype != source->tensor.dtype)
    return unsupported(context, call.path, "is a device tensor stored as another type");
  return derived(context, call.arg(0), [&](TensorValue& tensor) {
    tensor.is_numpy = false;
    tensor.requires_grad = call.arg(3) && call.arg(3)->boolean().value_or(false);
  });
}

Made make_from_type(Context& context, const Call& call);

// ---- the allow-list

struct Constructor {
  std::string_view path;
  int stage;  // those of later stages take what earlier ones have made
  Made (*make)(Context&, const Call&);
};

constexpr int kStages = 4;
constexpr Constructor kConstructors[] = {
    {"_codecs.encode", 0, make_encoded},
    {"builtins.bytearray", 0, make_bytearray},
    {"__builtin__.bytearray", 0, make_bytearray},
    {"builtins.set", 0, make_sequence<SequenceKind::set>},
    {"__builtin__.set", 0, make_sequence<SequenceKind::set>},
    {"builtins.frozenset", 0, make_sequence<SequenceKind::frozen_set>},
    {"__builtin__.frozenset", 0, make_sequence<SequenceKind::frozen_set>},
    {"builtins.list", 0, make_sequence<SequenceKind::list>},
    {"builtins.tuple", 0, make_sequence<SequenceKind::tuple>},
    {"torch.Size", 0, make_sequence<SequenceKind::tuple>},
    {"builtins.dict", 0, make_dict},
    {"collections.OrderedDict", 0, make_dict},
    {"collections.Counter", 0, make_dict},
    {"collections.defaultdict", 0, make_default_dict},

    {"numpy.core.multiarray._reconstruct", 1, make_numpy_array},
    {"numpy._core.multiarray._reconstruct", 1, make_numpy_array},
    {"numpy.core.multiarray.scalar", 1, make_numpy_scalar},
    {"numpy._core.multiarray.scalar", 1, make_numpy_scalar},
    {"numpy.core.numeric._frombuffer", 1, make_numpy_from_buffer},
    {"numpy._core.numeric._frombuffer", 1, make_numpy_from_buffer},

    {"torch._utils._rebuild_tensor", 2, make_tensor_value},
    {"torch._utils._rebuild_tensor_v2", 2, make_tensor_value},
    {"torch._utils._rebuild_tensor_v3", 2, make_tensor_value_v3},
    {"torch._utils._rebuild_sparse_tensor", 2, make_unsupported<0>},
    {"torch._utils._rebuild_sparse_csr_tensor", 2, make_unsupported<0>},
    {"torch._utils._rebuild_qtensor", 2, make_unsupported<1>},
    {"torch._utils._rebuild_meta_tensor_no_storage", 2, make_unsupported<2>},
    {"torch._utils._rebuild_nested_tensor", 2, make_unsupported<3>},
    {"torch._utils._rebuild_wrapper_subclass", 2, make_unsupported<4>},

    {"torch._utils._rebuild_device_tensor_from_numpy", 3, make_device_tensor},
    {"torch._utils._rebuild_device_tensor_from_cpu_tensor", 3, make_device_tensor},
    {"torch._utils._rebuild_parameter", 3, make_parameter},
    {"torch._utils._rebuild_parameter_with_state", 3, make_parameter},
    {"torch.nn.parameter.Parameter", 3, make_parameter},
    {"torch._tensor._rebuild_from_type", 3, make_from_type},
    {"torch._tensor._rebuild_from_type_v2", 3, make_from_type},
    {"torch.tensor._rebuild_from_type", 3, make_from_type},
};

const Constructor* constructor_of(const Value& type) {
  static const auto by_path = [] {
    std::unordered_map<std::string_view, const Constructor*> table;
    for (const Constructor& row : kConstructors) table.emplace(row.path, &row);
    return table;
  }();
  const auto* global = type.global();
  if (!global || global->module.size() + global->name.size() > 200) return nullptr;
  const auto found = by_path.find(fmt::format("{}.{}", global->module, global->name));
  return found != by_path.end() ? found->second : nullptr;
}

// _rebuild_from_type(function, class, args, state): a tensor with attributes, or of a subclass
Made make_from_type(Context& context, const Call& call) {
  if (call.args.size() != 4 || !call.args[2]->sequence()) return std::nullopt;
  const Constructor* function = constructor_of(*call.args[0]);
  if (!function || function->stage < 2 || function->make == make_from_type) return std::nullopt;
  TAPER_ASSIGN(std::optional<Data> made,
               function->make(context, Call{function->path, call.args[2]->items(), call.object}));
  const std::string type = pickle::class_path(*call.args[1]);
  if (made && type == "torch.nn.parameter.Parameter")
    if (auto** tensor = std::get_if<TensorValue*>(&*made)) (*tensor)->is_parameter = true;
  return made;
}

}  // namespace

Expected<StorageReferences> storage_references(Arena& arena) {
  StorageReferences references;
  for (Value& value : arena.values) {
    const Value* id = value.persistent_id();
    if (!id || !id->sequence() || id->items().empty()) continue;
    const Items parts = id->items();
    if (parts[0]->text() == "storage") {
      TAPER_ASSIGN(StorageReference reference, storage_reference(parts));
      references.emplace(&value, std::move(reference));
    } else if (parts[0]->text() == "module" && parts.size() > 1 && parts[1]->global()) {
      value.data = parts[1]->data;
    }
  }
  return references;
}

namespace {

// The text key under which a value stands in some dict, itself or within a parameter: to say where an error is. Linear.
std::optional<std::string_view> key_of(const Arena& arena, const Value* value) {
  constexpr int kMostWrappers = 4;
  for (int i = 0; i < kMostWrappers; ++i) {
    const auto in = [&](const std::vector<Entry>& entries) -> std::optional<std::string_view> {
      const auto entry = std::ranges::find(entries, value, &Entry::value);
      return entry != entries.end() ? entry->key->text() : std::nullopt;
    };
    for (const Dict& dict : arena.dicts)
      if (const auto key = in(dict.entries)) return key;
    for (const Object& object : arena.objects)
      if (const auto key = in(object.entries)) return key;
    const auto wraps = [&](const Value& outer) {
      return outer.object() && !outer.object()->arguments->items().empty() &&
             outer.object()->arguments->items().front() == value;
    };
    const auto wrapper = std::ranges::find_if(arena.values, wraps);
    if (wrapper == arena.values.end()) return std::nullopt;
    value = &*wrapper;
  }
  return std::nullopt;
}

}  // namespace

Status rebuild_values(Arena& arena, const StorageSource& source) {
  struct Job {
    const Constructor* constructor;
    Value* value;
  };
  std::array<std::vector<Job>, kStages> jobs;
  for (Value& value : arena.values)
    if (const Object* object = value.object())
      if (const Constructor* constructor = constructor_of(*object->type))
        jobs[static_cast<std::size_t>(constructor->stage)].push_back({constructor, &value});

  Context context{arena, source};
  for (const std::vector<Job>& stage : jobs) {
    for (const Job& job : stage) {
      const Object& object = *job.value->object();
      auto made = job.constructor->make(context, {job.constructor->path, object.arguments->items(), object});
      if (!made) {
        Error error = std::move(made).error();
        if (const auto key = key_of(arena, job.value))
          error = within(std::move(error), fmt::format("in tensor '{}'", excerpt(*key)));
        return std::unexpected(within(std::move(error), fmt::format("in the call of {} at byte {} of the pickle",
                                                                    job.constructor->path, object.offset)));
      }
      if (*made) job.value->data = **made;
    }
  }
  if (context.merged_entries) pickle::drop_repeated_keys(arena);
  return {};
}

}  // namespace taper
