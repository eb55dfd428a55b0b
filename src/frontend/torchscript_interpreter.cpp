// Calls, statements and attributes of TorchScript programs.
#include "frontend/torchscript_interpreter.h"

#include <algorithm>

#include "formats/text.h"
#include "frontend/aten_complex.h"
#include "frontend/torchscript_regions.h"

namespace taper::torchscript {
namespace {

constexpr int kMostDepth = 200;  // of calls, and of attributes within attributes

// Sets a variable for as long as it lives.
template <class T>
class Restored {
 public:
  Restored(T& variable, T value) : variable_(variable), before_(std::exchange(variable, std::move(value))) {}
  ~Restored() { variable_ = std::move(before_); }
  Restored(const Restored&) = delete;
  Restored& operator=(const Restored&) = delete;

 private:
  T& variable_;
  T before_;
};

std::string joined_path(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

// Whether running the block ends in an exception on every path.
bool always_raises(const std::vector<Statement>& block) {
  return std::ranges::any_of(block, [](const Statement& statement) {
    if (statement.kind == StatementKind::conditional)
      return always_raises(statement.body) && always_raises(statement.otherwise);
    if (statement.kind != StatementKind::expression || statement.value->kind != ExprKind::call) return false;
    const Expr& function = *statement.value->items[0];
    return function.kind == ExprKind::attribute && function.text == "RaiseException";
  });
}

// The operator of "x = torch.rand(...)" and its like, which no file can say; empty for other statements.
std::string_view random_operator(const Statement& statement) {
  constexpr std::string_view kNames[] = {"rand",         "randn",    "randint",   "rand_like",   "randn_like",
                                         "randint_like", "randperm", "bernoulli", "multinomial", "normal"};
  if (statement.value->kind != ExprKind::call || statement.target->kind != ExprKind::name) return {};
  const Expr& function = *statement.value->items[0];
  const bool of_torch = function.kind == ExprKind::attribute && function.items[0]->kind == ExprKind::name &&
                        function.items[0]->text == "torch";
  return of_torch && std::ranges::find(kNames, function.text) != std::end(kNames) ? function.text : std::string_view();
}

}  // namespace

// What a file says refers to itself is taken apart, for nobody else would free it.
Interpreter::~Interpreter() {
  for (auto& [source, value] : loaded_) {
    if (const auto* object = value.as<std::shared_ptr<Object>>()) (*object)->attributes.clear();
    if (const auto* dict = value.as<std::shared_ptr<Dict>>()) (*dict)->entries.clear();
    if (const auto* list = value.as<std::shared_ptr<List>>()) (*list)->items.clear();
  }
}

// ---- attributes

Expected<Value> Interpreter::load(const pickle::Value& value, const std::string& path, int depth) {
  if (depth > kMostDepth) return fail("attributes are nested deeper than {}, at '{}'", kMostDepth, excerpt(path));
  if (const auto known = loaded_.find(&value); known != loaded_.end()) return known->second;
  if (value.is_none()) return None{};
  if (const auto flag = value.boolean()) return *flag;
  if (const auto integer = value.integer()) return Dim(*integer);
  if (const double* real = std::get_if<double>(&value.data)) return *real;
  if (const auto text = value.text()) return std::string(*text);
  if (const auto* tensor = value.tensor()) return load_tensor(*tensor, path);
  if (const Tensor* parts = value.complex_parts()) return load_complex(value, *parts, path);
  if (const auto* other = value.unsupported())
    return Unknown{fmt::format("'{}' {}, which is not supported", excerpt(path), other->reason)};
  if (value.sequence()) {
    std::vector<Value> items;
    for (const pickle::Value* item : value.items()) {
      TAPER_ASSIGN(Value loaded, load(*item, joined_path(path, std::to_string(items.size())), depth + 1));
      items.push_back(std::move(loaded));
    }
    const bool is_list = value.sequence()->kind == pickle::SequenceKind::list;
    const Value made = is_list ? new_list(std::move(items)) : Value(std::make_shared<Tuple>(std::move(items)));
    loaded_.emplace(&value, made);
    return made;
  }
  if (value.dict()) {
    const auto dict = std::make_shared<Dict>(&root_);
    loaded_.emplace(&value, dict);
    for (const pickle::Entry& entry : value.entries()) {
      TAPER_ASSIGN(Value key, load(*entry.key, path, depth + 1));
      TAPER_ASSIGN(Value item, load(*entry.value, joined_path(path, text_of(key)), depth + 1));
      dict->entries.emplace_back(std::move(key), std::move(item));
    }
    return dict;
  }
  if (!value.object()) return fail("'{}' is {}, which no program reads", excerpt(path), pickle::describe(value));
  const auto arguments = value.object()->arguments->items();
  const std::string class_path = pickle::class_path(value);
  if (const Symbol* symbol = archive_.find(class_path);
      symbol && symbol->type && symbol->type->base == "Enum" && !arguments.empty())
    return load(*arguments[0], path, depth + 1);  // its members stand for what they hold
  if (class_path.starts_with("torch.jit._pickle.") && !arguments.empty()) return load(*arguments[0], path, depth + 1);
  if (class_path == "torch.device") return Device{};
  const auto object = std::make_shared<Object>();
  object->class_name = class_path;
  object->symbol = archive_.find(class_path);
  object->path = path;
  object->home = &root_;
  loaded_.emplace(&value, object);
  if (const pickle::Value* state = value.object()->state)
    for (const pickle::Entry& entry : state->entries()) {
      const auto name = entry.key->text();
      if (!name) continue;
      TAPER_ASSIGN(Value item, load(*entry.value, joined_path(path, *name), depth + 1));
      object->attributes.insert_or_assign(std::string(*name), std::move(item));
    }
  return object;
}

Expected<Value> Interpreter::load_tensor(const pickle::TensorValue& value, const std::string& path) {
  const Tensor& tensor = value.tensor;
  const std::string key =
      fmt::format("{} {} {} {}", static_cast<const void*>(tensor.storage.view.data()), info(tensor.dtype).name,
                  fmt::join(tensor.shape, ","), fmt::join(tensor.strides, ","));
  if (const auto known = tensors_.find(key); known != tensors_.end()) return known->second;
  root_.build.set_scope(path);
  taper::Value* content = root_.build.constant(converted(tensor, aten::graph_dtype(tensor.dtype)), path);
  if (frame_) region_->build.set_scope(frame_->scope);
  TAPER_TRY(root_.build.status());
  const Value made = TensorRef{aten::Tensor::make(content), &root_, false};
  if (tensor.element_count() > 0) tensors_.emplace(key, made);
  return made;
}

Expected<Value> Interpreter::load_complex(const pickle::Value& value, const Tensor& parts, const std::string& path) {
  root_.build.set_scope(path);
  const aten::Arg constant = aten::complex_constant(root_.build, parts, path);
  if (frame_) region_->build.set_scope(frame_->scope);
  TAPER_TRY(root_.build.status());
  const auto& [real, imag] = *constant.as<aten::ComplexTensor>();
  const Value made = ComplexRef{{real, &root_, false}, {imag, &root_, false}};
  loaded_.emplace(&value, made);
  return made;
}

Expected<Value> Interpreter::attribute(const Value& object, std::string_view name) {
  if (const auto* held = object.as<std::shared_ptr<Object>>()) {
    if (const auto found = (*held)->attributes.find(name); found != (*held)->attributes.end()) return found->second;
    if ((*held)->symbol && (*held)->symbol->type)
      for (const Field& field : (*held)->symbol->type->fields)
        if (field.name == name && field.value) return constant_expression(*(*held)->symbol->file, *field.value);
    return error_here(fmt::format("{} has no attribute '{}'", describe(object), excerpt(name)));
  }
  if (const auto* tuple = object.as<std::shared_ptr<Tuple>>(); tuple && (*tuple)->type) {
    const auto& fields = (*tuple)->type->fields;
    for (std::size_t i = 0; i < fields.size() && i < (*tuple)->items.size(); ++i)
      if (fields[i].name == name) return (*tuple)->items[i];
  }
  if (object.is_unknown()) return object;
  if (name == "value" && (object.number() || object.as<std::string>())) return object;  // of an enumeration
  if (object.tensor() || grown_tensor(object)) return call_prim(name, {{"", object}});
  return error_here(fmt::format("{} has no attribute '{}'", describe(object), excerpt(name)));
}

// ---- calls

Status Interpreter::spend(std::uint32_t line) {
  line_ = line;
  if (++spent_ <= budget_) return {};
  return error_here(fmt::format("the program runs more than {} statements", budget_),
                    "a loop over every step of a long sequence can't be unrolled: write it as one operator (nn.GRU, "
                    "cumsum, ...), or export it with torch.export");
}

Expected<Value> Interpreter::call_method(const std::shared_ptr<Object>& self, std::string_view name,
                                         std::vector<Argument> arguments) {
  const Function* method = self->symbol && self->symbol->type ? self->symbol->type->method(name) : nullptr;
  if (!method) {
    if (self->class_name.starts_with("__torch__.torch.classes."))
      return unsupported_operator(fmt::format("{}.{}", self->class_name.substr(10), name),
                                  "a class of C++ (quantised packed weights, for one), which the file does not "
                                  "describe: convert the float model, taper quantises by itself");
    return error_here(fmt::format("{} has no method '{}'", excerpt(self->class_name), excerpt(name)));
  }
  arguments.insert(arguments.begin(), {"", self});
  const bool is_module = self->symbol->type->base == "Module";
  const std::string scope = is_module || !frame_ ? self->path : frame_->scope;
  return call_function(*self->symbol->file, *method, std::move(arguments), scope);
}

Expected<Value> Interpreter::call_function(const SourceFile& file, const Function& function,
                                           std::vector<Argument> arguments, std::string scope) {
  const Restored deeper(depth_, depth_ + 1);
  if (depth_ > kMostDepth) return error_here(fmt::format("calls are nested deeper than {}", kMostDepth));
  Frame frame;
  frame.file = &file;
  frame.scope = std::move(scope);
  std::size_t position = 0;
  for (Argument& argument : arguments) {
    if (argument.name.empty()) {
      if (position >= function.parameters.size())
        return error_here(fmt::format("{} takes {} arguments, not {}", excerpt(function.name),
                                      function.parameters.size(), arguments.size()));
      frame.variables.insert_or_assign(function.parameters[position++].name, std::move(argument.value));
    } else {
      frame.variables.insert_or_assign(argument.name, std::move(argument.value));
    }
  }
  for (const Parameter& parameter : function.parameters) {
    if (frame.variables.contains(parameter.name)) continue;
    if (!parameter.fallback)
      return error_here(fmt::format("{} is called without '{}'", excerpt(function.name), excerpt(parameter.name)));
    TAPER_ASSIGN(Value fallback, constant_expression(file, *parameter.fallback));
    frame.variables.insert_or_assign(parameter.name, std::move(fallback));
  }
  const Restored in_frame(frame_, &frame);
  const Restored at_line(line_, function.line);
  region_->build.set_scope(frame.scope);
  TAPER_TRY(run_block(function.body));
  Value result = frame.result ? std::move(*frame.result) : Value(None{});
  return result;
}

Expected<Value> Interpreter::run_closure(std::string_view name) {
  const auto found = frame_->closures.find(name);
  if (found == frame_->closures.end())
    return error_here(fmt::format("'{}' is forked, which is no function", excerpt(name)));
  const Restored deeper(depth_, depth_ + 1);
  if (depth_ > kMostDepth) return error_here(fmt::format("calls are nested deeper than {}", kMostDepth));
  spent_ += (frame_->variables.size() + frame_->closures.size()) / 8;  // copied: those of a closure are its own
  TAPER_TRY(spend(line_));
  Frame frame = *frame_;
  const Statement& closure = *found->second;
  const Restored in_frame(frame_, &frame);
  const Restored at_line(line_, closure.line);
  TAPER_TRY(run_block(closure.body));
  Value result = frame.result ? std::move(*frame.result) : Value(None{});
  return result;
}

Expected<Value> Interpreter::constant_expression(const SourceFile& file, const Expr& expr) {
  Frame frame;
  frame.file = &file;
  if (frame_) frame.scope = frame_->scope;
  const Restored in_frame(frame_, &frame);
  const Restored at_line(line_, expr.line);
  return evaluate(expr);
}

// ---- statements

Status Interpreter::run_block(const std::vector<Statement>& block) {
  for (const Statement& statement : block) {
    if (frame_->result) return {};
    TAPER_TRY(run_statement(statement));
  }
  return {};
}

Status Interpreter::run_statement(const Statement& statement) {
  TAPER_TRY(spend(statement.line));
  region_->build.set_scope(frame_->scope);
  switch (statement.kind) {
    case StatementKind::pass:
      return {};
    case StatementKind::expression: {
      TAPER_ASSIGN([[maybe_unused]] const Value value, evaluate(*statement.value));
      return {};
    }
    case StatementKind::assign: {
      // Programs that are not trained draw some that nothing uses: only a use of them is an error.
      if (const auto name = random_operator(statement); !name.empty())
        return assign(*statement.target,
                      Unknown{fmt::format("holds random numbers (aten::{}), which no file draws", name)});
      TAPER_ASSIGN(Value value, evaluate(*statement.value));
      return assign(*statement.target, std::move(value));
    }
    case StatementKind::give_back: {
      Value value;
      if (statement.value) {
        TAPER_ASSIGN(value, evaluate(*statement.value));
      }
      frame_->result = std::move(value);
      return {};
    }
    case StatementKind::conditional:
      return run_conditional(statement);
    case StatementKind::while_loop:
      return run_while(statement);
    case StatementKind::for_loop:
      return run_for(statement);
    case StatementKind::with:
      return run_with(statement);
    case StatementKind::closure:
      frame_->closures.insert_or_assign(statement.target->text, &statement);
      return {};
  }
  return {};
}

Status Interpreter::assign(const Expr& target, Value value) {
  switch (target.kind) {
    case ExprKind::name:
      frame_->variables.insert_or_assign(target.text, std::move(value));
      return {};
    case ExprKind::tuple: {
      if (value.is_unknown()) {
        for (const Expr* part : target.items) TAPER_TRY(assign(*part, value));
        return {};
      }
      if (value.is_tensor() &&
          !value.tensor()->tensor->type().shape.empty()) {  // a tensor unpacks along its first axis
        TAPER_ASSIGN(value, call_aten("unbind", {{"", value}}));
      }
      const auto* items = value.items();
      if (!items || items->size() != target.items.size())
        return error_here(fmt::format("{} is unpacked into {} variables", describe(value), target.items.size()));
      const std::vector<Value> parts = *items;
      for (std::size_t i = 0; i < parts.size(); ++i) TAPER_TRY(assign(*target.items[i], parts[i]));
      return {};
    }
    case ExprKind::attribute: {
      TAPER_ASSIGN(const Value object, evaluate(*target.items[0]));
      const auto* held = object.as<std::shared_ptr<Object>>();
      if (!held) return error_here(fmt::format("an attribute of {} is set", describe(object)));
      if (holds_container(value, held->get())) return error_here("an object is put into itself, or holds too much");
      auto& slot = (*held)->attributes[std::string(target.text)];
      const bool same_tensor = value.tensor() && slot.tensor() && value.tensor()->tensor == slot.tensor()->tensor;
      if (same_tensor) return {};
      const Value changing = std::make_shared<Slot>(*held, std::string(target.text));
      if (home_of(changing) != region_) {
        changed_ = changing;
        return error_here(
            fmt::format("attribute '{}' changes inside of a branch or loop that depends on data", target.text),
            "give back a new value instead");
      }
      if ((*held)->symbol && (*held)->symbol->type && (*held)->symbol->type->base == "Module")
        assume(fmt::format("the module's state '{}' starts as saved in every run: what a run leaves there is dropped",
                           joined_path((*held)->path, target.text)));
      slot = std::move(value);
      return {};
    }
    case ExprKind::subscript: {
      TAPER_ASSIGN(const Value object, evaluate(*target.items[0]));
      TAPER_ASSIGN(const Value index, evaluate(*target.items[1]));
      TAPER_ASSIGN([[maybe_unused]] const Value set,
                   call_operator("_set_item", {{"", object}, {"", index}, {"", std::move(value)}}));
      return {};
    }
    default:
      return error_here("this can't be assigned to");
  }
}

Status Interpreter::run_conditional(const Statement& statement) {
  TAPER_ASSIGN(const Value condition, evaluate(*statement.value));
  TAPER_ASSIGN(const std::optional<bool> holds, decide(condition));
  if (holds) return run_block(*holds ? statement.body : statement.otherwise);
  if (condition.is_unknown()) {
    // Both ways, to find all that can't be converted.
    if (!always_raises(statement.body)) TAPER_TRY(run_block(statement.body));
    if (!always_raises(statement.otherwise)) TAPER_TRY(run_block(statement.otherwise));
    return {};
  }
  // A branch that only raises is an assertion.
  const bool raises = always_raises(statement.body);
  if (raises || always_raises(statement.otherwise)) {
    const auto* sizes = condition.as<Undecided>();
    assume(fmt::format("the check at {} passes{}", place(statement.line),
                       sizes ? fmt::format(" ({}{})", raises ? "not " : "", sizes->text) : ""));
    return run_block(raises ? statement.otherwise : statement.body);
  }
  if (const auto* sizes = condition.as<Undecided>()) {
    TAPER_ASSIGN(const bool joined, join_by_branch(*sizes, statement));
    if (joined) return {};
    if (!sizes->general) {
      TAPER_ASSIGN(taper::Value * flag, number_in(*region_, condition, DType::boolean));
      const Status done = branch_on({aten::Tensor::make(flag), region_, true}, statement, sizes);
      if (done || changed_) return done;
      line_ = statement.line;
      return error_here(
          fmt::format("the program depends on whether {}, which is not known: {}", sizes->text, done.error().message),
          "give these sizes as numbers with --input-shape");
    }
    TAPER_ASSIGN(const bool chosen, choose_by_sizes(*sizes, statement));
    if (chosen) return {};
    assume(fmt::format("the files are right where {}{} alone: {} is decided by it", *sizes->general ? "" : "not ",
                       sizes->text, place(statement.line)));
    return run_block(*sizes->general ? statement.body : statement.otherwise);
  }
  return branch_on(*condition.tensor(), statement);
}

Interpreter::Names Interpreter::names_of(const Variables& variables) {
  Names names;
  for (const auto& [name, value] : variables) names.insert(name);
  return names;
}

void Interpreter::forget_others(const Names& names) {
  std::erase_if(frame_->variables, [&](const auto& variable) { return !names.contains(variable.first); });
}

namespace {

// Whether a loop has no end: its condition is a literal, and its body never returns.
bool is_endless(const Statement& loop) {
  const Expr& condition = *loop.value;
  const bool always = (condition.kind == ExprKind::boolean && condition.boolean) ||
                      (condition.kind == ExprKind::integer && condition.integer != 0);
  return always && !gives_back(loop.body);
}

}  // namespace

Status Interpreter::run_while(const Statement& statement) {
  line_ = statement.line;
  if (is_endless(statement))
    return error_here("a loop never ends: its condition always holds, and nothing in it returns",
                      "give it a condition that its iterations change");
  const Names before = names_of(frame_->variables);
  while (true) {
    TAPER_TRY(spend(statement.line));
    TAPER_ASSIGN(const Value condition, evaluate(*statement.value));
    TAPER_ASSIGN(const std::optional<bool> holds, decide(condition));
    if (!holds) {
      if (condition.is_unknown()) return run_block(statement.body);
      forget_others(before);
      return loop_on(statement, nullptr, condition);
    }
    if (!*holds) return {};
    TAPER_TRY(run_block(statement.body));
    if (frame_->result) return {};
  }
}

Status Interpreter::run_for(const Statement& statement) {
  const Expr& iterated = *statement.value;
  const bool is_range = iterated.kind == ExprKind::call && iterated.items[0]->kind == ExprKind::name &&
                        iterated.items[0]->text == "range" && iterated.items.size() == 2;
  if (!is_range) {
    TAPER_ASSIGN(Value items, evaluate(iterated));
    if (items.is_unknown()) {
      TAPER_TRY(assign(*statement.target, items));
      return run_block(statement.body);
    }
    if (items.is_tensor()) {
      TAPER_ASSIGN(items, call_aten("unbind", {{"", items}}));
    }
    const auto* all = items.items();
    if (!all) return error_here(fmt::format("a loop runs over {}", describe(items)));
    for (std::size_t i = 0; i < all->size(); ++i) {
      TAPER_TRY(spend(statement.line));
      TAPER_TRY(assign(*statement.target, (*all)[i]));
      TAPER_TRY(run_block(statement.body));
    }
    return {};
  }
  TAPER_ASSIGN(const Value count, evaluate(*iterated.items[1]));
  if (count.is_unknown()) {
    TAPER_TRY(assign(*statement.target, Dim(0)));
    return run_block(statement.body);
  }
  const auto times = count.integer();
  if (!times) {
    if (!count.as<Dim>() && !count.tensor()) return error_here(fmt::format("a loop runs {} times", describe(count)));
    TAPER_ASSIGN(const Value entered, call_operator("gt", {{"", count}, {"", Dim(0)}}));
    return loop_on(statement, &count, entered);
  }
  for (std::int64_t i = 0; i < *times && !frame_->result; ++i) {
    TAPER_TRY(spend(statement.line));
    TAPER_TRY(assign(*statement.target, Dim(i)));
    TAPER_TRY(run_block(statement.body));
  }
  return {};
}

// Contexts such as torch.no_grad change no number.
Status Interpreter::run_with(const Statement& statement) {
  TAPER_ASSIGN(const Value manager, evaluate(*statement.value));
  if (statement.target) TAPER_TRY(assign(*statement.target, manager));
  const auto* object = manager.as<std::shared_ptr<Object>>();
  if (object && (*object)->symbol && (*object)->symbol->type) {
    TAPER_ASSIGN([[maybe_unused]] const Value entered, call_method(*object, "__enter__", {}));
    TAPER_TRY(run_block(statement.body));
    TAPER_ASSIGN([[maybe_unused]] const Value left,
                 call_method(*object, "__exit__", {{"", None{}}, {"", None{}}, {"", None{}}}));
    return {};
  }
  return run_block(statement.body);
}

// ---- messages

std::string Interpreter::place(std::uint32_t line) const {
  const std::string at = frame_ && frame_->file ? fmt::format("line {} of {}", line, excerpt(frame_->file->path))
                                                : std::string("the call of the program");
  return frame_ && !frame_->scope.empty() ? fmt::format("{}: {}", frame_->scope, at) : at;
}

std::unexpected<Error> Interpreter::error_here(std::string message, std::string hint) const {
  Error error{std::move(message), {}, std::move(hint)};
  return std::unexpected(within(std::move(error), "in " + place(line_)));
}

void Interpreter::assume(std::string sentence) {
  constexpr std::size_t kMostSentences = 200;
  if (assumptions.size() < kMostSentences && std::ranges::find(assumptions, sentence) == assumptions.end())
    assumptions.push_back(std::move(sentence));
}

}  // namespace taper::torchscript
