"""No input can execute code: every call in the source, and hostile files."""

import ast
import io
import pickle
import re
import subprocess
from pathlib import Path

import pytest

from saliencymixplus.datasets.sources.cifar import _Plain

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted([*(REPOSITORY / "src" / "saliencymixplus").rglob("*.py"), REPOSITORY / "cli.py"])
# Where pickle is named at all: the restricted unpickler.
MAY_IMPORT_PICKLE = {"cifar.py"}
# The methods of our own package by name; a file that was written a moment before; the network of a
# model that the user has MLflow load.
MAY_CALL = {
    "registry.py": {"importlib.import_module"},
    "export.py": {"torch.jit.load", "torch.export.load"},
    "pyfunc.py": {"torch.export.load"},
}
FORBIDDEN_MODULES = {
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "yaml",
    "ctypes",
    "runpy",
}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "breakpoint"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "importlib.import_module"),
    *("os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "pty.spawn"),
    *("torch.hub.load", "torch.jit.load", "torch.package.PackageImporter", "torch.export.load"),
    *("mlflow.pytorch.load_model", "pytorch.load_model"),
}


def dotted(node: ast.expr) -> str:
    """``np.load`` of the syntax tree; empty for what is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}" if dotted(node.value) else ""
    return ""


def faults(code: str, name: str) -> list[str]:
    """Calls in a source file that could execute or fetch external content."""
    found = []
    for node in ast.walk(ast.parse(code)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        for module in modules:
            top = module.split(".")[0]
            if top in FORBIDDEN_MODULES or (top == "pickle" and name not in MAY_IMPORT_PICKLE):
                found.append(f"imports {module}")
        if isinstance(node, ast.Call):
            allowed = MAY_CALL.get(name, set())
            found += [fault for fault in call_faults(node) if fault[6:] not in allowed]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for host in re.findall(r"http://([\w.\[\]:-]*)", node.value):
                if not re.match(r"(localhost|127\.|\[::1\])", host):
                    found.append(f"http://{host}")
            if "0.0.0.0" in node.value:
                found.append("binds to every address")
    return found


def call_faults(node: ast.Call) -> list[str]:
    called = dotted(node.func)
    given = {k.arg: getattr(k.value, "value", ...) for k in node.keywords}
    found = []
    if called in FORBIDDEN_CALLS:
        found.append(f"calls {called}")
    if called == "torch.load" and given.get("weights_only") is not True:
        found.append("torch.load without weights_only=True")
    if called in ("np.load", "numpy.load", "np.save") and given.get("allow_pickle") is not False:
        found.append(f"{called} without allow_pickle=False")
    if called.endswith("YAML") and given.get("typ") != "safe":
        found.append("YAML that is not safe")
    if given.get("shell", False) is not False:
        found.append("a shell")
    if called.endswith((".extractall", ".extract", "unpack_archive")):
        found.append(f"unpacks an archive: {called}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_source_file_runs_what_it_reads(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8"), path.name) == []


@pytest.mark.parametrize(
    "code",
    [
        "import dill",
        "from pickle import loads",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path)",
        "YAML(typ='unsafe')",
        "YAML()",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "archive.extractall(folder)",
        "URL = 'http://example.org/x'",
        "HOST = '0.0.0.0'",
    ],
)
def test_the_look_finds_what_it_looks_for(code: str) -> None:
    assert len(faults(code, "any.py")) == 1


@pytest.mark.parametrize(
    "function", [eval, exec, open, getattr, __import__, subprocess.run, io.open_code, pickle.loads]
)
def test_the_one_unpickler_calls_none_of_these(function: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match="which no data set needs"):
        _Plain(io.BytesIO(pickle.dumps(function)), encoding="latin1").load()


def test_the_one_unpickler_knows_arrays_of_bytes_only() -> None:
    allowed = {name for _, name in _Plain._ALLOWED}
    assert allowed == {"ndarray", "dtype", "_reconstruct", "encode"}


OFFERED = ["Makefile", "README.md", "Dockerfile", "CONTRIBUTING.md", "docs"]


def test_every_server_that_we_tell_to_start_binds_to_loopback() -> None:
    paths = [REPOSITORY / name for name in OFFERED]
    files = [f for p in paths for f in (p.glob("*.md") if p.is_dir() else [p]) if f.is_file()]
    commands = [
        line
        for file in files
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(r'mlflow"? (ui|server) --|http\.server', line)
    ]
    assert len(commands) >= 2
    assert [line for line in commands if "127.0.0.1" not in line] == []
