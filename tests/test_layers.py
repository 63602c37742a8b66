"""The floors of the house, on the syntax tree: nothing low imports anything high, even lazily."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent

FLOORS = {
    0: ("types", "fields", "files", "jpeg_tables", "progress", "reasons"),
    1: ("bridge", "models", "corruptions", "pictures"),
    2: (
        *("config", "learning", "losses", "metrics", "checkpoint", "accelerators"),
        *("finite", "data", "interop", "zoo"),
    ),
    3: ("run", "sampling"),
    4: ("training", "restoration", "evaluation"),
    5: ("cli", "configs"),
}
FLOOR_OF = {part: floor for floor, parts in FLOORS.items() for part in parts}
PEERS = (1, 4)  # floors whose parts do not import each other

# package -> the only places that may import it
ONLY_IN = {
    "tensorflow": ("i2sb_jax/data/", "i2sb_jax/corruptions/tf_backend.py"),
    "tensorflow_datasets": ("i2sb_jax/data/",),
    "array_record": ("i2sb_jax/data/",),
    "flax": ("i2sb_jax/models/", "i2sb_jax/training/", "i2sb_jax/evaluation/"),
    "orbax": ("i2sb_jax/checkpoint.py", "i2sb_jax/accelerators/companions.py"),
    "ml_collections": ("configs/", "i2sb_jax/cli/"),
    "clu": ("i2sb_jax/training/writers.py", "i2sb_jax/data/", "i2sb_jax/cli/"),
    "wandb": ("i2sb_jax/training/writers.py",),
    "onnx": ("i2sb_jax/interop/onnx_graph.py", "i2sb_jax/restoration/onnx_programs.py"),
    "onnxruntime": ("i2sb_jax/restoration/onnx_programs.py",),
    "gradio": ("i2sb_jax/cli/demo.py",),
    "starlette": ("i2sb_jax/cli/demo.py",),
    "pickle": (),
    "cloudpickle": (),
    "dill": (),
    "marshal": (),
    "shelve": (),
}
BRIDGE_MAY_IMPORT = {"jax", "numpy", *sys.stdlib_module_names}


def sources(*folders):
    """(path from the root, text) of every Python file in `folders`."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def imports(tree):
    """Dotted names of all that a file imports anywhere; relative ones start with a dot."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = "." * level + (module or "")
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(attr=name),
                args=[ast.Constant(value=str(target)), *_],
            ) if name in ("import_module", "__import__"):
                yield target


def import_violations(path, name):
    if name.startswith("."):
        return [f"{path} imports {name} relatively"]
    package, _, rest = name.partition(".")
    found = []
    if package in ONLY_IN and not path.startswith(ONLY_IN[package] or ("nowhere",)):
        found.append(f"{path} imports {package}")
    if package in ("jax", "jaxlib") and any(part.startswith("_") for part in rest.split(".")):
        found.append(f"{path} imports the private {name}")
    if not path.startswith("i2sb_jax/"):
        return found
    if package in ("configs", "experiments", "tests"):
        found.append(f"{path} imports {package}")
    if path.startswith("i2sb_jax/bridge/") and package not in BRIDGE_MAY_IMPORT | {"i2sb_jax"}:
        found.append(f"{path} imports {package}")
    if package == "i2sb_jax":
        found += floor_violations(path, rest.partition(".")[0])
    return found


def floor_violations(path, part):
    mine = pathlib.PurePosixPath(path).parts[1].removesuffix(".py")
    low, high = FLOOR_OF[mine], FLOOR_OF[part]
    peers = low == high and low in PEERS and mine != part
    return [f"{path} (floor {low}) imports {part} (floor {high})"] if high > low or peers else []


def habit_violations(path, tree):
    """What is forbidden besides imports."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="jax"), attr=attr) if attr.startswith("_"):
                yield f"{path}:{node.lineno} uses the private jax.{attr}"
            case ast.keyword(arg="allow_pickle", value=value) if (
                not isinstance(value, ast.Constant) or value.value
            ):
                yield f"{path}:{value.lineno} allows pickle"
            case ast.Call(func=ast.Attribute(value=value, attr="get")) if (
                "config" in ast.unparse(value).lower()
            ):
                yield f"{path}:{node.lineno} reads a config with get()"


def violations(path, text):
    """All breaches of one file, as lines."""
    tree = ast.parse(text)
    found = [line for name in imports(tree) for line in import_violations(path, name)]
    found += habit_violations(path, tree)
    if pathlib.PurePosixPath(path).name in ("utils.py", "util.py", "helpers.py"):
        found.append(f"{path} has no subject")
    return found


def test_nothing_low_imports_anything_high():
    checked = list(sources("i2sb_jax", "configs"))
    assert len(checked) > 50
    assert [line for file in checked for line in violations(*file)] == []


def fragments(path, text):
    """Docstrings whose first word leaves the sentence without a subject."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            words = (ast.get_docstring(node) or "").split()
            if words and words[0] in ("Of", "What", "Where", "As"):
                yield f"{path}: {getattr(node, 'name', 'the file')} begins with {words[0]}"


def test_summaries_are_sentences():
    assert [line for file in sources("i2sb_jax") for line in fragments(*file)] == []
    assert len(list(fragments("x.py", '"""Of a file."""\ndef f():\n    """Where it is."""'))) == 2
    assert list(fragments("x.py", 'def f():\n    """Returns what it is."""')) == []


ARRAYS = ("Array", "jax.Array", "np.ndarray", "tf.Tensor", "PRNGKey", "Params", "Batch")
NOT_COUNTED = (*ARRAYS, "self", "cls")


def crowded(path, text):
    """Functions that take more than seven things besides arrays."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            args = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            types = [ast.unparse(arg.annotation) if arg.annotation else arg.arg for arg in args]
            others = [
                kind for kind in types if kind.split(" | ")[0] not in (*ARRAYS, "self", "cls")
            ]
            if len(others) > 7:
                yield f"{path}: {node.name} takes {len(others)}"


def test_no_function_takes_more_than_seven_things():
    assert [line for file in sources("i2sb_jax", "configs") for line in crowded(*file)] == []
    eight = ", ".join("abcdefgh")
    assert list(crowded("x.py", f"def f({eight}):\n    pass")) == ["x.py: f takes 8"]
    assert not list(crowded("x.py", f"def f({eight}: jax.Array | None):\n    pass"))


def test_every_part_has_a_floor():
    parts = {path.split("/")[1].removesuffix(".py") for path, _ in sources("i2sb_jax")}
    assert parts - {"__init__"} <= set(FLOOR_OF)


@pytest.mark.parametrize(
    "path, text, line",
    [
        ("bridge/x.py", "def f():\n    from i2sb_jax import run", "(floor 1) imports run"),
        ("bridge/x.py", "import i2sb_jax.models.unet", "(floor 1) imports models (floor 1)"),
        ("bridge/x.py", "import scipy.stats", "x.py imports scipy"),
        ("types.py", "from i2sb_jax.bridge import sample", "(floor 0) imports bridge"),
        ("data/x.py", "from i2sb_jax.training.loop import train", "(floor 2) imports training"),
        ("training/x.py", "import i2sb_jax.restoration", "imports restoration (floor 4)"),
        ("losses.py", "import importlib\nimportlib.import_module('i2sb_jax.cli')", "imports cli"),
        ("run.py", "import configs.base", "imports configs"),
        ("run.py", "from . import config", "relatively"),
        ("metrics.py", "import tensorflow as tf", "imports tensorflow"),
        ("corruptions/jpeg.py", "from tensorflow import io", "imports tensorflow"),
        ("restoration/x.py", "import flax.linen as nn", "imports flax"),
        ("training/x.py", "import orbax.checkpoint as ocp", "imports orbax"),
        ("config.py", "from ml_collections import ConfigDict", "imports ml_collections"),
        ("training/loop.py", "from clu import metric_writers", "imports clu"),
        ("training/report.py", "import wandb", "imports wandb"),
        ("restoration/trial.py", "import gradio as gr", "imports gradio"),
        ("restoration/programs.py", "import onnx", "imports onnx"),
        ("models/x.py", "from jax._src import core", "private jax._src"),
        ("models/x.py", "import jax\njax._src.core", "private jax._src"),
        ("interop/x.py", "import pickle", "imports pickle"),
        ("interop/x.py", "np.load(path, allow_pickle=True)", "allows pickle"),
        ("run.py", "config.model.get('width', 3)", "with get()"),
        ("data/utils.py", "", "has no subject"),
    ],
)
def test_a_breach_is_noticed(path, text, line):
    found = violations(f"i2sb_jax/{path}", text)
    assert len(found) == 1 and line in found[0], found


EXTRAS = (
    *("tensorflow", "tensorflow_datasets", "clu", "wandb", "array_record", "huggingface_hub"),
    *("gradio", "onnx", "onnxruntime"),
)
LIBRARY = (
    *("bridge", "models", "corruptions", "losses", "config", "run", "checkpoint"),
    *("accelerators.sharding", "accelerators.processes", "interop", "learning", "restoration"),
    *("sampling", "training.loop", "evaluation.job", "evaluation.statistics"),
    *("cli.restore", "cli.export", "cli.demo"),
)


@pytest.mark.parametrize(
    "parts, blocked",
    [
        # ml_collections is of the base install, for command lines: the library does without it
        (LIBRARY, (*EXTRAS, "ml_collections")),
        (("cli.import_checkpoint", "cli.evaluate"), EXTRAS),
    ],
)
def test_the_base_install_is_enough(parts, blocked):
    """What importing weights, restoring or a notebook needs imports without the extras."""
    program = (
        f"import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({blocked}))\n"
        f"for part in {parts}:\n"
        f"    importlib.import_module('i2sb_jax.' + part)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
