// Pieces that rows share: broadcasting, axes, loops over arrays, TFLite option fields.
#pragma once

#include <algorithm>

#include "ops/builder.h"
#include "ops/op.h"

namespace taper {

// `axis` counted from the front; negative ones count from the end.
Expected<std::size_t> normalize_axis(std::int64_t axis, std::size_t rank);

// NumPy's broadcasting of two shapes. Symbolic sizes must be equal or 1.
Expected<Shape> broadcast(const Shape& a, const Shape& b);

// The type of a float32 operand of an example.
Type f32(const std::vector<std::int64_t>& sizes);

// What ONNX's sums and products take; its comparisons take bytes as well. Other integers go through wider ones.
std::vector<DType> onnx_wide_dtypes();
std::vector<DType> onnx_ordered_dtypes();

// Shape rules.
Expected<std::vector<Type>> same_as_first(const InferCall& call);
// Whether the first two operands are of one dtype.
Status check_one_dtype(const InferCall& call);

// Calls on bases of views (see CallOnBases): of single elements; along the axis `dim`; over the axes `dims`, dropped
// unless `keepdim`.
std::optional<CallOnBases> elements_on_bases(const Node& node, std::span<const std::int64_t> dims,
                                             std::int64_t base_rank);
std::optional<CallOnBases> axis_on_bases(const Node& node, std::span<const std::int64_t> dims, std::int64_t base_rank);
std::optional<CallOnBases> reduction_on_bases(const Node& node, std::span<const std::int64_t> dims,
                                              std::int64_t base_rank);

// A contiguous array seen as [outer, axis, inner].
struct AxisView {
  std::int64_t outer = 1, size = 1, inner = 1;
};
AxisView axis_view(const std::vector<std::int64_t>& shape, std::size_t axis);

Array make_array(DType dtype, std::vector<std::int64_t> shape);
// [f(x) for x in a]
template <class F>
Expected<std::vector<Array>> map_elements(const Array& a, F f) {
  Array out = make_array(a.dtype, a.shape);
  std::ranges::transform(a.values, out.values.begin(), f);
  return std::vector{std::move(out)};
}
// f(a, b) with broadcasting.
Expected<Array> zip_elements(const Array& a, const Array& b, DType result, double (*f)(double, double));

// C[m, n] += A[m, k] * B[n, k]^T (or B[k, n]), all row-major.
void multiply_accumulate(const double* a, const double* b, double* c, std::int64_t m, std::int64_t n, std::int64_t k,
                         bool transpose_b);

// Whether a hybrid kernel computes the call (Op::is_hybrid), and whether its first operand is stored as int16.
bool is_hybrid_call(const Node& node);
bool takes_int16(const Node& node);

// The activation a TFLite operator applies to its result, as the attribute `activation` spells it.
tflite::ActivationFunctionType activation_code(const std::string& name);
std::optional<std::string> activation_name(tflite::ActivationFunctionType code);  // nothing if there is no such row
double activate(const std::string& name, double x);
// The attribute that rows have whose TFLite operator can apply an activation.
AttrSpec activation_attr();

// TFLite option tables as data: fields bound to attributes, or fixed; each list is used in both directions.
template <class Options, class Member>
struct OptionField {
  Member Options::* member;
  std::string_view attr;
};
template <class Options, class Member>
struct FixedOption {
  Member Options::* member;
  Member value;
};

// `value` in the calls for which `holds`, else the field's default; it follows from the call's values.
template <class Options, class Member>
struct DerivedOption {
  Member Options::* member;
  Member value;
  bool (*holds)(const Node&);
};

template <class Options, class Member>
void write_option(const OptionField<Options, Member>& field, const Node& node, Options& options) {
  const Attrs& attrs = node.attrs;
  Member& target = options.*field.member;
  if constexpr (std::is_same_v<Member, bool>)
    target = attrs.flag(field.attr);
  else if constexpr (std::is_same_v<Member, tflite::ActivationFunctionType>)
    target = activation_code(attrs.text(field.attr));
  else if constexpr (std::is_same_v<Member, tflite::TensorType>)
    target = *tflite_type(attrs.template get<DType>(field.attr));
  else if constexpr (std::is_floating_point_v<Member>)
    target = static_cast<Member>(attrs.real(field.attr));
  else
    target = static_cast<Member>(attrs.integer(field.attr));
}

template <class Options, class Member>
Status read_option(const OptionField<Options, Member>& field, const Options& options, Attrs& attrs) {
  const Member& source = options.*field.member;
  std::string name(field.attr);
  if constexpr (std::is_same_v<Member, bool>) {
    attrs.set(std::move(name), source);
  } else if constexpr (std::is_same_v<Member, tflite::ActivationFunctionType>) {
    const auto activation = activation_name(source);
    if (!activation) return fail("activation {} is not supported", static_cast<int>(source));
    attrs.set(std::move(name), *activation);
  } else if constexpr (std::is_same_v<Member, tflite::TensorType>) {
    const auto dtype = dtype_from_tflite(source);
    if (!dtype) return fail("element type {} is not supported", static_cast<int>(source));
    attrs.set(std::move(name), *dtype);
  } else if constexpr (std::is_floating_point_v<Member>) {
    attrs.set(std::move(name), static_cast<double>(source));
  } else {
    attrs.set(std::move(name), static_cast<std::int64_t>(source));
  }
  return {};
}

template <class Options, class Member>
void write_option(const FixedOption<Options, Member>& field, const Node&, Options& options) {
  options.*field.member = field.value;
}
template <class Options, class Member>
Status read_option(const FixedOption<Options, Member>& field, const Options& options, Attrs&) {
  if (options.*field.member != field.value) return fail("an option has a value that taper does not write");
  return {};
}

template <class Options, class Member>
void write_option(const DerivedOption<Options, Member>& field, const Node& node, Options& options) {
  if (field.holds(node)) options.*field.member = field.value;
}
template <class Options, class Member>
Status read_option(const DerivedOption<Options, Member>&, const Options&, Attrs&) {
  return {};  // who reads compares with what would be written
}

// The options table `Options` with these fields: tflite_options<tflite::SoftmaxOptionsT>(FixedOption{...}).
template <class Options, class... Fields>
TfliteOptions tflite_options(Fields... fields) {
  return {
      [=](const Node& node, tflite::BuiltinOptionsUnion& out) {
        Options options{};
        (write_option(fields, node, options), ...);
        out.Set(std::move(options));
      },
      [=](const tflite::BuiltinOptionsUnion& in, Attrs& attrs) -> Status {
        // An absent table has every field at its default.
        const Options absent{};
        const bool present =
            in.type == tflite::BuiltinOptionsTraits<typename Options::TableType>::enum_value && in.value != nullptr;
        const Options& options = present ? *static_cast<const Options*>(in.value) : absent;
        Status status;
        ((status = status ? read_option(fields, options, attrs) : status), ...);
        return status;
      },
  };
}

}  // namespace taper
