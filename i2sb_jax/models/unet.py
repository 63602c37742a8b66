"""The U-Net of ADM (Dhariwal & Nichol 2021, arXiv 2105.05233): network(x_t, noise level) -> ε."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from i2sb_jax.models.architecture import BlockSpec, UNetConfig, adm_256, block_plan
from i2sb_jax.models.attention import AttentionBlock, PerDevice
from i2sb_jax.models.blocks import ResBlock, conv3x3
from i2sb_jax.models.cpu import on_cpu
from i2sb_jax.models.embeddings import TimeEmbedding
from i2sb_jax.models.norm import make_norm
from i2sb_jax.models.sharpen import sharpened
from i2sb_jax.models.threshold import thresholded
from i2sb_jax.models.way_back import one_at_a_time
from i2sb_jax.types import Params, PRNGKey

__all__ = ["UNet", "UNetConfig", "adm_256"]


class UNet(nn.Module):
    """A time-conditioned U-Net.

    Every residual and attention block is a direct submodule, named by
    `architecture.block_plan`, so parameters can be placed, gathered or recomputed a block at a
    time. A new network returns zero. Kernels start as PyTorch's defaults do, U(±1/sqrt(fan_in)),
    biases at zero.

    Attributes:
        config: the shape of the network.
        gather: parameters of one submodule -> the same, made ready where they are used (see
            `accelerators.sharding.gather_on_use`); None where they are ready as they are.
        per_device: function of arrays [batch, ...] -> the same, computed by each device for its
            share of the batch (see `accelerators.sharding.per_device`), as attention on several
            CPU devices needs; None elsewhere.
        ordered: whether the backward pass is serialised by submodule (see `way_back`), which bounds
            the peak memory of GPUs and TPUs. CPUs ignore it, but may sum in another order.
    """

    config: UNetConfig
    gather: Callable[[Params], Params] | None = None
    per_device: PerDevice | None = None
    ordered: bool = True

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        noise_level: jax.Array,
        cond: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Applies the network.

        Args:
            x: [batch, h, w, c]; h and w are multiples of `config.downsampling_factor`.
            noise_level: [batch], the timestep in ADM's range, 0.1 … 1000.
            cond: [batch, h, w, c'], concatenated after the channels of `x`, or None.
            train: whether dropout is active; then, unless its rate is 0, `rngs={"dropout": key}`
                is needed.

        Returns:
            float32 [batch, h, w, out_channels].

        Raises:
            ValueError: shapes do not fit each other or the config.
        """
        config = self.config
        _check_inputs(config, x, noise_level, cond)
        plan = block_plan(config)
        time_embedding, conv = self._lift(TimeEmbedding), self._lift(nn.Conv)
        emb = time_embedding(config.model_channels, config.time_channels, name="time_embed")(
            noise_level
        )
        run = self._block_runner(emb, train)
        seen = [x] if cond is None else [x, cond.astype(x.dtype)]
        if config.sharpened:
            seen.append(sharpened(x, config.sharpened).astype(x.dtype))
        changes = thresholded(x, config.thresholded) if config.thresholded else None
        if changes is not None:
            seen.append(changes.astype(x.dtype))
        x = jnp.concatenate(seen, axis=-1) if len(seen) > 1 else x
        x = space_to_depth(x.astype(config.dtype), config.patch)
        h = conv3x3(config.level_channels[0], config.dtype, "conv_in", conv=conv)(x)
        skips = [h]
        for stage in plan.down:
            for block in stage:
                h = run(block, h)
            skips.append(h)
        for block in plan.middle:
            h = run(block, h)
        for first, *others in plan.up:
            h = run(first, h, skips.pop())
            for block in others:
                h = run(block, h)

        # The last layer is float32 throughout: ε is multiplied by up to the largest σ and
        # subtracted from the image, so rounding it to bfloat16 would show.
        h = make_norm(config.groups, nn.silu, name="norm_out")(h.astype(jnp.float32))
        channels = config.out_channels * config.patch**2
        output = conv3x3(channels, jnp.float32, "conv_out", zero=True, conv=conv)(h)
        if changes is not None:
            gates = channels * (1 + len(config.thresholded))
            gates = conv3x3(gates, jnp.float32, "conv_gates", zero=True, conv=conv)(h)
            output = _gated(output, space_to_depth(changes, config.patch), gates)
        return depth_to_space(output, config.patch)

    def _block_runner(self, emb: jax.Array, train: bool) -> Callable[..., jax.Array]:
        """Returns (block of the plan, h, skip=None) -> the output of the submodule of its name."""
        config = self.config
        res_block, attention_block = self._block_classes()

        def run(block: BlockSpec, h: jax.Array, skip: jax.Array | None = None) -> jax.Array:
            if block.kind == "attention":
                return attention_block(
                    config.head_channels, config.groups, config.dtype, self.per_device,
                    name=block.name,
                )(h)  # fmt: skip
            return res_block(
                block.out_channels, block.resample, config.groups, config.dropout,
                config.dtype, name=block.name,
            )(h, emb, train, skip)  # fmt: skip

        # A CPU's compiler would merge blocks, and compute the gradient of a block's output again,
        # from those of all later blocks, in each of its uses; `accelerators.compiler` lets it see
        # the barrier.
        apart = on_cpu(jax.lax.optimization_barrier, lambda h: h)
        return lambda *given: apart(run(*given))

    def _lift(self, module: type[nn.Module]) -> type[nn.Module]:
        """Returns a submodule's class, with its parameters gathered and, if `ordered`, serialised.

        New parameters are whole anyway, and nothing goes back through them.
        """
        if self.is_initializing():
            return module
        if self.ordered:
            module = one_at_a_time(module)
        if self.gather is None:
            return module
        return nn.map_variables(module, "params", trans_in_fn=self.gather)

    def _block_classes(self) -> tuple[type[nn.Module], type[nn.Module]]:
        """Returns both kinds of block under a policy of `architecture.REMAT_POLICIES`.

        What is recomputed is gathered again: the whole parameters are not kept for the way back.
        """
        blocks = self._lift(ResBlock), self._lift(AttentionBlock)
        if self.config.remat == "none":
            return blocks
        policy = {"blocks": None, "dots": jax.checkpoint_policies.dots_saveable}[self.config.remat]
        # 0 is the module itself: 3 is `train`.
        return nn.remat(blocks[0], policy=policy, static_argnums=(3,)), nn.remat(
            blocks[1], policy=policy
        )


def make_network(
    config: UNetConfig,
    *,
    gather: Callable[[Params], Params] | None = None,
    per_device: PerDevice | None = None,
    ordered: bool = True,
) -> nn.Module:
    """Returns the network of a configuration; its arguments are those of `UNet`."""
    return UNet(config, gather=gather, per_device=per_device, ordered=ordered)


def init_params(key: PRNGKey, config: UNetConfig, *, image_size: int) -> Params:
    """Returns freshly initialised parameters; fit for `jax.eval_shape`.

    Args:
        key: random key.
        config: of the network; what it takes in beyond the channels that it gives is its condition.
        image_size: height and width of a picture, pixels; no parameter depends on it.
    """
    sides = (1, image_size, image_size)
    image, extra = (
        jnp.zeros((*sides, config.out_channels)),
        config.in_channels - config.out_channels,
    )
    cond = jnp.zeros((*sides, extra)) if extra else None
    return make_network(config).init(key, image, jnp.zeros((1,)), cond)["params"]


def _gated(output: jax.Array, changes: jax.Array, gates: jax.Array) -> jax.Array:
    """(1 + g_0) · output + Σ g_i · change_i, of each channel of a square of pixels.

    What thresholding did well already then needs no more than the right weights.

    Args:
        output: [b, h, w, c].
        changes: [b, h, w, c · n], those of a channel together.
        gates: [b, h, w, c · (1 + n)], likewise.
    """
    gates = gates.reshape(*output.shape, -1)
    changes = changes.reshape(*output.shape, -1)
    output = (1 + gates[..., 0]) * output
    for i in range(changes.shape[-1]):  # a sum over so short an axis is slow on a CPU
        output += gates[..., i + 1] * changes[..., i]
    return output


def space_to_depth(x: jax.Array, patch: int) -> jax.Array:
    """Turns squares of pixels into channels: [b, h, w, c] -> [b, h/patch, w/patch, patch² c]."""
    if patch == 1:
        return x
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // patch, patch, width // patch, patch, channels)
    return x.swapaxes(2, 3).reshape(batch, height // patch, width // patch, -1)


def depth_to_space(x: jax.Array, patch: int) -> jax.Array:
    """Inverts `space_to_depth`: [b, h, w, patch² c] -> [b, patch h, patch w, c]."""
    if patch == 1:
        return x
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, patch, patch, channels // patch**2)
    return x.swapaxes(2, 3).reshape(batch, height * patch, width * patch, -1)


def _check_inputs(
    config: UNetConfig, x: jax.Array, noise_level: jax.Array, cond: jax.Array | None
) -> None:
    if x.ndim != 4:
        raise ValueError(f"x has shape {x.shape}, must be [batch, h, w, c]")
    if noise_level.shape != x.shape[:1]:
        raise ValueError(f"noise_level has shape {noise_level.shape}, must be {x.shape[:1]}")
    if cond is not None and (cond.ndim != 4 or cond.shape[:3] != x.shape[:3]):
        raise ValueError(f"cond has shape {cond.shape}, must be {(*x.shape[:3], 'c')}")
    extra = 0 if cond is None else cond.shape[-1]
    if x.shape[-1] + extra != config.in_channels:
        given = "no cond" if cond is None else f"cond with {extra}"
        raise ValueError(
            f"x has {x.shape[-1]} channels and there is {given}, "
            f"together they must have in_channels {config.in_channels}"
        )
    config.check_size(x.shape[1], x.shape[2])
