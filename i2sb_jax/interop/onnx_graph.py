"""A graph of ONNX operations, added one by one.

Values are names, and what is known beforehand is a NumPy array, of which the graph keeps one copy.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from i2sb_jax.types import Array

OPSET = 18  # of December 2022, which every runtime of today knows

Value: TypeAlias = str | np.ndarray
"""The name of a tensor, or a constant."""

Shape: TypeAlias = tuple[int | str, ...]
"""Lengths, those that are free by their names."""


class Graph:
    """Operations in the order in which they are added, with inputs, outputs and weights.

    Attributes:
        weights: name -> the array; the same name is the same array, in other graphs of a model too.
        inputs: name -> shape; all float32.
        outputs: likewise.
    """

    def __init__(self):
        """Begins an empty graph."""
        self.weights: dict[str, np.ndarray] = {}
        self.inputs: dict[str, Shape] = {}
        self.outputs: dict[str, Shape] = {}
        self._meaning: dict[str, str] = {}
        self._constants: dict[tuple, TensorProto] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._scopes: list[str] = []

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Calls all that is added within `name`/…, weights and operations."""
        self._scopes.append(name)
        yield
        self._scopes.pop()

    def input(self, name: str, shape: Shape, meaning: str) -> str:
        """Adds an input."""
        self.inputs[name], self._meaning[name] = shape, meaning
        return name

    def output(self, name: str, value: str, shape: Shape, meaning: str) -> None:
        """Gives a value out."""
        self.outputs[name], self._meaning[name] = shape, meaning
        self._nodes.append(helper.make_node("Identity", [value], [name], name))

    def weight(self, name: str, array: Array) -> str:
        """Returns the weight of this name in the scope; where there is none yet, the array is."""
        name = "/".join([*self._scopes, name])
        if name not in self.weights:
            self.weights[name] = np.ascontiguousarray(array, np.float32)
        return name

    def add(self, operation: str, *inputs: Value, outputs: int = 1, **attributes):
        """Adds an operation.

        Args:
            operation: its name in ONNX.
            *inputs: its inputs; "" for one that is left out.
            outputs: how many it has.
            **attributes: its attributes.

        Returns:
            The output, or a list where there are several.
        """
        name = "/".join([*self._scopes, f"{operation}_{len(self._nodes)}"])
        names = [name] if outputs == 1 else [f"{name}:{i}" for i in range(outputs)]
        given = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        self._nodes.append(helper.make_node(operation, given, names, name, **attributes))
        return name if outputs == 1 else names

    def described(self) -> dict[str, str]:
        """Returns name -> type, shape and meaning of the inputs and outputs."""
        return {
            name: f"float32[{', '.join(map(str, shape))}]: {self._meaning[name]}"
            for name, shape in {**self.inputs, **self.outputs}.items()
        }

    def _constant(self, value: np.ndarray) -> str:
        value = np.asarray(value)
        key = value.dtype, value.shape, value.tobytes()
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = numpy_helper.from_array(value, name)
        return self._constants[key].name

    def model(
        self, name: str, *, facts: Mapping[str, str], offsets: Mapping[str, int], file: str
    ) -> onnx.ModelProto:
        """Returns the model of the graph.

        Args:
            name: of the graph.
            facts: its metadata.
            offsets: name -> where in `file` the bytes of a weight begin; of all others they are in
                the model itself.
            file: beside the model.
        """
        tensors = [
            _outside(key, x, offsets[key], file) if key in offsets
            else numpy_helper.from_array(x, key)
            for key, x in self.weights.items()
        ]  # fmt: skip
        inputs, outputs = (
            [
                helper.make_tensor_value_info(key, TensorProto.FLOAT, shape, self._meaning[key])
                for key, shape in values.items()
            ]
            for values in (self.inputs, self.outputs)
        )
        graph = helper.make_graph(
            self._nodes, name, inputs, outputs, [*tensors, *self._constants.values()]
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph,
            opset_imports=[opset],
            ir_version=helper.find_min_ir_version_for([opset]),
            producer_name="i2sb_jax",
        )
        helper.set_model_props(model, dict(facts))
        return model


def size(graph: Graph, x: str, axis: int) -> str:
    """Returns the length of an axis, an int64 scalar."""
    length = graph.add("Shape", x, start=axis, end=axis + 1)
    return graph.add("Squeeze", length, np.array([0]))


def mirrored(graph: Graph, x: str, axis: int, *, before: int, after: int | str) -> str:
    """Pads an axis as NumPy's "symmetric" does, however short it is, which ONNX's Pad does not.

    Args:
        graph: of `x`.
        x: any tensor.
        axis: of it.
        before: entries in front.
        after: entries behind, a number or an int64 scalar.
    """
    length = size(graph, x, axis)
    end = graph.add("Add", length, after if isinstance(after, str) else np.int64(after))
    places = graph.add("Range", np.int64(-before), end, np.int64(1))
    period = graph.add("Mul", length, np.int64(2))
    there = graph.add("Mod", places, period)
    back = graph.add("Sub", graph.add("Sub", period, np.int64(1)), there)
    return graph.add("Gather", x, graph.add("Min", there, back), axis=axis)


def cut(graph: Graph, x: str, *, like: str, before: int = 0) -> str:
    """Returns the part of maps [..., h', w'] that is as large as others [..., h, w].

    Args:
        graph: of both.
        x: [b, c, h', w'].
        like: [b', c', h, w].
        before: the first row and column of the part.
    """
    sides = graph.add("Shape", like, start=2, end=4)
    ends = graph.add("Add", sides, np.int64([before, before]))
    return graph.add("Slice", x, np.int64([before, before]), ends, np.int64([2, 3]))


def _outside(name: str, array: np.ndarray, offset: int, file: str) -> TensorProto:
    tensor = TensorProto(name=name, dims=array.shape, data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
