#include "formats/torch_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "builders.h"

namespace taper {
namespace {

using pickle::Value;
using testing::HasSubstr;

const std::initializer_list<float> kSix = {1, 2, 3, 4, 5, 6};
const std::vector<double> kSixNumbers = {1, 2, 3, 4, 5, 6};

Checkpoint read_ok(const std::string& file) {
  auto checkpoint = read_torch_checkpoint(shared(file));
  EXPECT_TRUE(checkpoint) << checkpoint.error().text();
  return checkpoint ? std::move(*checkpoint) : Checkpoint{};
}

std::string error_of(const std::string& file) {
  const auto checkpoint = read_torch_checkpoint(shared(file));
  return checkpoint ? "" : checkpoint.error().text();
}

std::string six_floats_with(const std::string& pickled) {
  return torch_zip(protocol2(pickled), {stored("archive/data/0", floats_text(kSix))});
}

std::vector<double> values(const Value& value) {
  return to_double(value.tensor()->tensor);
}

TEST(TorchCheckpoint, reads_a_strided_view_in_place) {
  const Checkpoint checkpoint = read_ok(six_floats_with(pickled_tensor(pickled_storage("0", 6), 1, {2, 2}, {1, 3})));
  ASSERT_TRUE(checkpoint.root->tensor());
  EXPECT_EQ(values(*checkpoint.root), (std::vector<double>{2, 5, 3, 6}));
  EXPECT_EQ(checkpoint.root->tensor()->storage_key, "0");
  EXPECT_FALSE(checkpoint.root->tensor()->requires_grad);
  EXPECT_EQ(checkpoint.format, "PyTorch zip");
}

TEST(TorchCheckpoint, refuses_entries_whose_names_differ_in_case_alone) {
  const std::string tensor = protocol2(pickled_tensor(pickled_storage("0", 6), 0, {6}, {1}));
  const auto with = [&](const std::string& name) {
    return torch_zip(tensor, {stored("archive/data/0", floats_text(kSix)), stored(name, floats_text(kSix))});
  };
  EXPECT_THAT(error_of(with("archive/DATA/0")),
              HasSubstr("'archive/data/0' and 'archive/DATA/0' differ in case alone"));
  EXPECT_THAT(error_of(with("Archive/data.pkl")), HasSubstr("differ in case alone"));
  read_ok(with("archive/data/1"));
}

TEST(TorchCheckpoint, reads_deflated_storages_once_for_all_their_views) {
  const std::string tensor = pickled_tensor(pickled_storage("0", 6), 0, {6}, {1});
  const std::string file = zip_file(
      {compressed("x/data.pkl", protocol2("(" + tensor + tensor + "t")), compressed("x/data/0", floats_text(kSix))});
  const Checkpoint checkpoint = read_ok(file);
  const auto items = checkpoint.root->items();
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(values(*items[1]), kSixNumbers);
  EXPECT_EQ(items[0]->tensor()->tensor.storage.view.data(), items[1]->tensor()->tensor.storage.view.data());
}

TEST(TorchCheckpoint, reads_big_endian_storages) {
  std::string data = floats_text({1.5f});
  std::ranges::reverse(data);
  const std::string pickled = protocol2(pickled_tensor(pickled_storage("0", 1), 0, {}, {}));
  EXPECT_EQ(
      values(*read_ok(torch_zip(pickled, {stored("archive/data/0", data), stored("archive/byteorder", "big")})).root),
      std::vector<double>{1.5});
  EXPECT_THAT(error_of(torch_zip(pickled, {stored("archive/byteorder", "middle")})), HasSubstr("'middle'"));
}

TEST(TorchCheckpoint, the_error_names_the_tensor_and_the_place) {
  const auto in_dict = [](const std::string& tensor) {
    return six_floats_with("}" + pickled_text("layer.weight") + tensor + "s");
  };
  const std::pair<std::string, std::string> cases[] = {
      {pickled_tensor(pickled_storage("0", 6), 4, {3}, {1}), "its storage holds"},
      {pickled_tensor(pickled_storage("0", 7), 0, {3}, {1}), "should hold 7 elements of FloatStorage, the file has 6"},
      {pickled_tensor(pickled_storage("1", 6), 0, {3}, {1}), "no entry 'archive/data/1'"},
      {pickled_tensor(pickled_storage("0", 6), -1, {3}, {1}), "the offset is int -1"},
      {pickled_tensor(pickled_storage("0", 6), 0, {-3}, {1}), "negative size"},
      {pickled_tensor(pickled_storage("0", 6), 0, {3}, {-1}), "negative"},
      {pickled_tensor(pickled_storage("0", 6), 0, {3}, {1, 1}), "2 strides"},
      {pickled_tensor(pickled_storage("0", 6), 0, {0x7fffffff, 0x7fffffff, 0x7fffffff}, {0, 0, 0}), "2^63"},
      {pickled_tensor(pickled_storage("0", 6), 0, {0x7fffffff}, {0}), "repeats 1 elements"},
      {pickled_tensor("N", 0, {3}, {1}), "None stands for the storage"},
      {"ctorch._utils\n_rebuild_tensor_v2\n)R", "0 arguments, expected 4"},
      {"ctorch._utils\n_rebuild_tensor_v3\n(NNNNNNNtR", "None stands for the storage"},
  };
  for (const auto& [tensor, expected] : cases) {
    const std::string error = error_of(in_dict(tensor));
    EXPECT_THAT(error, HasSubstr(expected));
    EXPECT_THAT(error, HasSubstr("in tensor 'layer.weight' / in the call of torch._utils._rebuild_tensor_v"));
    EXPECT_THAT(error, HasSubstr("of the pickle / in entry 'archive/data.pkl'"));
  }
  EXPECT_THAT(error_of(in_dict("ctorch._utils\n_rebuild_parameter\n(" +
                               pickled_tensor(pickled_storage("0", 6), 4, {3}, {1}) + "\x88NtR")),
              HasSubstr("in tensor 'layer.weight'"));
}

TEST(TorchCheckpoint, a_storage_id_of_another_form_is_refused) {
  EXPECT_THAT(error_of(six_floats_with("(" + pickled_text("storage") + "tQ")), HasSubstr("not described by its class"));
  EXPECT_THAT(error_of(six_floats_with(pickled_storage("0", -1))), HasSubstr("not described by its class"));
}

TEST(TorchCheckpoint, tensors_that_are_no_weights_are_recorded_with_the_reason) {
  const auto reason = [](const std::string& pickled) {
    const Checkpoint checkpoint = read_ok(six_floats_with(pickled));
    return checkpoint.root->unsupported() ? checkpoint.root->unsupported()->reason : pickle::describe(*checkpoint.root);
  };
  EXPECT_EQ(reason("ctorch._utils\n_rebuild_sparse_tensor\n)R"), "is a sparse tensor");
  EXPECT_EQ(reason("ctorch._utils\n_rebuild_qtensor\n)R"), "is a quantised tensor");
  EXPECT_THAT(reason("ctorch._utils\n_rebuild_meta_tensor_no_storage\n)R"), HasSubstr("without data"));
  EXPECT_THAT(reason(pickled_tensor(pickled_storage("0", 3, "ComplexFloatStorage"), 0, {3}, {1})),
              HasSubstr("complex numbers"));
  EXPECT_THAT(reason(pickled_tensor(pickled_storage("0", 6), 0, {6}, {1}, "}" + pickled_text("neg") + "\x88s")),
              HasSubstr("negated"));
  EXPECT_EQ(reason("ctorch._utils\n_rebuild_parameter\n(ctorch._utils\n_rebuild_sparse_tensor\n)R\x88NtR"),
            "is a sparse tensor");
}

TEST(TorchCheckpoint, parameters_keep_their_flags) {
  const std::string tensor = pickled_tensor(pickled_storage("0", 6), 0, {6}, {1});
  for (const std::string& pickled : {"ctorch._utils\n_rebuild_parameter\n(" + tensor + "\x88NtR",
                                     "ctorch._utils\n_rebuild_parameter_with_state\n(" + tensor + "\x88N}tR",
                                     "ctorch.nn.parameter\nParameter\n(" + tensor + "\x88tR"}) {
    const Checkpoint checkpoint = read_ok(six_floats_with(pickled));
    ASSERT_TRUE(checkpoint.root->tensor()) << pickled;
    EXPECT_TRUE(checkpoint.root->tensor()->is_parameter);
    EXPECT_TRUE(checkpoint.root->tensor()->requires_grad);
  }
}

TEST(TorchCheckpoint, tensors_with_attributes_and_of_subclasses_are_tensors) {
  const std::string args =
      "(" + pickled_storage("0", 6) + pickled_int(0) + pickled_ints({6}) + pickled_ints({1}) + "\x88}t";
  const Checkpoint checkpoint =
      read_ok(six_floats_with("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n"
                              "ca.b\nMyTensor\n" +
                              args + "}tR"));
  ASSERT_TRUE(checkpoint.root->tensor());
  EXPECT_EQ(values(*checkpoint.root), kSixNumbers);
  // Any other function there stays an inert record.
  EXPECT_EQ(
      read_ok(six_floats_with("ctorch._tensor\n_rebuild_from_type_v2\n(ca.b\nrebuild\nca.b\nMyTensor\n" + args + "}tR"))
          .root->kind(),
      pickle::Kind::object);
}

// The function there is called by PyTorch although the pickle only imports it.
TEST(TorchCheckpoint, refuses_what_would_run_something_dangerous) {
  const auto refused = [](const std::string& body) {
    const auto checkpoint = read_torch_checkpoint(shared(torch_zip(protocol2(body))));
    return checkpoint ? "read" : checkpoint.error().message;
  };
  EXPECT_EQ(
      refused("}" + pickled_text("a") + "cposix\nsystem\n(U\x02idtRs"),
      "the checkpoint would run posix.system('id') (at byte 9 of 'archive/data.pkl') if Python loaded it: it runs "
      "shell commands");
  EXPECT_THAT(refused("cposix\nsystem\n0}"), testing::HasSubstr("would import posix.system (at byte 2 of"));
  EXPECT_THAT(refused("cposix\nsystem\n(U\x02idtR\xff"), testing::HasSubstr("would run posix.system('id')"));
}

TEST(TorchCheckpoint, an_untyped_storage_gets_its_type_from_the_tensor) {
  const std::string pickled = pickled_global("torch._utils", "_rebuild_tensor_v3") + "(" +
                              pickled_storage("0", 24, "UntypedStorage") + pickled_int(2) + pickled_ints({2}) +
                              pickled_ints({1}) + "\x89N" + pickled_global("torch", "uint32") + "tR";
  const Checkpoint checkpoint = read_ok(six_floats_with(pickled));
  ASSERT_TRUE(checkpoint.root->tensor());
  EXPECT_EQ(describe(checkpoint.root->tensor()->tensor), "uint32 [2]");
  EXPECT_EQ(values(*checkpoint.root)[0], 0x40400000);  // 3.0f
}

TEST(TorchCheckpoint, pythons_collections_become_data) {
  const auto described = [](const std::string& pickled) {
    return pickle::describe(*read_ok(six_floats_with(pickled)).root);
  };
  EXPECT_EQ(described("ccollections\nOrderedDict\n)R(\x8c\x01"
                      "aN\x8c\x01"
                      "bNu"),
            "dict of 2 entries");
  EXPECT_EQ(described("ccollections\nOrderedDict\n]((\x8c\x01"
                      "aNt(\x8c\x01"
                      "aK\x01te\x85R"),
            "dict of 1 entries");
  EXPECT_EQ(described("ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R\x8c\x01"
                      "aNs"),
            "dict of 1 entries");
  EXPECT_EQ(described("ccollections\nCounter\n}\x8c\x01"
                      "aK\x02s\x85R"),
            "dict of 1 entries");
  EXPECT_EQ(described("c__builtin__\nset\n](K\x01K\x02"
                      "e\x85R"),
            "set of 2 items");
  EXPECT_EQ(described("cbuiltins\nfrozenset\n](K\x01"
                      "e\x85R"),
            "frozenset of 1 items");
  EXPECT_EQ(described("ctorch\nSize\n(K\x01K\x02t\x85R"), "tuple of 2 items");
  EXPECT_EQ(described("c_codecs\nencode\n" +
                      pickled_text("\xc3\xbf"
                                   "a") +
                      pickled_text("latin1") + "\x86R"),
            "2 bytes");
  EXPECT_EQ(described("cbuiltins\nbytearray\nC\x03"
                      "abc\x85R"),
            "3 bytes");
  EXPECT_EQ(described("cbuiltins\ncomplex\nK\x01K\x02\x86R"), "object builtins.complex");
  EXPECT_EQ(described("cbuiltins\nset\nN\x85R"), "object builtins.set");
  EXPECT_EQ(described("cdatetime\ndate\nC\x04"
                      "abcd\x85R"),
            "object datetime.date");
}

TEST(TorchCheckpoint, a_state_dict_keeps_its_metadata) {
  const Checkpoint checkpoint = read_ok(six_floats_with("ccollections\nOrderedDict\n)R}\x8c\x09_metadata}sb"));
  ASSERT_TRUE(checkpoint.root->dict()->state);
  EXPECT_NE(pickle::find(*checkpoint.root->dict()->state, "_metadata"), nullptr);
}

TEST(TorchCheckpoint, numpy_scalars_become_numbers) {
  const auto scalar = [](const std::string& code, const std::string& order, const std::string& bytes) {
    const std::string dtype = "cnumpy\ndtype\n(" + pickled_text(code) + "\x89\x88tR(K\x03" + pickled_text(order) +
                              "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK" + raw("\0") + "tb";
    return pickle::describe(*read_ok(six_floats_with("cnumpy._core.multiarray\nscalar\n(" + dtype + "C" +
                                                     little(bytes.size(), 1) + bytes + "tR"))
                                 .root);
  };
  EXPECT_EQ(scalar("f4", "<", floats_text({1.5f})), "float 1.5");
  EXPECT_EQ(scalar("i2", ">", raw("\x00\x02")), "int 2");
  EXPECT_EQ(scalar("b1", "|", "\x01"), "True");
  EXPECT_EQ(scalar("u8", "<", std::string(8, '\xff')), "object numpy._core.multiarray.scalar");
  EXPECT_EQ(scalar("f4", "<", "abc"), "object numpy._core.multiarray.scalar");
  EXPECT_EQ(scalar("U1", "<", "abcd"), "object numpy._core.multiarray.scalar");
}

TEST(TorchCheckpoint, collections_copied_again_and_again_are_refused) {
  std::string pickled = "](";
  for (int i = 0; i < 1000; ++i) pickled += "K\x01";
  pickled +=
      "eq\x01"
      "0(";
  for (int i = 0; i < 1000; ++i)
    pickled +=
        "cbuiltins\nset\nq\x02"
        "0h\x02h\x01\x85R";
  EXPECT_THAT(error_of(six_floats_with(pickled + "t")), HasSubstr("copied"));
}

TEST(TorchCheckpoint, other_archives_are_refused_by_name) {
  const auto refusal = [](std::vector<std::string> names) {
    std::vector<ZipFileEntry> entries;
    for (std::string& name : names) entries.push_back(stored(std::move(name), "x"));
    return error_of(zip_file(entries));
  };
  EXPECT_THAT(refusal({"m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"}), HasSubstr("TorchScript"));
  EXPECT_THAT(refusal({"m/data.pkl", "m/constants.pkl", "m/bytecode.pkl"}), HasSubstr("mobile"));
  EXPECT_THAT(refusal({"m/archive_format", "m/models/model.json"}), HasSubstr("torch.export"));
  EXPECT_THAT(refusal({"serialized_exported_program.json", "version"}), HasSubstr("torch.export"));
  EXPECT_THAT(refusal({"X.npy"}), HasSubstr(".npz"));
  EXPECT_THAT(refusal({"word/document.xml"}), HasSubstr("without a data.pkl"));
  EXPECT_THAT(refusal({"a/data.pkl", "b/data.pkl"}), HasSubstr("2 files data.pkl"));
  EXPECT_THAT(error_of(torch_zip("N.", {stored("archive/.data/version", "99")})), HasSubstr("version '99'"));
}

TEST(TorchCheckpoint, the_tar_format_is_refused_by_name) {
  std::string tar(1024, '\0');
  tar.replace(257, 5, "ustar");
  EXPECT_THAT(error_of(tar), HasSubstr("tar"));
  EXPECT_THAT(error_of("hello"), HasSubstr("not a file of torch.save"));
}

// ---- the legacy format

std::string legacy_file(const std::string& pickled, const std::string& keys, const std::string& storages) {
  return raw("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.") + protocol2("M\xe9\x03") + protocol2("}") +
         protocol2(pickled) + protocol2(keys) + storages;
}

std::string legacy_storage(const std::string& view = "N") {
  return "(" + pickled_text("storage") + pickled_global("torch", "FloatStorage") + pickled_text("7") +
         pickled_text("cpu") + pickled_int(6) + view + "tQ";
}

TEST(TorchCheckpoint, reads_the_legacy_format) {
  const std::string storages = little(6, 8) + floats_text(kSix);
  const std::string keys = "](" + pickled_text("7") + "e";
  const Checkpoint checkpoint = read_ok(legacy_file(pickled_tensor(legacy_storage(), 1, {2}, {2}), keys, storages));
  EXPECT_EQ(checkpoint.format, "PyTorch legacy");
  EXPECT_EQ(values(*checkpoint.root), (std::vector<double>{2, 4}));
  // A view of elements 2 to 5 of the storage.
  const std::string view = "(" + pickled_text("70") + pickled_int(2) + pickled_int(3) + "t";
  EXPECT_EQ(values(*read_ok(legacy_file(pickled_tensor(legacy_storage(view), 1, {2}, {1}), keys, storages)).root),
            (std::vector<double>{4, 5}));
  EXPECT_THAT(error_of(legacy_file(pickled_tensor(legacy_storage(view), 2, {2}, {1}), keys, storages)),
              HasSubstr("its storage holds"));
  const std::string outside = "(" + pickled_text("70") + pickled_int(4) + pickled_int(3) + "t";
  EXPECT_THAT(error_of(legacy_file(pickled_tensor(legacy_storage(outside), 0, {2}, {1}), keys, storages)),
              HasSubstr("lies outside of storage '7'"));
}

TEST(TorchCheckpoint, classes_saved_with_their_source_are_classes) {
  const std::string module = "(" + pickled_text("module") + pickled_global("models.gru", "Net") +
                             pickled_text("gru.py") + pickled_text("class Net: ...") + "tQ";
  const Checkpoint checkpoint = read_ok(legacy_file(module + ")\x81}b", "]", ""));
  EXPECT_EQ(pickle::class_path(*checkpoint.root), "models.gru.Net");
}

TEST(TorchCheckpoint, refuses_broken_legacy_files) {
  const std::string tensor = pickled_tensor(legacy_storage(), 0, {6}, {1});
  const std::string keys = "](" + pickled_text("7") + "e";
  EXPECT_THAT(error_of(protocol2("N")), HasSubstr("not one written by torch.save"));
  EXPECT_THAT(error_of(legacy_file(tensor, "N", "")), HasSubstr("list of storages"));
  EXPECT_THAT(error_of(legacy_file(tensor, "]", "")), HasSubstr("no storage '7'"));
  EXPECT_THAT(error_of(legacy_file(tensor, keys, "")), HasSubstr("where storage '7' should start"));
  EXPECT_THAT(error_of(legacy_file(tensor, keys, little(6, 8) + "abc")), HasSubstr("has 3 bytes left"));
  EXPECT_THAT(error_of(legacy_file(tensor, keys, little(~std::uint64_t{0}, 8))), HasSubstr("declares -1 elements"));
  EXPECT_THAT(error_of(legacy_file(tensor, keys, little(std::uint64_t{1} << 62, 8))),
              HasSubstr("declares 4611686018427387904"));
  EXPECT_THAT(error_of(legacy_file("N", keys, "")), HasSubstr("that no tensor uses"));
  const std::string file = legacy_file(tensor, keys, little(6, 8) + floats_text(kSix));
  for (std::size_t size = 0; size < file.size(); ++size) EXPECT_NE(error_of(file.substr(0, size)), "") << size;
}

// ---- state dicts and modules

TEST(StateDict, is_a_dict_of_mostly_tensors) {
  const std::string tensor = pickled_tensor(pickled_storage("0", 6), 0, {6}, {1});
  const Checkpoint checkpoint =
      read_ok(six_floats_with("}(" + pickled_text("a") + tensor + pickled_text("b") + tensor + pickled_text("c") +
                              "K\x01" + pickled_text("d") + "ctorch._utils\n_rebuild_sparse_tensor\n)R" + "u"));
  const auto state = state_dict_of(*checkpoint.root);
  ASSERT_TRUE(state);
  ASSERT_EQ(state->tensors.size(), 2u);
  EXPECT_EQ(state->tensors[1].key, "b");
  EXPECT_EQ(state->others, std::vector<std::string>{"c"});
  EXPECT_EQ(state->unsupported.at(0).reason, "is a sparse tensor");
  EXPECT_FALSE(state_dict_of(*read_ok(six_floats_with("}" + pickled_text("a") + "Ns")).root));
  EXPECT_FALSE(state_dict_of(*read_ok(six_floats_with("}K\x01" + tensor + "s")).root));
  EXPECT_FALSE(state_dict_of(*read_ok(six_floats_with("N")).root));
}

// An object of class m.N with these dicts.
std::string pickled_module(const std::string& parameters, const std::string& buffers, const std::string& modules,
                           const std::string& more = "") {
  return "cm\nN\n)\x81}(" + pickled_text("_parameters") + "}(" + parameters + "u" + pickled_text("_buffers") + "}(" +
         buffers + "u" + pickled_text("_modules") + "}(" + modules + "u" + more + "ub";
}

TEST(Module, is_flattened_in_the_order_of_its_state_dict) {
  const std::string tensor = pickled_tensor(pickled_storage("0", 6), 0, {6}, {1});
  const std::string child = pickled_module(pickled_text("w") + tensor, "", "", pickled_text("num_heads") + "K\x04");
  const std::string hidden =
      pickled_text("_non_persistent_buffers_set") + "c__builtin__\nset\n](" + pickled_text("pe") + "e\x85R";
  const Checkpoint checkpoint =
      read_ok(six_floats_with(pickled_module(pickled_text("p") + tensor + pickled_text("none") + "N",
                                             pickled_text("pe") + tensor + pickled_text("mean") + tensor,
                                             pickled_text("attention") + child + pickled_text("gone") + "N", hidden)));
  const auto tree = flatten_module(*checkpoint.root);
  ASSERT_TRUE(tree) << tree.error().text();
  ASSERT_EQ(tree->modules.size(), 2u);
  EXPECT_EQ(tree->modules[1].path, "attention");
  EXPECT_EQ(tree->modules[1].class_path, "m.N");
  EXPECT_EQ(pickle::attribute(*tree->modules[1].object, "num_heads")->integer(), 4);
  std::vector<std::string> keys;
  for (const NamedTensor& each : tree->state.tensors) keys.push_back(each.key + (each.persistent ? "" : " (hidden)"));
  EXPECT_EQ(keys, (std::vector<std::string>{"p", "pe (hidden)", "mean", "attention.w"}));
}

TEST(Module, a_cycle_is_an_error) {
  const std::string loop = "cm\nN\n)\x81q\x01}(" + pickled_text("_parameters") + "}" + pickled_text("_buffers") + "}" +
                           pickled_text("_modules") + "}" + pickled_text("child") + "h\x01sub";
  const auto tree = flatten_module(*read_ok(six_floats_with(loop)).root);
  ASSERT_FALSE(tree);
  EXPECT_THAT(tree.error().text(), HasSubstr("cycle"));
}

TEST(Module, one_that_doubles_at_each_level_is_an_error_in_bounded_time) {
  std::string pickled = pickled_module("", "", "");
  for (int level = 1; level < 60; ++level) {
    const std::string slot = std::string("q") + static_cast<char>(level) + "0";
    const std::string get = std::string("h") + static_cast<char>(level);
    pickled += slot + pickled_module("", "", pickled_text("a") + get + pickled_text("b") + get);
  }
  const auto tree = flatten_module(*read_ok(six_floats_with(pickled)).root);
  ASSERT_FALSE(tree);
  EXPECT_THAT(tree.error().text(), HasSubstr("more than 64 places"));
}

TEST(Module, other_objects_are_no_modules) {
  EXPECT_FALSE(is_module(*read_ok(six_floats_with("cm\nN\n)\x81}b")).root));
  EXPECT_FALSE(flatten_module(*read_ok(six_floats_with("N")).root));
  const auto wrong_child =
      flatten_module(*read_ok(six_floats_with(pickled_module("", "", pickled_text("a") + "K\x01"))).root);
  ASSERT_FALSE(wrong_child);
  EXPECT_THAT(wrong_child.error().text(), HasSubstr("module 'a' is int 1"));
}

}  // namespace
}  // namespace taper
