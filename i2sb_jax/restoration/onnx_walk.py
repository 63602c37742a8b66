"""From a degraded picture to a restored one as ONNX operations.

A picture is enlarged if need be, its borders are mirrored as `restoration.tiles` has them, the
bridge is walked (`bridge.walk`) from X_1 to X_0, and what was added is cut away. Each evaluation is
in the graph by itself, with the weights of all; noise, if the sampler draws any, is an input.
"""

from typing import NamedTuple

import numpy as np

from i2sb_jax import bridge
from i2sb_jax.bridge.walk import NEVER, ONCE
from i2sb_jax.config import SamplingConfig
from i2sb_jax.corruptions import corruption_facts
from i2sb_jax.interop.onnx_graph import Graph, cut, mirrored, size
from i2sb_jax.interop.onnx_network import add_network
from i2sb_jax.restoration.programs import CUBIC_REACH, told_in_words
from i2sb_jax.restoration.tiles import choose_tiling
from i2sb_jax.run import Run
from i2sb_jax.types import Params, StartedParams


class Frame(NamedTuple):
    """How a picture becomes the window that is sampled.

    Attributes:
        times: it is enlarged by this factor, first.
        lead: mirrored pixels above and left.
        margin: below and right, at least.
        unit: the window's sides are multiples of so many pixels.
    """

    times: int = 1
    lead: int = 0
    margin: int = 0
    unit: int = 1

    def around(self, length: int) -> tuple[int, int]:
        """Pixels before and behind a side of so many."""
        return self.lead, self.margin + -(length + self.lead + self.margin) % self.unit

    @property
    def most(self) -> int:
        """How many pixels a side grows by, at most."""
        return self.lead + self.margin + self.unit - 1


def choose_frame(run: Run, side: int | None) -> Frame:
    """Returns the frame of pictures of any size, or of such a side: none.

    The borders are those of the windows of `i2sb-restore`.

    Args:
        run: of the model.
        side: as `programs.window_side` gives it.
    """
    if side is not None:
        return Frame()
    start = None if run.start is None else run.start.config.unet
    tiling = choose_tiling(run.config.unet, image_size=run.config.image_size, start=start)
    facts = None if run.config.has_pairs else corruption_facts(run.config.corruption)
    is_enlarged = facts is not None and facts.enlarged_by == "smooth"
    times = facts.enlargement if is_enlarged else 1
    return Frame(times, tiling.lead, tiling.margin, tiling.unit)


def restoring_graph(
    run: Run,
    params: Params | StartedParams,
    sampling: SamplingConfig,
    *,
    side: int | None = None,
    batch: int | None = None,
) -> Graph:
    """Returns the graph from "degraded" pictures to "restored" ones.

    Args:
        run: of the model.
        params: as `interop.load_model_folder` gives them.
        sampling: the evaluations.
        side: of the pictures, pixels; None: any.
        batch: of them; None: any.
    """
    config, graph, frame = run.config, Graph(), choose_frame(run, side)
    count = "batch" if batch is None else batch
    sides = ("height", "width") if side is None else (side, side)
    large = sides if frame.times == 1 else tuple(f"{frame.times}*{name}" for name in sides)
    what = "X_1, degraded pictures" if frame.times == 1 else "small pictures, to be enlarged"
    shape = (count, config.image_channels, *sides)
    x1 = _enlarged(graph, graph.input("degraded", shape, f"{what}, in [-1, 1]"), frame.times)
    inputs = {"x1": x1}
    if config.has_mask:
        meaning = "1 where a pixel is to be filled in, 0 elsewhere"
        inputs["mask"] = graph.input("mask", (count, 1, *large), meaning)
    if config.cond_channels:
        meaning = f"what the network sees beside the pictures{told_in_words(run)}"
        inputs["cond"] = graph.input("cond", (count, config.cond_channels, *large), meaning)
    walk = _Walk(graph, is_cut=frame.most > 0)
    framed = {name: _framed(graph, x, frame) for name, x in inputs.items()}
    x0 = walk.restored(run, params, sampling, **framed)
    if frame.most:
        x0 = cut(graph, x0, like=x1, before=frame.lead)
    meaning = "restored pictures"
    if config.is_bounded:
        x0, meaning = graph.add("Clip", x0, *np.float32([-1, 1])), f"{meaning} in [-1, 1]"
    graph.output("restored", x0, (*shape[:2], *large), meaning)
    if walk.draws:
        more = f", sides larger by {frame.most} or more" if frame.most else ""
        sides = ("noise_height", "noise_width") if frame.most else large
        graph.input("noise", (walk.draws, *shape[:2], *sides), f"drawn from N(0, 1){more}")
    return graph


class _Walk:
    """The samplers of `bridge`, evaluation by evaluation; `sampling.make_sample_fn` as operations.

    Attributes:
        draws: of noise, so far.
    """

    def __init__(self, graph: Graph, *, is_cut: bool):
        self._graph, self._add, self._is_cut, self.draws = graph, graph.add, is_cut, 0

    def restored(
        self,
        run: Run,
        params: Params | StartedParams,
        sampling: SamplingConfig,
        *,
        x1: str,
        mask: str | None = None,
        cond: str | None = None,
    ) -> str:
        """X_0 of X_1."""
        if run.start is not None:
            with self._graph.scope("start"):
                x1 = self._started(run, params.start, x1, mask, cond)
            params = params.bridge
        schedule = run.bridge
        steps = bridge.step_grid(
            schedule.num_steps, sampling.nfe, spacing=sampling.spacing, schedule=schedule
        )
        weights, visited, noise = bridge.sampler_steps(
            sampling.sampler, schedule, steps, eta=sampling.eta
        )
        table = bridge.Steps(*(np.asarray(x, np.float32) for x in weights))
        once = self._noise(x1) if noise == ONCE else None

        def drawn(std: np.float32) -> list[tuple[np.float32, str]]:
            """The term of the noise of a step, if it has any."""
            if noise == NEVER or std == 0:
                return []
            return [(std, self._noise(x1) if once is None else once)]

        xt, seen, first = self._sum([(1, x1), *drawn(table.start_std)]), [], ""
        for i, step in enumerate(visited[:0:-1]):
            x0 = self._predicted(run, params, xt, x1, cond, step, clip=sampling.clip)
            first = first or x0  # the mean
            seen = [x0, *seen][: table.x0.shape[1]]
            terms = [(table.xt[i], xt), (table.x1[i], x1), *zip(table.x0[i], seen, strict=False)]
            xt = self._sum([*terms, *drawn(table.std[i])])
            if mask is not None:
                known = self._sum([(1, x1), *drawn(table.known_std[i])])
                xt = self._where(mask, xt, known)
        if sampling.realism != 1 and sampling.nfe > 1:
            mixed = self._sum([(1 - sampling.realism, first), (sampling.realism, xt)])
            xt = mixed if mask is None else self._where(mask, mixed, xt)
        return xt

    def _started(
        self, run: Run, params: Params, x1: str, mask: str | None, cond: str | None
    ) -> str:
        """X_T, where a bridge starts (`sampling.start`)."""
        start, config = run.start, run.config
        last = start.bridge.num_steps - 1
        clip = config.is_bounded or start.config.sampling.clip
        answer = self._predicted(start, params, x1, x1, cond, last, clip=clip)
        if config.bridge.start_noise:
            answer = self._sum([(1, answer), (config.bridge.start_noise, self._noise(x1))])
        return answer if mask is None else self._where(mask, answer, x1)

    def _predicted(
        self, run: Run, params: Params, xt: str, x1: str, cond: str | None, step: int, *, clip: bool
    ) -> str:
        """X̂_0 at a step."""
        schedule, config = run.bridge, run.config
        beside = [] if cond is None else [cond]
        beside += [x1] if schedule.x1_input else []
        beside += [self._noise(xt)] if config.noise_channels else []
        cond = self._add("Concat", *beside, axis=1) if beside else None
        level = np.asarray(schedule.noise_level, np.float32)[[step]]
        output = add_network(self._graph, config.unet, params, xt, level, cond)
        # linear in both
        of_state, of_output = (
            float(
                bridge.predict_x0(
                    schedule, step, np.float32([x]), np.float32([1 - x]),
                    prediction=config.bridge.prediction,
                )[0]
            )
            for x in (1, 0)
        )  # fmt: skip
        x0 = self._sum([(of_state, xt), (of_output, output)])
        return self._add("Clip", x0, *np.float32([-1, 1])) if clip else x0

    def _noise(self, like: str) -> str:
        """The next draw."""
        drawn = self._add("Gather", "noise", np.int64(self.draws), axis=0)
        self.draws += 1
        return cut(self._graph, drawn, like=like) if self._is_cut else drawn

    def _sum(self, terms: list[tuple[float, str]]) -> str:
        """Weighted; what has no weight is left out."""
        parts = [
            x if weight == 1 else self._add("Mul", x, np.float32(weight))
            for weight, x in terms
            if weight != 0
        ]
        total, *others = parts
        for part in others:
            total = self._add("Add", total, part)
        return total

    def _where(self, mask: str, inside: str, outside: str) -> str:
        is_hole = self._add("Greater", mask, np.float32(0.5))
        return self._add("Where", is_hole, inside, outside)


def _framed(graph: Graph, x: str, frame: Frame) -> str:
    if not frame.most:
        return x
    for axis in (2, 3):
        reached = graph.add("Add", size(graph, x, axis), np.int64(frame.lead + frame.margin))
        rest = graph.add("Mod", graph.add("Neg", reached), np.int64(frame.unit))
        after = graph.add("Add", rest, np.int64(frame.margin))
        x = mirrored(graph, x, axis, before=frame.lead, after=after)
    return x


def _enlarged(graph: Graph, x: str, times: int) -> str:
    """`corruptions.enlarge_smoothly`."""
    if times == 1:
        return x
    scales, reach = np.float32([1, 1, times, times]), CUBIC_REACH
    for axis in (2, 3):
        x = mirrored(graph, x, axis, before=reach, after=reach)
    large = graph.add(
        "Resize", x, "", scales, mode="cubic", cubic_coeff_a=-0.5,
        coordinate_transformation_mode="half_pixel",
    )  # fmt: skip
    inner = (np.int64([side] * 2) for side in (times * reach, -times * reach))
    return graph.add("Slice", large, *inner, np.int64([2, 3]))
