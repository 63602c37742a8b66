"""The U-Net as ONNX operations, block by block as `models.unet` wires them.

Maps are [b, c, h, w], as ONNX's convolutions have them, and float32 throughout: a network whose
convolutions are bfloat16 here computes in float32 there, by the same float32 weights.
"""

import math

import numpy as np

from i2sb_jax.interop.onnx_graph import Graph, cut, mirrored
from i2sb_jax.models import UNetConfig, sharpen, threshold
from i2sb_jax.models.architecture import BlockSpec, block_plan
from i2sb_jax.models.embeddings import sinusoid_frequencies
from i2sb_jax.models.norm import EPSILON
from i2sb_jax.types import Params


def add_network(
    graph: Graph,
    config: UNetConfig,
    params: Params,
    x: str,
    noise_level: str | np.ndarray,
    cond: str | None = None,
) -> str:
    """Adds one evaluation of a network.

    Args:
        graph: of the inputs.
        config: of the network.
        params: of it.
        x: [b, c, h, w]; h and w are multiples of `config.downsampling_factor`.
        noise_level: [b], or [1] for all.
        cond: [b, c', h, w], or None.

    Returns:
        The output, [b, out_channels, h, w].
    """
    return _Network(graph, config, params)(x, noise_level, cond)


class _Network:
    def __init__(self, graph: Graph, config: UNetConfig, params: Params):
        self._graph, self._add, self._config, self._params = graph, graph.add, config, params

    def __call__(self, x: str, noise_level: str | np.ndarray, cond: str | None) -> str:
        config, params, plan = self._config, self._params, block_plan(self._config)
        emb = self._time_embedding(noise_level)
        seen = [x] if cond is None else [x, cond]
        if config.sharpened:
            seen.append(add_sharpened(self._graph, x, config.sharpened, config.out_channels))
        changes = None
        if config.thresholded:
            changes = add_thresholded(self._graph, x, config.thresholded, config.out_channels)
            seen.append(changes)
        x = self._add("Concat", *seen, axis=1) if len(seen) > 1 else x
        h = self._conv("conv_in", self._to_depth(x), params)
        skips = [h]
        for stage in plan.down:
            for block in stage:
                h = self._block(block, h, emb)
            skips.append(h)
        for block in plan.middle:
            h = self._block(block, h, emb)
        for stage in plan.up:
            h = self._add("Concat", h, skips.pop(), axis=1)
            for block in stage:
                h = self._block(block, h, emb)
        h = self._silu(self._norm("norm_out", h, params))
        output = self._conv("conv_out", h, params)
        if changes is not None:
            gates = self._conv("conv_gates", h, params)
            output = self._gated(output, self._to_depth(changes), gates)
        if config.patch == 1:
            return output
        return self._add("DepthToSpace", output, blocksize=config.patch)

    def _time_embedding(self, noise_level: str | np.ndarray) -> str:
        """[b] -> [b, time channels], activated as every block has it."""
        frequencies = sinusoid_frequencies(self._config.model_channels)[None]
        with self._graph.scope("time_embed"):
            level = self._add("Reshape", noise_level, np.array([-1, 1]))
            angles = self._add("Mul", level, frequencies)
            waves = self._add("Concat", self._add("Cos", angles), self._add("Sin", angles), axis=1)
            params = self._params["time_embed"]
            h = self._silu(self._dense("dense_0", waves, params))
            return self._silu(self._dense("dense_1", h, params))

    def _block(self, block: BlockSpec, h: str, emb: str) -> str:
        with self._graph.scope(block.name):
            params = self._params[block.name]
            if block.kind == "attention":
                return self._attention(h, params)
            return self._residual(block, h, emb, params)

    def _residual(self, block: BlockSpec, x: str, emb: str, params: Params) -> str:
        h = self._silu(self._norm("norm_in", x, params))
        h = self._conv("conv_in", self._resampled(h, block.resample), params)
        shortcut = self._resampled(x, block.resample)
        emb = self._add("Reshape", self._dense("emb", emb, params), np.array([0, -1, 1, 1]))
        scale, shift = self._add("Split", emb, outputs=2, axis=1, num_outputs=2)
        h = self._norm("norm_out", h, params)
        h = self._add("Add", self._add("Mul", h, self._add("Add", scale, np.float32(1))), shift)
        h = self._conv("conv_out", self._silu(h), params)
        if block.in_channels != block.out_channels:
            shortcut = self._conv("skip", shortcut, params)
        return self._add("Add", shortcut, h)

    def _attention(self, x: str, params: Params) -> str:
        width = self._config.head_channels
        qkv = self._conv("qkv", self._norm("norm", x, params), params)
        channels = params["proj_out"]["bias"].shape[0]
        heads = np.array([0, channels // width, 3 * width, -1])
        query, key, value = self._add(
            "Split", self._add("Reshape", qkv, heads), outputs=3, axis=2, num_outputs=3
        )  # [b, heads, d, T] each
        query = self._add("Transpose", query, perm=[0, 1, 3, 2])
        logits = self._add("MatMul", query, key)
        weights = self._add("Mul", logits, np.float32(1 / math.sqrt(width)))
        weights = self._add("Softmax", weights, axis=-1)
        weights = self._add("Transpose", weights, perm=[0, 1, 3, 2])
        h = self._add("Reshape", self._add("MatMul", value, weights), self._add("Shape", x))
        return self._add("Add", x, self._conv("proj_out", h, params))

    def _norm(self, name: str, x: str, params: Params) -> str:
        """Group normalisation as that of instances, which every runtime has."""
        groups = self._config.groups
        if groups is None:
            return x
        ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
        y = self._add("Reshape", x, np.array([0, groups, -1]))
        y = self._add("InstanceNormalization", y, ones, zeros, epsilon=float(EPSILON))
        y = self._add("Reshape", y, self._add("Shape", x))
        with self._graph.scope(name):
            gain, offset = (
                self._graph.weight(key, np.reshape(params[name][key], (-1, 1, 1)))
                for key in ("scale", "bias")
            )
        return self._add("Add", self._add("Mul", y, gain), offset)

    def _silu(self, x: str) -> str:
        return self._add("Mul", x, self._add("Sigmoid", x))

    def _conv(self, name: str, x: str, params: Params) -> str:
        """A convolution that keeps the size; a dense layer over channels is one of 1x1."""
        kernel = np.asarray(params[name]["kernel"])
        kernel = kernel if kernel.ndim == 4 else kernel[None, None]
        border = kernel.shape[0] // 2
        with self._graph.scope(name):
            weight = self._graph.weight("kernel", kernel.transpose(3, 2, 0, 1))
            bias = self._graph.weight("bias", params[name]["bias"])
            return self._add("Conv", x, weight, bias, pads=[border] * 4)

    def _dense(self, name: str, x: str, params: Params) -> str:
        with self._graph.scope(name):
            given = (self._graph.weight(key, params[name][key]) for key in ("kernel", "bias"))
            return self._add("Gemm", x, *given)

    def _resampled(self, x: str, resample: str) -> str:
        if resample == "down":
            return self._add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
        if resample == "up":
            return self._add(
                "Resize", x, "", np.float32([1, 1, 2, 2]), mode="nearest",
                coordinate_transformation_mode="asymmetric", nearest_mode="floor",
            )  # fmt: skip
        return x

    def _to_depth(self, x: str) -> str:
        patch = self._config.patch
        return x if patch == 1 else self._add("SpaceToDepth", x, blocksize=patch)

    def _gated(self, output: str, changes: str, gates: str) -> str:
        """(1 + g_0) · output + Σ g_i · change_i; the gates of a channel lie together."""
        many = len(self._config.thresholded)

        def each(x: str, first: int, step: int) -> str:
            end = np.iinfo(np.int64).max
            return self._add("Slice", x, *(np.array([i]) for i in (first, end, 1, step)))

        own = self._add("Add", each(gates, 0, many + 1), np.float32(1))
        output = self._add("Mul", own, output)
        for i in range(many):
            change = self._add("Mul", each(gates, i + 1, many + 1), each(changes, i, many))
            output = self._add("Add", output, change)
        return output


def add_sharpened(graph: Graph, x: str, widths: tuple[float, ...], channels: int) -> str:
    """Adds `models.sharpen.sharpened`: [b, c, h, w] -> [b, c · len(widths), h, w]."""
    changes = np.stack([sharpen.wiener_kernel(width) for width in widths])
    changes[:, sharpen.RADIUS, sharpen.RADIUS] -= 1
    kernels = np.tile(changes[:, None, ::-1, ::-1], (channels, 1, 1, 1))
    for axis in (2, 3):
        x = mirrored(graph, x, axis, before=sharpen.RADIUS, after=sharpen.RADIUS)
    return graph.add("Conv", x, np.ascontiguousarray(kernels), group=channels)


def add_thresholded(graph: Graph, x: str, factors: tuple[float, ...], channels: int) -> str:
    """Adds `models.threshold.thresholded`: [b, c, h, w] -> [b, c · len(factors), h, w].

    The blocks of all shifts are those of one convolution, `STEP` pixels apart. A channel comes
    after the other, for the cosines of each take 16 times its memory.
    """
    add, block, beside = graph.add, threshold.BLOCK, threshold.BLOCK + threshold.BEFORE
    colours = threshold.cosines(channels)
    waves = np.kron(*[threshold.cosines(block)] * 2).reshape(block**2, 1, block, block)
    apart = {"kernel_shape": [block] * 2, "strides": [threshold.STEP] * 2}
    is_mean = (np.arange(block**2) == 0)[None, :, None, None]
    layers = add("Conv", x, colours[:, :, None, None])
    for axis in (2, 3):
        layers = mirrored(graph, layers, axis, before=beside, after=beside)
    sigma = _block_noise(graph, layers, channels)
    inner = (np.array([side] * 2) for side in (threshold.BEFORE, -threshold.BEFORE))
    layers = add("Slice", layers, *inner, np.array([2, 3]))
    layers = add("Split", layers, outputs=channels, axis=1, num_outputs=channels)
    smooth = []
    for layer in [layers] if channels == 1 else layers:
        found = add("Conv", layer, waves, **apart)
        sizes = add("Abs", found)
        for factor in factors:
            is_large = add("Greater", sizes, add("Mul", sigma, np.float32(factor)))
            kept = add("Cast", add("Or", is_large, is_mean), to=1)
            weight = add("Reciprocal", add("ReduceSum", kept, np.array([1])))
            part = add("Mul", add("Mul", found, kept), weight)
            total = add("ConvTranspose", part, waves, **apart)
            ones = np.ones((1, 1, block, block), np.float32)
            smooth.append(add("Div", total, add("ConvTranspose", weight, ones, **apart)))
    smooth = cut(graph, add("Concat", *smooth, axis=1), like=x, before=block)
    many = len(factors)
    back = np.kron(colours.T, np.eye(many, dtype=np.float32))[:, :, None, None]
    again = add("Gather", x, np.repeat(np.arange(channels), many), axis=1)
    return add("Sub", add("Conv", smooth, back), again)


def _block_noise(graph: Graph, layers: str, channels: int) -> str:
    """Adds `models.threshold.block_noise`, of blocks that begin `STEP` pixels apart."""
    add, step = graph.add, threshold.STEP
    side = 2 * threshold.BEFORE + threshold.BLOCK - 1
    difference = np.float32([[0.5, -0.5], [-0.5, 0.5]])
    differences = np.tile(difference, (channels, 1, 1, 1))
    x = add("Abs", add("Conv", layers, differences, group=channels))
    x = add("AveragePool", x, kernel_shape=[side, 1], strides=[step, 1])
    x = add("AveragePool", x, kernel_shape=[1, side], strides=[1, step])
    return add("Div", add("ReduceMin", x, np.array([1])), np.float32(threshold.MEAN_SIZE))
