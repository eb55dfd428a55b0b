// The table behind frontend/aten.h: a row per overload, and what rows share.
#pragma once

#include <initializer_list>
#include <utility>

#include "frontend/aten.h"
#include "ops/array.h"

namespace taper::aten {

using Integers = std::vector<std::int64_t>;

// --------------------------------------------------------------------------------------------------------------- rows

struct Parameter {
  std::string name;
  std::string type;  // "Tensor", "Scalar", "int", "SymInt", "float", "bool", "str", "ScalarType", ...
  bool optional = false;
  bool list = false;
  bool optional_elements = false;  // Tensor?[]
  std::int64_t list_size = 0;      // int[2]: one integer stands for two
  bool keyword_only = false;
  std::optional<Arg> fallback = std::nullopt;
};

struct Schema {
  std::string name, overload;
  std::vector<Parameter> parameters;
};

// Reads PyTorch's notation: "add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor". What stands behind
// the arrow says nothing that the rows need.
Expected<Schema> parse_schema(std::string_view text);

class Call;
using BuildFn = Expected<Arg> (*)(Call& call);

// What happens to the operands before the operator sees them.
enum class Promotion {
  none,
  common,    // to the dtype PyTorch promotes all of them to
  floating,  // the same, and integers to the default floating dtype
  boolean,   // to bool: x != 0
};

// An overload. Where `build` is null, it is one of our rows: operands are the schema's tensors and scalars in order,
// but for those that are attributes. An integer which must be a number here is an `int` even if PyTorch has SymInt.
struct Overload {
  std::string_view schema;
  BuildFn build = nullptr;
  std::string_view row = {};
  Promotion promotion = Promotion::none;
  std::vector<std::pair<std::string_view, std::string_view>> attrs = {};  // our attribute, PyTorch's parameter
  Attrs fixed = {};                                                       // attributes that never vary
};

std::vector<Overload> pointwise_overloads();
std::vector<Overload> special_overloads();
std::vector<Overload> activation_overloads();
std::vector<Overload> compare_overloads();
std::vector<Overload> reduce_overloads();
std::vector<Overload> order_overloads();
std::vector<Overload> unique_overloads();
std::vector<Overload> statistics_overloads();
std::vector<Overload> view_overloads();
std::vector<Overload> piece_overloads();
std::vector<Overload> join_overloads();
std::vector<Overload> index_overloads();
std::vector<Overload> scatter_overloads();
std::vector<Overload> matrix_overloads();
std::vector<Overload> linalg_overloads();
std::vector<Overload> factor_overloads();
std::vector<Overload> norm_overloads();
std::vector<Overload> conv_overloads();
std::vector<Overload> pool_overloads();
std::vector<Overload> image_overloads();
std::vector<Overload> recurrent_overloads();
std::vector<Overload> packed_overloads();
std::vector<Overload> attention_overloads();
std::vector<Overload> creation_overloads();
std::vector<Overload> convert_overloads();
std::vector<Overload> backward_overloads();
std::vector<Overload> complex_overloads();
std::vector<Overload> fourier_overloads();
std::vector<Overload> vision_overloads();
std::vector<Overload> quantized_overloads();

// A call whose arguments fit its overload's schema: reading them can't fail. Arguments are named as in the schema.
class Call {
 public:
  Call(Context& the_context, const Overload& the_overload, const Schema& the_schema, std::vector<Arg> the_args)
      : context(the_context),
        build(the_context.build),
        overload(the_overload),
        schema(the_schema),
        args(std::move(the_args)) {}

  Context& context;
  Builder& build;
  const Overload& overload;
  const Schema& schema;
  std::vector<Arg> args;  // one per parameter

  const Arg& arg(std::string_view name) const;
  bool given(std::string_view name) const { return !arg(name).is_none(); }

  // The content of a tensor; null if it is None. A number becomes a tensor of rank 0.
  Value* tensor(std::string_view name) const;
  // The tensor as a place; a number becomes a new one.
  TensorPtr place(std::string_view name) const;
  // The contents of a list of tensors; null for None.
  std::vector<Value*> tensors(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  std::int64_t integer_or(std::string_view name, std::int64_t fallback) const;
  Dim size(std::string_view name) const;
  double real(std::string_view name) const;
  double real_or(std::string_view name, double fallback) const;
  bool flag(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  std::optional<DType> dtype(std::string_view name) const;
  Integers integers(std::string_view name) const;
  Shape sizes(std::string_view name) const;
  std::vector<double> reals(std::string_view name) const;

  // The axis that an integer parameter names, for a tensor of this rank; a scalar counts as a vector.
  Expected<std::size_t> axis(std::string_view name, std::size_t rank) const;
  // The axes that a list names; all of them for None and for an empty list.
  Expected<Integers> axes(std::string_view name, std::size_t rank) const;

  // The named operands, promoted.
  std::vector<Value*> promoted(std::initializer_list<std::string_view> names, Promotion promotion) const;
  std::vector<Value*> promoted(std::span<const std::string_view> names, Promotion promotion) const;
};

// ------------------------------------------------------------------------------------------------------------- results

inline Arg fresh(Value* content) {
  return Tensor::make(content);
}
Arg fresh_list(const std::vector<Value*>& contents);
// What PyTorch gives as a view or as a copy, by what isn't known here.
Arg perhaps_view(const TensorPtr& self, Value* content);
// Warns of what many calls of a program may give a reason for.
void warn_once(Context& context, std::string warning);
inline void warn_once(Call& call, std::string warning) {
  warn_once(call.context, std::move(warning));
}

// -------------------------------------------------------------------------------------- values; null stays null
// throughout

// The dtype of "value op value" in PyTorch, by dtypes alone.
DType promote_types(DType a, DType b);
// The common dtype of tensors and numbers, by PyTorch's categories.
DType result_type(std::span<const Arg> operands);
// What numbers are as tensors: int64, float32, bool.
DType number_type(const Arg& number);

Value* cast(Builder& build, Value* x, DType to);
// A constant of rank 0.
Value* number(Builder& build, double value, DType dtype);
Value* integer_number(Builder& build, std::int64_t value, DType dtype = DType::i64);
// A number as a tensor of rank 0; symbolic ones are computed when the program runs.
Value* number(Builder& build, const Arg& value, DType dtype);
Value* integer_vector(Builder& build, std::span<const std::int64_t> values, DType dtype = DType::i64);
// Integers, some symbolic, as a vector.
Value* size_vector(Builder& build, const Shape& sizes, DType dtype = DType::i64);

Value* reshape(Builder& build, Value* x, const Shape& shape);
Value* expand(Builder& build, Value* x, const Shape& shape);
Value* unsqueeze(Builder& build, Value* x, std::int64_t dim);
Value* squeeze(Builder& build, Value* x, std::int64_t dim);
Value* permute(Builder& build, Value* x, Integers dims);
// x with two axes exchanged.
Value* transpose(Builder& build, Value* x, std::size_t a, std::size_t b);
// A vector of one entry per channel (axis 1), to be combined with a tensor of a rank.
Value* per_channel(Builder& build, Value* vector, std::size_t rank);
// Entries start <= i < end.
Value* slice(Builder& build, Value* x, std::size_t axis, const Dim& start, const Dim& end);
Value* concat(Builder& build, std::vector<Value*> parts, std::size_t axis);
Value* full(Builder& build, const Shape& shape, const Arg& value, DType dtype);
Value* arange(Builder& build, const Dim& start, std::int64_t step, const Dim& length, DType dtype);
// A place along an axis of `size` entries; negative ones count from its end.
Value* counted_from_end(Builder& build, Value* place, const Dim& size);
// Sums and the like over axes.
Value* reduce(Builder& build, std::string_view row, Value* x, Integers dims, bool keepdim);
// Whether entries of x along an axis are NaN.
Value* has_nan(Builder& build, Value* x, std::size_t axis, bool keepdim);
// (sum |x|^p)^(1/p) over axes.
Value* vector_norm(Builder& build, Value* x, double order, const Integers& dims, bool keepdim);
// The product of an axis with a matrix [its size, its new size].
Value* product_along(Builder& build, Value* x, std::size_t axis, Value* matrix);

const Shape& shape_of(const Value* x);  // of rank 0 for null
Integers all_axes(std::size_t rank);
Expected<std::size_t> axis_of(std::int64_t dim, std::size_t rank);

// Whether x is made of zeros alone, as states of networks are that are given none.
bool is_all_zeros(const Value* x);

// The value of a small tensor that follows from constants alone.
std::optional<Array> constant_value(const Value* value);

// ----------------------------------------------------------------------------------------------------------------
// sizes

struct Interval {
  double least, most;
};
// Between which numbers a size lies, by the symbols' ranges.
Interval range_of(const Context& context, const Dim& size);
// Whether a <= b, a < b, where constants or ranges decide it.
std::optional<bool> known_less_equal(const Context& context, const Dim& a, const Dim& b);
std::optional<bool> known_less(const Context& context, const Dim& a, const Dim& b);
// The smaller and the larger one: a symbolic expression only where ranges don't decide.
Dim smaller(const Context& context, const Dim& a, const Dim& b);
Dim larger(const Context& context, const Dim& a, const Dim& b);
// Whether a size is decided by elements, so that it may be 0.
bool may_be_nothing(const Context& context, const Dim& size);
// A position that counts from the end if it is negative, which the running program may have to tell.
Dim position_from_start(const Context& context, const Dim& position, const Dim& size);
// The same, kept within 0..size.
Dim clamp_position(const Context& context, const Dim& position, const Dim& size);
// Whether an argument is a number that is known now.
std::optional<std::int64_t> constant_integer(const Arg& arg);

}  // namespace taper::aten
