"""What can be called: functions of Python, NumPy and PyTorch that end in code or files of the attacker's choice.

Many were published as gaps in the lists of scanners (the advisories of picklescan and fickling name them); others are
alike and stand for those that no list has yet. Each lies beside sound weights.
"""

import marshal

from attacks.assemble import called, named, value, whole
from attacks.record import CANARY, PYTHON, SHELL, HostileFile
from attacks.sound import beside_weights

GROUP = "gadgets"
WORDS = ["touch", CANARY]
NESTED = whole(called("posix:system", SHELL))


def gadget(path, *arguments, proof=True, name=None, runs=None):
    """A call of the function `module:name`."""
    dotted = path.replace(":", ".")
    return described(name or dotted, f"Calls {dotted}.", called(path, *arguments), runs or (dotted,), proof)


def described(name, about, code, runs, proof=True):
    word = name.replace(".", "_")
    return HostileFile(f"gadget_{word}.pt", GROUP, about, beside_weights(code), runs, proof)


def processes():
    """Start a process."""
    return [
        gadget("os:system", SHELL),
        gadget("nt:system", SHELL, proof=False),
        gadget("os:popen", SHELL),
        gadget("os:execvp", "touch", WORDS),
        gadget("os:spawnvp", 0, "touch", WORDS),
        gadget("posix:posix_spawn", "/usr/bin/touch", WORDS, {}),
        gadget("subprocess:Popen", WORDS),
        gadget("subprocess:run", WORDS),
        gadget("subprocess:call", WORDS),
        gadget("subprocess:check_output", WORDS),
        gadget("subprocess:getoutput", SHELL),
        gadget("_posixsubprocess:fork_exec", proof=False),
        gadget("pty:spawn", WORDS),
        gadget("multiprocessing.util:spawnv_passfds", b"/usr/bin/touch", WORDS, []),
        gadget("asyncio.unix_events:_UnixSubprocessTransport._start", proof=False),
        gadget("asyncio:create_subprocess_shell", SHELL, proof=False),
        gadget("pydoc:pipepager", "", SHELL),
        gadget("uuid:_get_command_stdout", "touch", CANARY),
        gadget("_osx_support:_read_output", SHELL),
        gadget("_aix_support:_read_cmd_output", SHELL, proof=False),
        gadget("imaplib:IMAP4_stream", SHELL),
        gadget("distutils.spawn:spawn", WORDS),
        gadget("test.support.script_helper:assert_python_ok", "-c", PYTHON),
        gadget("webbrowser:open", "file:///nowhere", proof=False),
        gadget("pip:main", ["--version"], proof=False),
        gadget("ensurepip:_run_pip", ["--version"], proof=False),
        gadget("venv:main", ["--help"], proof=False),
        gadget("platform:_syscmd_file", "/nowhere", proof=False),
        gadget(
            "_thread:start_new_thread",
            named("posix:system"),
            (SHELL,),
            proof=False,
            runs=("_thread.start_new_thread", "posix.system"),
        ),
        gadget("atexit:register", named("posix:system"), SHELL, proof=False, runs=("atexit.register", "posix.system")),
    ]


def sources():
    """Run Python source or bytecode."""
    nothing = {}
    code = marshal.dumps(compile(PYTHON, "<taper>", "exec"))
    function = called("types:FunctionType", called("marshal:loads", code), {"open": named("builtins:open")})
    interpreter = called("_xxsubinterpreters:create")
    return [
        gadget("builtins:eval", PYTHON),
        gadget("builtins:exec", PYTHON),
        gadget("__builtin__:eval", PYTHON, proof=False),
        gadget("builtins:compile", PYTHON, "", "exec", proof=False),
        gadget("builtins:breakpoint", proof=False),
        gadget(
            "runpy:_run_code",
            called("builtins:compile", PYTHON, "", "exec"),
            nothing,
            runs=("runpy._run_code", "builtins.compile"),
        ),
        gadget("runpy:run_path", "/nowhere/taper.py", proof=False),
        gadget(
            "code:InteractiveInterpreter.runcode",
            called("code:InteractiveInterpreter"),
            PYTHON,
            runs=("code.InteractiveInterpreter", "code.InteractiveInterpreter.runcode"),
        ),
        gadget("timeit:timeit", PYTHON),
        gadget("cProfile:run", PYTHON),
        gadget("profile:run", PYTHON),
        gadget("pdb:run", PYTHON, proof=False),
        gadget("bdb:Bdb.run", called("bdb:Bdb"), PYTHON, runs=("bdb.Bdb", "bdb.Bdb.run")),
        gadget("trace:Trace.run", called("trace:Trace"), PYTHON, runs=("trace.Trace", "trace.Trace.run")),
        gadget("doctest:debug_script", PYTHON, proof=False),
        gadget("idlelib.calltip:get_entity", f"open('{CANARY}', 'a')"),
        gadget(
            "_xxsubinterpreters:run_string",
            interpreter,
            PYTHON,
            runs=("_xxsubinterpreters.create", "_xxsubinterpreters.run_string"),
        ),
        described(
            "types.FunctionType",
            "Bytecode from marshal, made a function and called.",
            called(function),
            ("marshal.loads", "types.FunctionType", "builtins.open"),
        ),
        gadget("types:CodeType", 0, proof=False),
        gadget("cloudpickle.cloudpickle:_make_function", proof=False),
        gadget("dill._dill:_create_function", proof=False),
        gadget("ctypes:CDLL", "/nowhere/taper.so", proof=False),
        gadget("_ctypes:dlopen", "/nowhere/taper.so", 2, proof=False),
        gadget("site:addsitedir", "/nowhere/taper", proof=False),
    ]


def indirect():
    """Reach a function through others."""
    system, os_module = named("posix:system"), called("builtins:__import__", "os")
    return [
        described(
            "getattr",
            "getattr(importlib.import_module('os'), 'system').",
            called(called("builtins:getattr", called("importlib:import_module", "os"), "system"), SHELL),
            ("importlib.import_module", "builtins.getattr"),
        ),
        described(
            "attrgetter",
            "operator.attrgetter('system')(os).",
            called(called(called("operator:attrgetter", "system"), os_module), SHELL),
            ("operator.attrgetter", "builtins.__import__"),
        ),
        described(
            "methodcaller",
            "operator.methodcaller('system', ...)(os).",
            called(called("operator:methodcaller", "system", SHELL), os_module),
            ("operator.methodcaller", "builtins.__import__"),
        ),
        gadget("operator:call", system, SHELL, runs=("operator.call", "posix.system")),
        described(
            "functools.partial",
            "A partial of system, called.",
            called(called("functools:partial", system, SHELL)),
            ("functools.partial", "posix.system"),
        ),
        gadget("functools:reduce", named("builtins:exec"), [PYTHON, {}], runs=("functools.reduce", "builtins.exec")),
        described(
            "map",
            "list(map(system, ...)).",
            called("builtins:list", called("builtins:map", system, [SHELL])),
            ("builtins.map", "posix.system"),
        ),
        described(
            "starmap",
            "list(itertools.starmap(system, ...)).",
            called("builtins:list", called("itertools:starmap", system, [(SHELL,)])),
            ("itertools.starmap", "posix.system"),
        ),
        described(
            "filter",
            "An iterator that calls, consumed by a Counter.",
            called("collections:Counter", called("builtins:filter", system, [SHELL])),
            ("builtins.filter", "posix.system"),
        ),
        described(
            "pkgutil.resolve_name",
            "The name of a function as data.",
            called(called("pkgutil:resolve_name", "os:system"), SHELL),
            ("pkgutil.resolve_name",),
        ),
        described(
            "pydoc.locate", "The same by pydoc.", called(called("pydoc:locate", "os.system"), SHELL), ("pydoc.locate",)
        ),
        described(
            "defaultdict",
            "A defaultdict whose factory runs the command when a key is missed.",
            called("collections:defaultdict", called("functools:partial", system, SHELL)),
            ("functools.partial", "posix.system"),
            False,
        ),
        described(
            "weakref",
            "A command to be run when the object goes.",
            called("weakref:finalize", named("argparse:Namespace"), system, SHELL),
            ("weakref.finalize", "posix.system"),
            False,
        ),
    ]


def nested():
    """Load a further pickle."""
    stream = called("_io:BytesIO", NESTED)
    return [
        gadget("pickle:loads", NESTED),
        gadget("_pickle:loads", NESTED),
        gadget("pickle:load", stream),
        gadget("pickle:_loads", NESTED),
        gadget("torch:load", stream, proof=False),
        gadget("torch.serialization:load", stream, proof=False),
        gadget("torch.storage:_load_from_bytes", NESTED, runs=("torch.storage._load_from_bytes", "posix.system")),
        gadget("torch.hub:load", "nowhere/taper", "model", proof=False),
        gadget("torch.utils.data.datapipes.utils.decoder:basichandlers", "pickle", NESTED),
        gadget("torch.utils._config_module:ConfigModule.load_config", proof=False),
        gadget("numpy:load", "/nowhere/taper.npy", proof=False),
        gadget(
            "lib2to3.pgen2.grammar:Grammar.loads",
            called("lib2to3.pgen2.grammar:Grammar"),
            NESTED,
            runs=("lib2to3.pgen2.grammar.Grammar", "lib2to3.pgen2.grammar.Grammar.loads"),
        ),
        gadget("joblib:load", "/nowhere/taper.joblib", proof=False),
        gadget("pandas:read_pickle", "/nowhere/taper.pkl", proof=False),
        gadget("shelve:open", "/nowhere/taper", proof=False),
        gadget("multiprocessing.reduction:ForkingPickler.loads", NESTED),
    ]


def libraries():
    """Functions of PyTorch and NumPy that run code."""
    body = {"_code": f"import builtins\nbuiltins.exec({PYTHON!r})\ndef forward(self, x):\n    return x\n"}
    return [
        gadget("torch.jit.unsupported_tensor_ops:execWrapper", PYTHON, {}, {}),
        gadget("torch.utils.collect_env:run", SHELL),
        gadget("torch.utils.bottleneck.__main__:run_cprofile", PYTHON, {}, proof=False),
        gadget("torch._inductor.codecache:compile_file", "", "", ["touch", CANARY], proof=False),
        gadget("torch._dynamo.guards:GuardBuilder.get", proof=False),
        gadget("torch.fx.experimental.symbolic_shapes:ShapeEnv.evaluate_guards_expression", None, PYTHON, []),
        gadget("torch.fx.graph_module:_exec_with_source", PYTHON, {}),
        gadget("torch.fx.graph_module:reduce_graph_module", body, ""),
        gadget("torch.utils.cpp_extension:load_inline", "taper", "", proof=False),
        gadget("torch._ops:_Ops.load_library", None, "/nowhere/taper.so", proof=False),
        gadget("torch:from_file", CANARY, True, 1),
        gadget("torch:save", 1, CANARY),
        gadget("torch.package:PackageImporter", "/nowhere/taper.pt", proof=False),
        gadget("torch.distributed.rpc.internal:_run_function", proof=False),
        gadget("numpy.testing._private.utils:runstring", PYTHON, {}),
        gadget("numpy.f2py.crackfortran:myeval", PYTHON, {}, {}),
        gadget("numpy.f2py.crackfortran:getlincoef", PYTHON, {}),
        gadget("numpy:memmap", CANARY, "uint8", "w+", 0, (1,)),
        gadget("numpy:savetxt", CANARY, [1.0]),
        gadget("numpy.ctypeslib:load_library", "taper", "/nowhere", proof=False),
    ]


def files_of_the_user():
    """Write, replace or remove files."""
    return [
        gadget("_io:FileIO", CANARY, "w"),
        gadget("_io:open", CANARY, "w"),
        gadget("codecs:open", CANARY, "w"),
        gadget("logging:FileHandler", CANARY),
        gadget("shutil:copyfile", "/dev/null", CANARY),
        gadget("shutil:rmtree", "/nowhere/taper", proof=False),
        gadget("distutils.file_util:write_file", CANARY, ["x"]),
        gadget("sqlite3:connect", CANARY),
        gadget("zipfile:ZipFile", CANARY, "w"),
        gadget("gzip:open", CANARY, "w"),
        gadget("os:mkdir", CANARY),
        gadget("pathlib:Path.touch", called("pathlib:Path", CANARY), runs=("pathlib.Path.touch",)),
        gadget("socket:create_connection", ("127.0.0.1", 9), proof=False),
        gadget("urllib.request:urlopen", "file:///nowhere", proof=False),
        gadget("ssl:get_server_certificate", ("127.0.0.1", 9), proof=False),
    ]


def files():
    """Every file of this class."""
    assert value(None)
    return [*processes(), *sources(), *indirect(), *nested(), *libraries(), *files_of_the_user()]
