// Conversions of dtypes, copies, numbers out of tensors, and what only asserts.
#include <cmath>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

// The tensor itself if nothing changes, unless a copy is asked for.
Expected<Arg> converted_to(Call& call, DType dtype) {
  const TensorPtr self = call.place("self");
  if (self->type().dtype == dtype && !call.flag("copy")) return Arg(self);
  return fresh(cast(call.build, self->content(call.build), dtype));
}

Expected<Arg> to(Call& call) {
  const DType own = call.place("self")->type().dtype;
  const DType dtype = call.given("other") ? call.place("other")->type().dtype : call.dtype("dtype").value_or(own);
  return converted_to(call, dtype);
}

// Always a new tensor.
Expected<Arg> to_copy(Call& call) {
  Value* x = call.tensor("self");
  return fresh(cast(call.build, x, call.dtype("dtype").value_or(x->type.dtype)));
}

Expected<Arg> clone(Call& call) {
  return fresh(call.tensor("self"));
}

Expected<Arg> contiguous(Call& call) {
  const TensorPtr self = call.place("self");
  if (self->contiguous() == true) return Arg(self);
  Value* content = self->content(call.build);
  return self->contiguous() == false ? fresh(content) : perhaps_view(self, content);
}

Expected<Arg> same(Call& call) {
  return call.arg("self");
}

// Whether sizes that are written differently may be equal: the program copies one to the other, so they are.
bool are_taken_as_equal(const Shape& a, const Shape& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i] && (a[i].constant() || b[i].constant() || (a[i] - b[i]).constant())) return false;
  return true;
}

// The source in the shape and dtype of the target.
Expected<Arg> copy(Call& call) {
  const Type& type = call.place("self")->type();
  Value* source = cast(call.build, call.tensor("src"), type.dtype);
  if (are_taken_as_equal(shape_of(source), type.shape))
    for (std::size_t axis = 0; axis < type.shape.size(); ++axis)
      source = slice(call.build, source, axis, 0, type.shape[axis]);
  return fresh(expand(call.build, source, type.shape));
}

// A number out of a tensor of one element, as far as it is known before the program runs.
Expected<Arg> item(Call& call) {
  const TensorPtr self = call.place("self");
  const Type& type = self->type();
  if (!element_count(type.shape).is(1)) return fail("the number of {}", type_text(type));
  if (is_floating(type.dtype)) {
    if (const auto value = constant_value(self->present())) return Arg(value->values[0]);
  } else if (const auto integers = known_integers(self->present())) {
    const Dim& integer = integers->front();
    if (type.dtype == DType::boolean && integer.constant()) return Arg(integer.is(0) ? false : true);
    return Arg(integer);
  }
  return fail("a number is taken out of a tensor that is computed when the program runs");
}

Expected<Arg> real_item(Call& call) {
  TAPER_ASSIGN(Arg value, item(call));
  if (const bool* flag = value.as<bool>()) return Arg(*flag ? 1.0 : 0.0);
  if (const auto integer = constant_integer(value)) return Arg(static_cast<double>(*integer));
  return value;
}

Expected<Arg> integer_item(Call& call) {
  TAPER_ASSIGN(Arg value, item(call));
  if (const bool* flag = value.as<bool>()) return Arg(Dim(*flag ? 1 : 0));
  const double* real = value.as<double>();
  if (real == nullptr) return value;
  if (!(std::abs(*real) < 9e18)) return fail("{} as an integer", *real);
  return Arg(Dim(static_cast<std::int64_t>(*real)));
}

Expected<Arg> flag_item(Call& call) {
  TAPER_ASSIGN(Arg value, item(call));
  if (const auto integer = constant_integer(value)) return Arg(*integer == 0 ? false : true);
  if (const double* real = value.as<double>()) return Arg(*real == 0 ? false : true);
  if (value.as<bool>() != nullptr) return value;
  return fail("a flag is a size that is not known");
}

Expected<Arg> sizes_of(Call& call) {
  Arg::List sizes;
  for (const Dim& size : call.place("self")->type().shape) sizes.emplace_back(size);
  return Arg(std::move(sizes));
}

Expected<Arg> size_of_axis(Call& call) {
  const Shape& shape = call.place("self")->type().shape;
  if (shape.empty()) return fail("the size of an axis of a number");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  return Arg(shape[axis]);
}

Expected<Arg> stride_of_axis(Call& call) {
  const TensorPtr self = call.place("self");
  const Shape& shape = self->type().shape;
  if (!self->strides()) return fail("the strides of a tensor that may be a view");
  const Shape strides = *self->strides();
  if (!call.given("dim")) {
    Arg::List list;
    for (const Dim& stride : strides) list.emplace_back(stride);
    return Arg(std::move(list));
  }
  if (shape.empty()) return fail("the stride of an axis of a number");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  return Arg(strides[axis]);
}

Expected<Arg> nothing(Call&) {
  return Arg{};
}

}  // namespace

std::vector<Overload> convert_overloads() {
  std::vector<Overload> rows = {
      {"to.dtype(Tensor(a) self, ScalarType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? "
       "memory_format=None) -> Tensor(a)",
       to},
      {"to.dtype_layout(Tensor(a) self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? "
       "pin_memory=None, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)",
       to},
      {"to.other(Tensor(a) self, Tensor other, bool non_blocking=False, bool copy=False, MemoryFormat? "
       "memory_format=None) -> Tensor(a)",
       to},
      {"to.device(Tensor(a) self, Device device, ScalarType dtype, bool non_blocking=False, bool copy=False, "
       "MemoryFormat? memory_format=None) -> Tensor(a)",
       to},
      {"to.prim_Device(Tensor(a) self, Device? device, ScalarType? dtype=None, bool non_blocking=False, bool "
       "copy=False) -> Tensor(a)",
       to},
      {"to.prim_dtype(Tensor(a) self, ScalarType? dtype=None, bool non_blocking=False, bool copy=False) -> Tensor(a)",
       to},
      {"to.prim_other(Tensor(a) self, bool non_blocking=False, bool copy=False) -> Tensor(a)", to},
      {"type_as(Tensor self, Tensor other) -> Tensor", to},
      {"_to_copy(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? "
       "pin_memory=None, bool non_blocking=False, MemoryFormat? memory_format=None) -> Tensor",
       to_copy},
      {"_cast_Float(Tensor self, bool non_blocking=False) -> Tensor",
       [](Call& call) { return converted_to(call, DType::f32); }},
      {"float(Tensor(a) self) -> Tensor(a)", [](Call& call) { return converted_to(call, DType::f32); }},
      {"double(Tensor(a) self) -> Tensor(a)", [](Call& call) { return converted_to(call, DType::f32); }},
      {"half(Tensor(a) self) -> Tensor(a)", [](Call& call) { return converted_to(call, DType::f32); }},
      {"bfloat16(Tensor(a) self) -> Tensor(a)", [](Call& call) { return converted_to(call, DType::f32); }},
      {"long(Tensor(a) self) -> Tensor(a)", [](Call& call) { return converted_to(call, DType::i64); }},
      {"int(Tensor(a) self) -> Tensor(a)", [](Call& call) { return converted_to(call, DType::i32); }},
      {"bool(Tensor(a) self) -> Tensor(a)", [](Call& call) { return converted_to(call, DType::boolean); }},
      {"clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor", clone},
      {"lift_fresh_copy(Tensor self) -> Tensor", clone},
      {"detach_copy(Tensor self) -> Tensor", clone},
      {"alias_copy(Tensor self) -> Tensor", clone},
      {"contiguous(Tensor(a) self, *, MemoryFormat memory_format=contiguous_format) -> Tensor(a)", contiguous},
      {"cpu(Tensor(a) self) -> Tensor(a)", same},
      {"cuda(Tensor(a) self) -> Tensor(a)", same},
      {"lift(Tensor self) -> Tensor", same},
      {"lift_fresh(Tensor(a) self) -> Tensor(a)", same},
      {"copy(Tensor self, Tensor src, bool non_blocking=False) -> Tensor", copy},
      {"as_tensor(Tensor(a) self, *, ScalarType? dtype=None, Device? device=None) -> Tensor(a)", to},
      {"item(Tensor self) -> Scalar", item},
      {"_local_scalar_dense(Tensor self) -> Scalar", item},
      {"ScalarImplicit(Tensor self) -> Scalar", item},
      {"IntImplicit(Tensor self) -> int", integer_item},
      {"FloatImplicit(Tensor self) -> float", real_item},
      {"Int.Tensor(Tensor self) -> int", integer_item},
      {"Float.Tensor(Tensor self) -> float", real_item},
      {"Bool.Tensor(Tensor self) -> bool", flag_item},
      {"is_nonzero(Tensor self) -> bool", flag_item},
      {"size(Tensor self) -> int[]", sizes_of},
      {"size.int(Tensor self, int dim) -> int", size_of_axis},
      {"sym_size(Tensor self) -> SymInt[]", sizes_of},
      {"sym_size.int(Tensor self, int dim) -> SymInt", size_of_axis},
      {"stride(Tensor self) -> int[]", stride_of_axis},
      {"stride.int(Tensor self, int dim) -> int", stride_of_axis},
      {"sym_stride(Tensor self) -> SymInt[]", stride_of_axis},
      {"sym_stride.int(Tensor self, int dim) -> SymInt", stride_of_axis},
      {"storage_offset(Tensor self) -> int", [](Call&) { return Expected<Arg>(Arg(Dim(0))); }},
      {"sym_storage_offset(Tensor self) -> SymInt", [](Call&) { return Expected<Arg>(Arg(Dim(0))); }},
      {"numel(Tensor self) -> int",
       [](Call& call) { return Expected<Arg>(Arg(element_count(call.place("self")->type().shape))); }},
      {"sym_numel(Tensor self) -> SymInt",
       [](Call& call) { return Expected<Arg>(Arg(element_count(call.place("self")->type().shape))); }},
      {"dim(Tensor self) -> int",
       [](Call& call) {
         return Expected<Arg>(Arg(Dim(static_cast<std::int64_t>(call.place("self")->type().shape.size()))));
       }},
      {"is_floating_point(Tensor self) -> bool",
       [](Call& call) { return Expected<Arg>(Arg(is_floating(call.place("self")->type().dtype) ? true : false)); }},
      {"is_complex(Tensor self) -> bool", [](Call&) { return Expected<Arg>(Arg(false)); }},
      {"sym_is_contiguous(Tensor self, MemoryFormat memory_format=contiguous_format) -> SymBool",
       [](Call& call) { return Expected<Arg>(Arg(call.place("self")->contiguous() != false)); }},
      {"is_same_size(Tensor self, Tensor other) -> bool",
       [](Call& call) {
         return Expected<Arg>(Arg(call.place("self")->type().shape == call.place("other")->type().shape));
       }},
      {"result_type.Tensor(Tensor tensor, Tensor other) -> ScalarType",
       [](Call& call) { return Expected<Arg>(Arg(result_type(std::vector{call.arg("tensor"), call.arg("other")}))); }},
  };
  for (const std::string_view schema :
       {"_assert_async(Tensor self) -> ()", "_assert_async.msg(Tensor self, str assert_msg) -> ()",
        "_assert_scalar(Scalar? self, str assert_msg) -> ()",
        "_assert_tensor_metadata(Tensor a, SymInt[]? size=None, SymInt[]? stride=None, ScalarType? dtype=None, *, "
        "Device? device=None, Layout? layout=None) -> ()",
        "sym_constrain_range(Scalar? size, *, int? min=None, int? max=None) -> ()",
        "sym_constrain_range_for_size(Scalar? size, *, int? min=None, int? max=None) -> ()"})
    rows.push_back({schema, nothing});
  return rows;
}

}  // namespace taper::aten
