"""Every key of the configuration is read by the library, not only declared and checked.

Which section an attribute belongs to is followed through annotations, assignments and names of
sections, so that reading `training.num_steps` does not vouch for `bridge.num_steps`.
"""

import ast
import dataclasses
import pathlib

from i2sb_jax.config import Config
from i2sb_jax.models import UNetConfig

PACKAGE = pathlib.Path(__file__).parent.parent / "i2sb_jax"


def sections_of(cls):
    """Class name -> {field: class name of a section, or None}, for a configuration's classes."""
    found = {cls.__name__: {}}
    for field in dataclasses.fields(cls):
        nested = dataclasses.is_dataclass(field.type)
        found[cls.__name__][field.name] = field.type.__name__ if nested else None
        if nested:
            found |= sections_of(field.type)
    return found


SECTIONS = sections_of(Config) | sections_of(UNetConfig)
# ModelConfig is handed on whole, by name, to the network's own configuration
PASSED_ON = {"ModelConfig": "UNetConfig"}


class Reads(ast.NodeVisitor):
    """Collects (class, field) of what is read; checks of values do not count."""

    def __init__(self, sections):
        self.sections = sections
        self.found = set()
        self.types = {}  # "config", "self.config", … -> class name

    def kind(self, node):
        """The configuration class of an expression, None if it is none."""
        if isinstance(node, ast.Attribute):
            owner = self.kind(node.value)
            if owner is not None:
                return self.sections[owner].get(node.attr)
            # of an unknown object, `.training` and the like are told by their name
            if ast.unparse(node) not in self.types:
                return self.sections["Config"].get(node.attr)
        return self.types.get(ast.unparse(node))

    def only_owner(self, node):
        """Of `config.field` without annotation: the class, if no other has such a field."""
        owners = [name for name, fields in self.sections.items() if node.attr in fields]
        named = ast.unparse(node.value).rpartition(".")[2] == "config"
        return owners[0] if named and len(owners) == 1 else None

    def visit_Attribute(self, node):
        owner = self.kind(node.value) or self.only_owner(node)
        if owner is not None and isinstance(node.ctx, ast.Load):
            self.found.add((owner, node.attr))
        self.generic_visit(node)

    def visit_Assign(self, node):
        self.generic_visit(node)
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=True)
            for name, value in pairs:
                if (kind := self.kind(value)) is not None:
                    self.types[ast.unparse(name)] = kind

    def visit_AnnAssign(self, node):
        if (kind := ast.unparse(node.annotation).strip("'\"")) in self.sections:
            self.types[ast.unparse(node.target)] = kind
            self.types[f"self.{ast.unparse(node.target)}"] = kind
        self.generic_visit(node)

    def visit_ClassDef(self, node):
        before = dict(self.types)
        if node.name in self.sections:
            self.types["self"] = node.name
        self.generic_visit(node)
        self.types = before

    def visit_FunctionDef(self, node):
        if node.name == "__post_init__" or node.name.startswith("_check"):
            return
        before = dict(self.types)
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg) and argument.annotation is not None:
                kind = ast.unparse(argument.annotation).strip("'\"")
                if kind in self.sections:
                    self.types[argument.arg] = kind
        self.generic_visit(node)
        members = {name: kind for name, kind in self.types.items() if name.startswith("self.")}
        self.types = before | members


def reads(text, sections=SECTIONS):
    visitor = Reads(sections)
    visitor.visit(ast.parse(text))
    return visitor.found


def dead_keys(sections, found):
    """Fields of a class that nothing reads."""
    return sorted(
        f"{cls}.{field}"
        for cls, fields in sections.items()
        for field in fields
        if (PASSED_ON.get(cls, cls), field) not in found
    )


def test_every_key_is_read():
    files = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "config"]
    found = set().union(*(reads(path.read_text()) for path in files))
    assert dead_keys(SECTIONS, found) == []
    forgotten = {**SECTIONS, "BridgeConfig": {**SECTIONS["BridgeConfig"], "forgotten": None}}
    assert dead_keys(forgotten, found) == ["BridgeConfig.forgotten"]


def test_the_model_section_is_handed_on_whole():
    names = {name for name, kinds in SECTIONS.items() if set(kinds) >= set(SECTIONS["ModelConfig"])}
    assert names == {"ModelConfig", "UNetConfig"}


def test_reads_are_told_apart_by_section():
    def read(text):
        return {f"{cls}.{field}" for cls, field in reads(text)}

    steps = "TrainingConfig.num_steps"
    assert steps in read("def f(config: Config):\n    return config.training.num_steps")
    assert "BridgeConfig.num_steps" not in read("def f(c: Config):\n    c.training.num_steps")
    assert steps in read("def f(c: Config):\n    o = c.training\n    o.num_steps")
    assert steps in read("def f(o: TrainingConfig):\n    a, b = o.num_steps, 1")
    assert steps in read("restorer.config.training.num_steps")
    assert "UNetConfig.dtype" in read(
        "class A:\n    config: UNetConfig\n    def f(self):\n"
        "        config = self.config\n        config.dtype"
    )
    assert read("x.dtype") == set() and read("schedule.num_steps") == set()
    assert "DataConfig.crop" in read("def f(config):\n    config.crop")
    assert steps not in read("def f(config):\n    config.num_steps")
    assert read("def f(o: TrainingConfig):\n    pass\ndef g(o):\n    o.num_steps") == set()
    assert steps not in read("def f(o: TrainingConfig):\n    o.num_steps = 3")
    assert read("def _check(o: TrainingConfig):\n    o.num_steps") == set()
