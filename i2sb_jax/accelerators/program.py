"""A compiled program's work and needs, read from the compiler's own account of it.

XLA's cost analysis counts the body of a loop once, however often it runs. Its text says what a body
holds and how often it runs: matrix products and collectives are counted from there. For GPUs there
is no cost analysis of programs that a machine without a GPU compiled, and that of a machine with
one counts -1 for each call of NVIDIA's libraries: all comes from the text then.
"""

import collections
import math
import re
from typing import NamedTuple

import jax
import numpy as np

_COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")
_ITEM_BITS = {"pred": 8, "bf16": 16}  # of other types the name ends in the number
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_OPERATION = re.compile(r"  (?:ROOT )?%?([\w.-]+) = (.*)$")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|(?:true|false)_computation|branch_computations)="
    r"\{?([^,}]+(?:, *%[^,}]+)*)"
)
# matrix products of a library; those of NVIDIA's have their shapes in the text
_LIBRARY = re.compile(r'custom_call_target="([^"]*(?:gemm|matmul|conv|fmha)[^"]*)"', re.IGNORECASE)
_NVIDIA = ("__cublas$", "__cudnn$conv", "__cudnn$fmha")
# of attention: scores and their mean of values; on the way back scores again, and four gradients
_ATTENTION_PRODUCTS = {"forward": 2, "backward": 5}
_ROLES = ("condition", "body")


class Memory(NamedTuple):
    """Bytes that a program needs on a device.

    Attributes:
        arguments: what it is given.
        outputs: what it returns and does not write over its arguments.
        temporaries: what it needs in between.
        code: of the program itself.
    """

    arguments: int
    outputs: int
    temporaries: int
    code: int

    @property
    def total(self) -> int:
        return sum(self)


class Collective(NamedTuple):
    """Operations of one kind by which devices exchange data, over one run of a program.

    Attributes:
        count: how many.
        bytes: of their results on a device.
    """

    count: int
    bytes: int


class Program(NamedTuple):
    """The account of a compiled program, for one device.

    Attributes:
        flops: of one run, a multiply-add counted as two; where the compiler has no account of its
            own, as for GPUs, those of matrix products and convolutions alone.
        memory: bytes.
        collectives: kind, such as "all-gather" -> how many and how large.
        uncounted: calls of matrix libraries whose shapes are not known, and whose `flops` are
            counted once, as those of CPUs inside loops, or not at all, where the compiler has no
            account.
        libraries: calls of NVIDIA's matrix libraries, target -> how many, as they run.
    """

    flops: float
    memory: Memory
    collectives: dict[str, Collective]
    uncounted: int
    libraries: dict[str, int]


class _Operation(NamedTuple):
    name: str
    shapes: tuple[tuple[int, ...], ...]  # of the result; several of a tuple
    bytes: int
    opcode: str
    operands: tuple[str, ...]  # names
    inside: str  # of the parentheses behind the opcode
    attributes: str  # what follows them


def memory_of(compiled: jax.stages.Compiled) -> Memory:
    """Returns the bytes that a compiled program needs on a device."""
    memory = compiled.memory_analysis()
    return Memory(
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
    )


def read_program(compiled: jax.stages.Compiled) -> Program:
    """Reads a compiled program.

    Args:
        compiled: of `jax.jit(…).lower(…).compile()`, for any platform.

    Raises:
        ValueError: the text has a loop with matrix products or collectives and does not tell how
            often it runs.
    """
    computations = _computations(compiled.as_text())
    rounds = _rounds(computations)
    once = {name: _matrix_flops(operations) for name, operations in computations.items()}
    targets = {name: _libraries(operations) for name, operations in computations.items()}
    is_nvidia = any(each.startswith(_NVIDIA) for found in targets.values() for each in found)
    cost = None if is_nvidia else compiled.cost_analysis()
    others = cost["flops"] - sum(once.values()) if cost else 0.0
    calls: dict[str, int] = collections.defaultdict(int)
    uncounted = 0
    for name, found in targets.items():
        for target in found:
            if target.startswith(_NVIDIA):
                calls[target] += rounds.get(name, 0)
            else:
                uncounted += rounds.get(name, 0) > (1 if cost else 0)
    return Program(
        flops=others + sum(rounds.get(name, 0) * flops for name, flops in once.items()),
        memory=memory_of(compiled),
        collectives=_collectives(computations, rounds),
        uncounted=uncounted,
        libraries=dict(sorted(calls.items())),
    )


def _libraries(operations: list[_Operation]) -> list[str]:
    """The targets of calls of matrix libraries."""
    return [target for target in map(_library, operations) if target is not None]


def _library(operation: _Operation) -> str | None:
    """The target of a call of a matrix library; None of any other operation."""
    found = _LIBRARY.search(operation.attributes)
    return found[1] if found else None


def _collectives(
    computations: dict[str, list[_Operation]], rounds: dict[str, int]
) -> dict[str, Collective]:
    # one that runs beside computations is told several times, at its start and in what it runs
    # beside: always by the same channel
    channels: dict[tuple[str, str], tuple[int, int]] = {}
    for name, operations in computations.items():
        sizes = {operation.name: operation.bytes for operation in operations}
        for operation in operations:
            kind, start, _ = operation.opcode.partition("-start")
            if kind in _COLLECTIVES:
                size, given = operation.bytes, sum(sizes[each] for each in operation.operands)
                if start and kind == "collective-permute":  # with what it is given, and its state
                    size = given
                elif start and kind != "all-reduce":  # with what it is given
                    size -= given
                channel = re.search(r"channel_id=(\d+)", operation.attributes)
                key = kind, channel[1] if channel else f"{name}/{operation.name}"
                channels[key] = max(channels.get(key, (0, 0)), (rounds[name], size))
    found: dict[str, Collective] = {}
    for (kind, _), (times, size) in sorted(channels.items()):
        so_far = found.get(kind, Collective(0, 0))
        found[kind] = Collective(so_far.count + times, so_far.bytes + times * size)
    return found


def _computations(text: str) -> dict[str, list[_Operation]]:
    """Name -> operations; the entry's name is ""."""
    found: dict[str, list[_Operation]] = {}
    current: list[_Operation] = []
    for line in text.splitlines():
        if match := _OPERATION.match(line):
            current.append(_operation(*match.groups()))
        elif match := _COMPUTATION.match(line):
            name = "" if line.startswith("ENTRY") else match[1]
            current = found.setdefault(name, [])
    return found


def _operation(name: str, text: str) -> _Operation:
    # a tuple's type is in parentheses, any other has no space in it
    end = _closing(text, 0) + 1 if text.startswith("(") else text.index(" ")
    kind, (opcode, _, rest) = text[:end], text[end:].strip().partition("(")
    arrays = [
        (dtype, tuple(int(n) for n in dims.split(",") if n))
        for dtype, dims in re.findall(r"([a-z]\w*)\[([\d,]*)\]", kind)
    ]
    closing = _closing("(" + rest, 0) - 1
    return _Operation(
        name=name,
        shapes=tuple(shape for _, shape in arrays),
        bytes=sum(_item_bits(dtype) * math.prod(shape) // 8 for dtype, shape in arrays),
        opcode=opcode,
        operands=tuple(re.findall(r"%([\w.-]+)", rest[:closing])),
        inside=rest[:closing],
        attributes=rest[closing:],
    )


def _closing(text: str, start: int) -> int:
    """Returns the place of the parenthesis that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if not depth:
            return i
    raise ValueError(f"not a line of an XLA program: {text[:200]}")


def _item_bits(dtype: str) -> int:
    if dtype in _ITEM_BITS:
        return _ITEM_BITS[dtype]
    bits = re.search(r"\d+", dtype)
    return int(bits[0]) if bits else 0  # a token has none


def _rounds(computations: dict[str, list[_Operation]]) -> dict[str, int]:
    """Name -> how often a computation runs in one run of the program."""
    found: dict[str, int] = collections.defaultdict(int)

    def visit(name: str, times: int) -> None:
        found[name] += times
        for operation in computations.get(name, []):
            inside = times
            if operation.opcode == "while":
                inside *= _trip_count(operation, computations[name], computations)
            for called in _called(operation):
                visit(called, inside)

    visit("", 1)
    return found


def _called(operation: _Operation) -> list[str]:
    groups = _CALLED.findall(operation.attributes)
    return [name.strip(" %") for group in groups for name in group.split(",")]


def _trip_count(
    loop: _Operation, around: list[_Operation], computations: dict[str, list[_Operation]]
) -> int:
    """How often a loop's body runs.

    Where no annotation says so, its condition compares a counter, one element of the state that
    goes round, to a bound. The compiler may have unrolled the body, and then the counter takes
    larger strides.
    """
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes):
        return int(known[1])
    outside = {operation.name: operation for operation in around}
    condition, body = (
        {each.name: each for each in computations[name[1]]}
        for name in (re.search(rf"{role}=%?([\w.-]+)", loop.attributes) for role in _ROLES)
    )
    try:
        compare = _last(condition)
        compared, first_is_bound = compare.operands, _is_number(condition, compare.operands[0])
        assert f"direction={'GT' if first_is_bound else 'LT'}" in compare.attributes
        bound = next(
            int(condition[name].inside) for name in compared if _is_number(condition, name)
        )
        counter = next(i for name in compared if (i := _element(condition, name)) is not None)
        step = _source(body, _last(body).operands[counter])
        stride = next(int(body[name].inside) for name in step.operands if _is_number(body, name))
        first = _source(outside, _source(outside, loop.operands[0]).operands[counter])
        assert first.opcode == "constant" and step.opcode == "add" and stride > 0
        assert any(_element(body, name) == counter for name in step.operands)
        return max(0, -(-(bound - int(first.inside)) // stride))
    except (AssertionError, IndexError, KeyError, StopIteration, ValueError):
        if not _matters(loop, computations):
            return 1
        raise ValueError(f"the program does not tell how often {loop.name} runs") from None


def _matters(operation: _Operation, computations: dict[str, list[_Operation]]) -> bool:
    """Whether there is something to count in what an operation calls."""
    for name in _called(operation):
        for each in computations.get(name, []):
            kind = each.opcode.removesuffix("-start")
            counted = kind in ("dot", "convolution", *_COLLECTIVES)
            if counted or _library(each) or _matters(each, computations):
                return True
    return False


def _last(computation: dict[str, _Operation]) -> _Operation:
    """Returns the operation whose value a computation returns: the text ends with it."""
    return next(reversed(computation.values()))


def _source(computation: dict[str, _Operation], name: str) -> _Operation:
    """The operation of a name, or what it is a copy of."""
    while computation[name].opcode == "copy":
        name = computation[name].operands[0]
    return computation[name]


def _is_number(computation: dict[str, _Operation], name: str) -> bool:
    return computation[name].opcode == "constant"


def _element(computation: dict[str, _Operation], name: str) -> int | None:
    """Which element of the state that goes round an operation is; None if it is none."""
    source = _source(computation, name)
    if source.opcode != "get-tuple-element":
        return None
    return int(re.search(r"index=(\d+)", source.attributes)[1])


def _matrix_flops(operations: list[_Operation]) -> int:
    """FLOPs of the matrix products and convolutions of one computation."""
    shapes = {operation.name: operation.shapes[0] for operation in operations if operation.shapes}
    total = 0
    for operation in operations:
        if operation.opcode == "dot":
            contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", operation.attributes)[1]
            left = shapes[operation.operands[0]]
            summed = math.prod(left[int(axis)] for axis in contracted.split(",") if axis)
            total += 2 * math.prod(operation.shapes[0]) * summed
        elif operation.opcode == "convolution":
            left, right = (shapes[name] for name in operation.operands[:2])
            total += _convolution_flops(operation, left, right, operation.shapes[0])
        elif target := _library(operation):
            total += _library_flops(target, operation, shapes)
    return total


def _library_flops(target: str, operation: _Operation, shapes: dict[str, tuple[int, ...]]) -> int:
    """FLOPs of a call of NVIDIA's libraries; none of another's."""
    if not target.startswith(_NVIDIA):
        return 0
    first, second = (shapes[name] for name in operation.operands[:2])
    result = operation.shapes[0]
    if target.startswith("__cublas$"):
        axes = _numbers("lhs_contracting_dimensions", operation)
        return 2 * math.prod(result) * math.prod(first[axis] for axis in axes)
    if target.startswith("__cudnn$fmha"):
        scores = _numbers("dimensions", operation)  # [batch, heads, queries, keys]
        depth = math.prod(first) // math.prod(scores[:3])
        direction = "backward" if "Backward" in target else "forward"
        return _ATTENTION_PRODUCTS[direction] * 2 * math.prod(scores) * depth
    # window and labels are those of the forward convolution in all three
    if "BackwardInput" in target:
        return _convolution_flops(operation, result, second, first)
    if "BackwardFilter" in target:
        return _convolution_flops(operation, first, result, second)
    return _convolution_flops(operation, first, second, result)


def _numbers(key: str, operation: _Operation) -> list[int]:
    """A list of numbers in a call's configuration."""
    found = re.search(rf'"{key}": ?\[([^\]]*)\]', operation.attributes)
    return [int(number) for number in re.findall(r"\d+", found[1])]


def _convolution_flops(
    operation: _Operation,
    left: tuple[int, ...],
    right: tuple[int, ...],
    output: tuple[int, ...],
) -> int:
    """Counts as XLA does: nothing is multiplied where the window looks at padding or gaps."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", operation.attributes).groups()
    window = dict(re.findall(r"(\w+)=([\dx_-]+)", _window(operation.attributes)))
    total = 2 * output[labels[2].index("b")] * output[labels[2].index("f")]
    total *= right[labels[1].index("i")]
    for number, label in enumerate(sorted(set(labels[0]) - {"b", "f"})):

        def value(key: str, default: str, number: int = number) -> str:
            return window[key].split("x")[number] if key in window else default

        stride, dilation = int(value("stride", "1")), int(value("rhs_dilate", "1"))
        holes, before = int(value("lhs_dilate", "1")), int(value("pad", "0_0").split("_")[0])
        out = np.arange(output[labels[2].index(label)])[:, None] * stride
        seen = out + np.arange(int(value("size", "1"))) * dilation - before
        length = (left[labels[0].index(label)] - 1) * holes + 1
        total *= int(np.sum((seen >= 0) & (seen < length) & (seen % holes == 0)))
    return total


def _window(attributes: str) -> str:
    found = re.search(r"window=\{([^}]*)\}", attributes)
    return found[1] if found else ""
