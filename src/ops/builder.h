// Appends operators to a graph with inferred types.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace taper {

// The first error sticks: later calls return nullptr and do nothing, so that a network reads as its formula; finish
// with status(). A nullptr operand other than an absent optional one can only come from such an error.
class Builder {
 public:
  explicit Builder(Graph& graph) : graph_(graph) {}

  Graph& graph() { return graph_; }

  // The single (first) result of a call.
  Value* operator()(std::string_view op, std::vector<Value*> operands, Attrs attrs = {}, std::string_view name = {});
  // All results.
  std::vector<Value*> call(std::string_view op, std::vector<Value*> operands, Attrs attrs = {},
                           std::string_view name = {}, std::vector<std::unique_ptr<Graph>> regions = {});

  // A call like that of `node` in another graph, with these operands and regions. Results keep their types where the
  // operands are as they were there, so that copying a graph costs no inference.
  std::vector<Value*> again(const Node& node, std::vector<Value*> operands,
                            std::vector<std::unique_ptr<Graph>> regions = {});

  Value* constant(Tensor tensor, std::string_view name = "constant");
  // A float32 constant of one value, of rank 0 unless a shape of ones is wanted.
  Value* scalar(double value);
  Value* scalar_i32(std::int64_t value);

  // New nodes get this scope until it changes.
  void set_scope(std::string scope) { scope_ = std::move(scope); }
  void set_error(Error error);
  bool failed() const { return error_.has_value(); }
  Status status() const;

 private:
  Graph& graph_;
  std::string scope_;
  std::optional<Error> error_;
};

}  // namespace taper
