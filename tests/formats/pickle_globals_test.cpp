#include "formats/pickle_globals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "formats/pickle_global_lists.h"

namespace taper::pickle {
namespace {

using testing::HasSubstr;
using Names = std::vector<std::pair<std::string, std::string>>;

Trust trust_of(const std::string& module, const std::string& name) {
  return judge(module, name).trust;
}

TEST(PickleGlobals, what_checkpoints_are_made_of_is_safe) {
  const Names names = {
      {"torch._utils", "_rebuild_tensor_v2"},
      {"torch._utils", "_rebuild_parameter"},
      {"torch", "FloatStorage"},
      {"torch.cuda", "HalfStorage"},
      {"torch", "bfloat16"},
      {"torch", "Size"},
      {"torch.nn.modules.linear", "Linear"},
      {"torch.nn.modules.rnn", "GRU"},
      {"torch.nn.parallel.data_parallel", "DataParallel"},
      {"torch.nn.functional", "relu"},
      {"torch.optim.adamw", "AdamW"},
      {"collections", "OrderedDict"},
      {"builtins", "set"},
      {"__builtin__", "long"},
      {"exceptions", "ValueError"},
      {"_codecs", "encode"},
      {"copy_reg", "_reconstructor"},
      {"copyreg", "__newobj__"},
      {"numpy.core.multiarray", "_reconstruct"},
      {"numpy._core.multiarray", "scalar"},
      {"numpy", "dtype"},
      {"datetime", "timedelta"},
      {"pathlib", "PosixPath"},
      {"pathlib._local", "PosixPath"},
      {"argparse", "Namespace"},
  };
  for (const auto& [module, name] : names) EXPECT_EQ(trust_of(module, name), Trust::safe) << module << " " << name;
}

// Each row is, or is like, a published way around a scanner that lists what is bad.
TEST(PickleGlobals, what_runs_code_is_dangerous_under_each_of_its_names) {
  const Names names = {
      {"os", "system"},
      {"posix", "system"},
      {"nt", "system"},
      {"commands", "getoutput"},
      {"popen2", "popen3"},
      {"subprocess", "Popen"},
      {"_posixsubprocess", "fork_exec"},
      {"builtins", "eval"},
      {"__builtin__", "execfile"},
      {"builtins", "map"},
      {"pty", "spawn"},
      {"asyncio.unix_events", "_UnixSubprocessTransport._start"},
      {"runpy", "_run_code"},
      {"pkgutil", "resolve_name"},
      {"importlib", "import_module"},
      {"marshal", "loads"},
      {"types", "FunctionType"},
      {"types", "CodeType"},
      {"operator", "attrgetter"},
      {"_operator", "methodcaller"},
      {"functools", "reduce"},
      {"itertools", "starmap"},
      {"cProfile", "runctx"},
      {"timeit", "timeit"},
      {"trace", "Trace.run"},
      {"pydoc", "pipepager"},
      {"doctest", "debug_script"},
      {"bdb", "Bdb.run"},
      {"_pyrepl.pager", "pipe_pager"},
      {"_osx_support", "_read_output"},
      {"_aix_support", "_read_cmd_output"},
      {"uuid", "_get_command_stdout"},
      {"imaplib", "IMAP4_stream"},
      {"_interpreters", "run_string"},
      {"_xxsubinterpreters", "run_string"},
      {"idlelib.pyshell", "ModifiedInterpreter.runcommand"},
      {"lib2to3.pgen2.grammar", "Grammar.loads"},
      {"test.support.script_helper", "assert_python_ok"},
      {"ensurepip._uninstall", "_main"},
      {"distutils.file_util", "write_file"},
      {"pickle", "loads"},
      {"_pickle", "Unpickler"},
      {"copyreg", "add_extension"},
      {"collections", "namedtuple"},
      {"logging.config", "_resolve"},
      {"socket", "create_connection"},
      {"ctypes", "CDLL"},
      {"sys", "modules"},
      {"pathlib", "os.system"},
      {"pip", "main"},
      {"pip._internal.cli.main", "main"},
      {"setuptools._vendor.jaraco", "context"},
      {"cloudpickle.cloudpickle", "_make_function"},
      {"dill._dill", "_create_function"},
      {"six.moves.builtins", "eval"},
      {"joblib", "load"},
      {"sympy", "sympify"},
      {"pandas", "read_pickle"},
      {"IPython.core.interactiveshell", "InteractiveShell"},
      {"cffi", "FFI"},
      {"webbrowser", "open"},
      {"numpy", "load"},
      {"numpy", "memmap"},
      {"numpy.testing._private.utils", "runstring"},
      {"numpy.testing", "os.system"},
      {"numpy.f2py.crackfortran", "getlincoef"},
      {"numpy.core", "_ufunc_reconstruct"},
      {"numpy._core", "_ufunc_reconstruct"},
      {"numpy.core._multiarray_umath", "add"},
      {"torch", "load"},
      {"torch", "os.system"},
      {"torch.hub", "load"},
      {"torch.serialization", "load"},
      {"torch.utils.cpp_extension", "load_inline"},
      {"torch._dynamo.guards", "GuardBuilder.get"},
      {"torch._inductor.codecache", "compile_file"},
      {"torch.utils._config_module", "ConfigModule.load_config"},
      {"torch.utils.bottleneck.__main__", "run_cprofile"},
      {"torch.utils.collect_env", "run"},
      {"torch.fx.graph_module", "reduce_graph_module"},
      {"torch.jit.unsupported_tensor_ops", "execWrapper"},
      {"torch.multiprocessing.reductions", "rebuild_storage_fd"},
      {"torch._utils", "_import_dotted_name"},
      {"torch.nn.modules.module", "warnings.sys"},
      {"torchvision.datasets.utils", "download_url"},
      {"fickling.fickle", "Pickled"},
      {"models", "system"},
      {"models", "os.system"},
      {"models", "np.load"},
  };
  for (const auto& [module, name] : names) {
    const Judgement judgement = judge(module, name);
    EXPECT_EQ(judgement.trust, Trust::dangerous) << module << " " << name;
    EXPECT_FALSE(judgement.reason.empty()) << module << " " << name;
    EXPECT_EQ(judge(module, name, std::vector<std::string>{"models", "torch", "os"}).trust, Trust::dangerous)
        << "trusting a package does not reach " << module << " " << name;
  }
}

TEST(PickleGlobals, no_safe_name_is_a_way_to_others) {
  for (const SafeNames& row : safe_names()) {
    const std::string module(row.module);
    const std::string name(row.names.substr(0, row.names.find(' ')));
    for (const char* walk : {"__globals__", "__init__.__globals__", "__class__", "os.system", "x.y"})
      EXPECT_EQ(trust_of(module, name + "." + walk),
                walk == std::string("x.y") ? trust_of(module, name + ".x.y") : Trust::dangerous)
          << module << " " << name << " " << walk;
    EXPECT_NE(trust_of(module, name + ".x"), Trust::safe);
    EXPECT_NE(trust_of(module + ".os", "system"), Trust::safe);
    EXPECT_NE(trust_of(module, name + "x_"), Trust::safe);
    EXPECT_NE(trust_of(module + " ", name), Trust::safe);
    EXPECT_NE(trust_of(module, name + "."), Trust::safe);
  }
}

TEST(PickleGlobals, an_attribute_of_a_harmless_class_is_only_doubtful) {
  const Judgement judgement = judge("pathlib", "PosixPath.write_text");
  EXPECT_EQ(judgement.trust, Trust::unknown);
  EXPECT_EQ(judgement.care, Care::method);
}

TEST(PickleGlobals, names_that_python_does_not_write_are_dangerous) {
  for (const char* name : {"", ".", "a..b", "a b", "1a", "system\r", "a-b", "\x1b[0m"})
    EXPECT_EQ(trust_of("models", name), Trust::dangerous) << name;
  EXPECT_EQ(trust_of("os ", "system"), Trust::dangerous);
  EXPECT_EQ(trust_of("", "system"), Trust::dangerous);
}

TEST(PickleGlobals, code_of_others_is_unknown_and_can_be_trusted) {
  EXPECT_EQ(trust_of("models.gru", "MediaPipeGRU"), Trust::unknown);
  EXPECT_EQ(trust_of("models.gru", "Outer.Inner"), Trust::unknown);
  EXPECT_EQ(trust_of("__main__", "Net"), Trust::unknown);
  EXPECT_EQ(trust_of("sklearn.svm._classes", "SVC"), Trust::unknown);
  EXPECT_EQ(trust_of("torchvision.models.resnet", "ResNet"), Trust::unknown);
  EXPECT_EQ(trust_of("torch.distributed.tensor", "DTensor"), Trust::unknown);
  const std::vector<std::string> trusted = {"models"};
  EXPECT_EQ(judge("models", "Net", trusted).trust, Trust::trusted);
  EXPECT_EQ(judge("models.gru", "Outer.Inner", trusted).trust, Trust::trusted);
  EXPECT_EQ(judge("models_of_others", "Net", trusted).trust, Trust::unknown);
}

TEST(PickleGlobals, reasons_say_what_it_does) {
  EXPECT_EQ(judge("posix", "system").reason, "runs shell commands");
  EXPECT_EQ(judge("builtins", "eval").reason, "runs Python code");
  EXPECT_THAT(judge("antigravity", "geohash").reason, HasSubstr("browser"));
  EXPECT_THAT(judge("zoneinfo", "ZoneInfo").reason, HasSubstr("standard library"));
  EXPECT_THAT(judge("models.gru", "Net").reason, HasSubstr("importing 'models.gru' runs its code"));
}

TEST(PickleGlobals, some_are_judged_by_their_arguments) {
  EXPECT_EQ(judge("builtins", "getattr").care, Care::attribute);
  EXPECT_EQ(judge("builtins", "type").care, Care::type_of);
  EXPECT_EQ(judge("operator", "getitem").care, Care::typing_item);
  EXPECT_EQ(judge("torch.storage", "_load_from_bytes").care, Care::nested_pickle);
  for (const CarefulName& row : careful_names()) EXPECT_EQ(judge(row.module, row.name).trust, Trust::dangerous);
}

}  // namespace
}  // namespace taper::pickle
