// What attacks have used or could use, with what it does. The lists give reasons and tell dangerous from unknown; what
// is missing here is still not safe.
#include "formats/pickle_global_lists.h"

namespace taper::pickle {
namespace {

constexpr DangerousModules kDangerousModules[] = {
    {"os posix nt subprocess _posixsubprocess _subprocess commands popen2 pty os2 ce riscos", "runs shell commands"},
    {"asyncio _asyncio multiprocessing _multiprocessing concurrent threading _thread thread sched asyncore "
     "asynchat _winapi",
     "starts processes or threads"},
    {"sys", "reaches the running interpreter and every loaded module"},
    {"builtins __builtin__", "is not a type that data consist of"},
    {"code codeop bdb pdb timeit trace profile cProfile _lsprof hotshot doctest unittest rlcompleter cmd lib2to3 "
     "idlelib _pyrepl _xxsubinterpreters _interpreters test turtledemo compiler ihooks rexec Bastion new",
     "runs Python code"},
    {"importlib _frozen_importlib _frozen_importlib_external _imp imp pkgutil runpy zipimport zipapp modulefinder "
     "imputil site pydoc compileall py_compile",
     "imports or runs other modules"},
    {"pickle _pickle cPickle marshal shelve dbm copyreg copy_reg", "loads further pickles or code"},
    {"ctypes _ctypes _cffi_backend _rawffi cffi dl", "runs native code"},
    {"operator _operator", "reaches any attribute or method by name"},
    {"functools _functools itertools", "calls functions on the way"},
    {"types inspect gc dis ast symtable _ast opcode", "takes apart or makes code"},
    {"weakref atexit signal faulthandler contextlib", "makes code run later"},
    {"io _io _pyio codecs _codecs pathlib shutil tempfile glob fileinput linecache zipfile tarfile gzip bz2 lzma "
     "mmap fcntl filecmp compression msilib logging configparser ConfigParser sqlite3 _sqlite3 csv dircache "
     "posixfile",
     "reads or writes files"},
    {"socket _socket ssl _ssl select selectors socketserver SocketServer http httplib urllib urllib2 ftplib "
     "smtplib smtpd poplib imaplib nntplib telnetlib xmlrpc xmlrpclib wsgiref cgi cgitb BaseHTTPServer "
     "CGIHTTPServer SimpleHTTPServer SimpleXMLRPCServer DocXMLRPCServer",
     "reaches the network"},
    {"webbrowser antigravity", "opens a browser"},
    {"distutils ensurepip venv", "installs or builds packages"},
    {"resource _posixshmem winreg _winreg pwd spwd grp nis crypt syslog", "reaches the system"},
    {"pip setuptools pkg_resources wheel _distutils_hack easy_install uv poetry conda", "installs or builds packages"},
    {"cloudpickle dill jsonpickle joblib pickleshare hickle srsly klepto pathos multiprocess loky ppft pebble "
     "billiard",
     "loads further pickles or code"},
    {"cffi pycparser numba cython Cython pythran llvmlite pyximport weave cppyy pythoncom win32api win32com",
     "compiles or runs native code"},
    {"requests urllib3 httpx httpcore aiohttp aiofiles websocket websockets uvicorn hypercorn gunicorn tornado "
     "twisted flask django fastapi starlette celery kombu rq dramatiq paramiko fabric invoke pexpect ptyprocess "
     "plumbum sh boto3 botocore gradio streamlit gdown wget smart_open fsspec s3fs gcsfs",
     "reaches the network or starts programs"},
    {"huggingface_hub datasets.load", "downloads files"},
    {"IPython ipykernel jupyter nbconvert xonsh ptpython bpython code_generator execnet RestrictedPython asteval "
     "simpleeval numexpr pyparsing.testing",
     "runs Python code"},
    {"six.moves six future past lazy_import lazy_object_proxy importlib_metadata importlib_resources pluggy "
     "stevedore zope",
     "imports other modules under other names"},
    {"pytest _pytest py nose hypothesis testfixtures tox pre_commit coverage", "runs Python code"},
    {"fickling picklescan modelscan", "switches scanners off"},
    {"psutil sarge docker kubernetes pyautogui pynput keyboard selenium playwright pyppeteer", "reaches the system"},
    {"git gitdb svn hg pygit2 dulwich", "runs git"},
    {"jinja2 mako yaml ruamel", "evaluates texts"},
    {"tensorflow.keras.utils keras.utils keras.saving keras.src.saving keras.src.utils "
     "tensorflow.python.keras.utils",
     "rebuilds Python functions from data"},
    {"tensorflow.python.framework.load_library tensorflow.python.tools tensorflow.python.debug",
     "loads or runs further code"},
    {"torch.hub torch.utils.model_zoo torch.utils._config_module torch.utils.bottleneck torch.utils.collect_env "
     "torch.utils.cpp_extension torch.utils.hipify torch.utils._cpp_extension_versioner torch.utils.benchmark "
     "torch.utils.tensorboard torch.utils.data.datapipes torch.utils._freeze torch.utils.mobile_optimizer "
     "torch.utils.model_dump torch.utils.show_pickle torch.utils._get_clean_triton torch.utils.viz",
     "downloads, builds or runs code"},
    {"torch.serialization torch.package torch.jit torch._jit_internal torch.export torch.onnx torch.fx "
     "torch._export torch._lazy torch._classes torch.classes torch.ops torch._ops torch.library "
     "torch.cuda.jiterator",
     "loads or compiles further code"},
    {"torch._inductor torch._dynamo torch._functorch torch._prims torch._refs torch._decomp "
     "torch._higher_order_ops torch._subclasses torch.compiler torch._numpy torch._C._jit torch._C._dynamo",
     "compiles or runs code"},
    {"torch.distributed.rpc torch.distributed.elastic torch.distributed.launcher torch.distributed.run "
     "torch.distributed.launch torch.distributed.nn torch.multiprocessing torch.testing torch.profiler "
     "torch.contrib torch._weights_only_unpickler torch._appdirs torch._utils_internal torch._sources "
     "torch._guards torch._logging torch._strobelight torch._thread_safe_fork torch.cuda._memory_viz",
     "starts processes, reaches files or runs code"},
    {"numpy.f2py numpy.distutils numpy.testing numpy.ctypeslib numpy.lib numpy.compat", "reaches files or runs code"},
};

constexpr DangerousNames kDangerousNames[] = {
    {"",
     "system popen Popen check_output check_call getoutput getstatusoutput execv execve execvp spawnl spawnv "
     "startfile fork_exec run_path run_module import_module __import__ eval exec execfile",
     "is named like what runs commands or code, which other modules import under the same name"},
    {"builtins __builtin__", "eval exec execfile compile __import__ apply reload", "runs Python code"},
    {"builtins __builtin__",
     "getattr setattr delattr hasattr vars globals locals dir super property classmethod staticmethod "
     "__build_class__",
     "reaches any attribute"},
    {"builtins __builtin__", "map filter zip reduce iter next sorted min max sum any all enumerate reversed",
     "calls functions on the way"},
    {"builtins __builtin__", "open file input raw_input breakpoint print help exit quit memoryview",
     "reaches files, the terminal or the debugger"},
    {"numpy", "load save savez savez_compressed loadtxt savetxt genfromtxt fromfile memmap fromregex DataSource",
     "reads or writes files, and may load pickles"},
    {"numpy", "vectorize frompyfunc apply_along_axis apply_over_axes fromfunction piecewise fromiter",
     "calls functions on the way"},
    {"numpy.core numpy._core", "_ufunc_reconstruct", "imports what its arguments name"},
    {"torch", "load save compile hub jit load_library", "loads or compiles further code"},
    {"torch.storage", "_load_from_bytes", "loads a pickle inside of the pickle"},
    {"torch._utils", "_import_dotted_name", "imports what its arguments name"},
    {"sympy sympy.core.sympify sympy.parsing.sympy_parser sympy.utilities.lambdify "
     "sympy.plotting.experimental_lambdify",
     "sympify parse_expr lambdify eval_expr S preview", "runs Python code"},
    {"pandas pandas.io.pickle pandas.io.common pandas.core.computation.eval pandas.io.parsers pandas.core.frame",
     "read_pickle to_pickle eval read_csv read_json read_html read_sql read_parquet read_hdf get_handle urlopen "
     "DataFrame.eval DataFrame.query",
     "evaluates texts, reads files or loads further pickles"},
    {"scipy scipy.io scipy.io.matlab scipy._lib._testutils scipy.misc", "loadmat savemat _run_concurrent_barrier who",
     "reads files or runs code"},
    {"tensorflow tensorflow.io.gfile tensorflow.python.lib.io.file_io tensorflow.python.ops.script_ops",
     "py_function numpy_function py_func load_op_library load_library eager_py_func read_file write_file "
     "delete_recursively rename copy",
     "reads or writes files, or runs code"},
    {"keras keras.models keras.layers keras.layers.core keras.layers.core.lambda_layer "
     "keras.src.layers.core.lambda_layer keras.src.saving.saving_lib tensorflow.python.keras.layers.core "
     "tensorflow.keras.layers",
     "Lambda load_model deserialize from_config func_load", "runs Python code that it carries"},
    {"sklearn.utils._joblib sklearn.externals.joblib sklearn.datasets",
     "load dump load_files fetch_openml load_svmlight_file", "reads files or loads further pickles"},
    {"transformers transformers.utils transformers.dynamic_module_utils",
     "pipeline get_class_from_dynamic_module get_class_in_module custom_object_save check_imports",
     "downloads or runs code"},
    {"hydra.utils hydra._internal.utils hydra._internal.instantiate._instantiate2",
     "instantiate call get_method get_class get_object _locate", "imports and calls what its arguments name"},
    {"cloudpickle.cloudpickle", "_builtin_type _make_function subimport _make_skeleton_class",
     "rebuilds Python functions from data"},
};

constexpr std::string_view kStandardModules =
    "BaseHTTPServer Bastion CGIHTTPServer ConfigParser Cookie DLFCN Dialog DocXMLRPCServer EasyDialogs FileDialog "
    "FixTk HTMLParser MacOS MimeWriter Queue SUNAUDIODEV ScrolledText SimpleDialog SimpleHTTPServer "
    "SimpleXMLRPCServer SocketServer StringIO Tix Tkconstants Tkdnd Tkinter UserDict UserList UserString "
    "_LWPCookieJar _MozillaCookieJar __builtin__ __future__ __hello__ __phello__ __pypy__ _abc _abcoll _aix_support "
    "_android_support _apple_support _ast _ast_unparse _asyncio _bisect _blake2 _bootlocale _bootsubprocess _bsddb "
    "_bz2 _cffi_backend _codecs _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _collections "
    "_collections_abc _colorize _compat_pickle _compression _contextvars _crypt _csv _ctypes _ctypes_test _curses "
    "_curses_panel _datetime _dbm _decimal _dummy_thread _elementtree _frozen_importlib _frozen_importlib_external "
    "_functools _gdbm _hashlib _heapq _hmac _hotshot _imp _interpchannels _interpqueues _interpreters _io "
    "_ios_support _json _locale _lsprof _lzma _markupbase _md5 _msi _multibytecodec _multiprocessing _opcode "
    "_opcode_metadata _operator _osx_support _overlapped _peg_parser _pickle _posixshmem _posixsubprocess _py_abc "
    "_py_warnings _pydatetime _pydecimal _pyio _pylong _pyrepl _queue _random _rawffi _remote_debugging _scproxy _sha "
    "_sha1 _sha2 _sha256 _sha3 _sha512 _signal _sitebuiltins _socket _sqlite3 _sre _ssl _stat _statistics _string "
    "_strptime _struct _subprocess _suggestions _symtable _sysconfig _testbuffer _testcapi _testclinic "
    "_testclinic_limited _testexternalinspection _testimportmultiple _testinternalcapi _testlimitedcapi "
    "_testmultiphase _testsinglephase _thread _threading_local _tkinter _tokenize _tracemalloc _types _typing _uuid "
    "_warnings _weakref _weakrefset _winapi _winreg _wmi _xxinterpchannels _xxsubinterpreters _xxtestfuzz _zoneinfo "
    "_zstd abc aepack aetools aifc annotationlib antigravity anydbm argparse array ast asynchat asyncio asyncore "
    "atexit audioop autoGIL base64 bdb binascii binhex bisect bsddb bsddb185 builtins bz2 cPickle cProfile cStringIO "
    "calendar ce cgi cgitb chunk cmath cmd code codecs codeop collections colorsys commands compileall compiler "
    "compression concurrent configparser contextlib contextvars cookielib copy copy_reg copyreg crypt csv ctypes "
    "curses dataclasses datetime dbhash dbm decimal difflib dircache dis distutils dl doctest dumbdbm dummy_thread "
    "dummy_threading email encodings ensurepip enum errno exceptions faulthandler fcntl filecmp fileinput findertools "
    "fnmatch formatter fractions ftplib functools future_builtins gc gdbm genericpath gensuitemodule getopt getpass "
    "gettext glob gopherlib graphlib grp gzip hashlib heapq hmac hotshot html htmlentitydefs htmllib http httplib "
    "idlelib ihooks imaplib imghdr imp importlib imputil inspect io ipaddress itertools json keyword lib2to3 "
    "linecache linuxaudiodev locale logging lzma mac macostools macpath macurl2path mailbox mailcap markupbase "
    "marshal math md5 mhlib mimetools mimetypes mimify mmap modulefinder msilib msvcrt multifile multiprocessing "
    "netrc new nis nntplib nt ntpath nturl2path numbers opcode operator optparse os os2 os2emxpath ossaudiodev parser "
    "pathlib pdb pickle pickletools pipes pkgutil platform plistlib popen2 poplib posix posixfile posixpath pprint "
    "profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat pypyjit queue quopri random re readline repr "
    "reprlib resource rexec rfc822 riscos riscosenviron riscospath rlcompleter robotparser runpy sched secrets select "
    "selectors sgmllib sha shelve shlex shutil signal site smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre "
    "sre_compile sre_constants sre_parse ssl stat statistics statvfs string stringprep strop struct subprocess sunau "
    "sunaudio sunaudiodev symbol symtable sys sysconfig syslog tabnanny tarfile telnetlib tempfile termios test "
    "textwrap this thread threading time timeit tkColorChooser tkCommonDialog tkFileDialog tkFont tkMessageBox "
    "tkSimpleDialog tkinter token tokenize tomllib trace traceback tracemalloc ttk tty turtle turtledemo types typing "
    "unicodedata unittest urllib urllib2 urlparse uu uuid venv warnings wave weakref webbrowser whichdb winreg "
    "winsound wsgiref xdrlib xml xmlrpc xmlrpclib xxlimited xxlimited_35 xxsubtype zipapp zipfile zipimport zlib "
    "zoneinfo";

}  // namespace

std::span<const DangerousModules> dangerous_modules() {
  return kDangerousModules;
}

std::span<const DangerousNames> dangerous_names() {
  return kDangerousNames;
}

std::string_view standard_modules() {
  return kStandardModules;
}

}  // namespace taper::pickle
