"""Windows in, samples out: the one place that compiles sample functions and feeds them.

A network call always has one fixed, padded number of windows a device, which depends on their size
alone, and the noise of a pixel depends on the picture's name, the seed and the pixel's place alone:
the same picture gives the same pixels in any company.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from i2sb_jax import bridge
from i2sb_jax.accelerators import sharding
from i2sb_jax.accelerators.compiler import compile_options
from i2sb_jax.accelerators.memory import free_bytes, is_out_of_memory
from i2sb_jax.accelerators.program import Memory, memory_of
from i2sb_jax.config import Config, SamplingConfig
from i2sb_jax.corruptions.consistency import Measurement
from i2sb_jax.reasons import first_line
from i2sb_jax.sampling.sample_fn import SampleFn
from i2sb_jax.types import Array, Params

_TOP_LEFT = np.zeros(2, np.int32)
_MOST_PROGRAMS = 16  # that are kept, of one sample function


class Window(NamedTuple):
    """A picture, or a part of one, as a network call takes it; or a batch of them.

    Attributes:
        key: uint32 [2] of the picture, as `picture_key` gives it.
        x1: X_1 as the bridge uses it, float32 [h, w, c]; holes are filled with noise.
        mask: [h, w, 1], 1 = hole; None where the run knows none.
        cond: what the network sees beside X_t, [h, w, c']; None without conditioning.
        origin: int32 [2], first row and column in the picture, multiples of
            `sampling.noise.BLOCK`; None: noise is drawn for the window as a whole.
        measurement: what X̂_0 is held consistent with; None where nothing is, or X_1 tells it.
    """

    key: Array
    x1: Array
    mask: Array | None = None
    cond: Array | None = None
    origin: Array | None = _TOP_LEFT
    measurement: Measurement | None = None


class OutOfMemory(MemoryError):
    """A call that a device has no memory for.

    Attributes:
        windows: of the call on each device.
        shape: of each, (height, width).
        reason: the device's.
    """

    def __init__(self, windows: int, shape: tuple[int, int], reason: str):
        height, width = shape
        count = "1 window" if windows == 1 else f"{windows} windows"
        super().__init__(f"{count} of {width}×{height} at once on a device ({reason})")
        self.windows, self.shape, self.reason = windows, shape, reason


class DeviceSampler:
    """A sample function on the devices of a mesh, compiled once for each shape of a batch."""

    def __init__(
        self,
        sample_fn: SampleFn,
        mesh: Mesh,
        *,
        rows: NamedSharding | None = None,
        precision: str = "highest",
    ):
        """Compiles nothing yet.

        Args:
            sample_fn: pure, as `make_sample_fn` gives it.
            mesh: the devices.
            rows: how a batch lies on them; cut over all of them if None.
            precision: of float32 products.
        """
        self.rows = sharding.batch_sharding(mesh) if rows is None else rows
        self._sample_fn, self._mesh, self._precision = sample_fn, mesh, precision
        self._programs: dict[tuple, jax.stages.Compiled] = {}

    def lay(self, batch: Window) -> Window:
        """Lays this process's rows of a batch over its devices, float32 and uint32 numpy."""
        return sharding.lay(batch, self.rows)

    def __call__(self, params: Params, batch: Window) -> bridge.Samples:
        """Samples a batch.

        Args:
            params: of the network, on the mesh.
            batch: as `lay` gives it; fields are [batch, ...].

        Returns:
            x0 and the recorded paths, laid out as the batch is; they may not be computed yet.
        """
        return self.compiled(params, batch)(params, *batch)

    def compiled(self, params: Params, batch: Window) -> jax.stages.Compiled:
        """Returns the program for such parameters and such a batch, arrays or abstract."""
        shapes = _shapes(batch)
        if shapes not in self._programs:
            if len(self._programs) == _MOST_PROGRAMS:
                del self._programs[next(iter(self._programs))]
            self._programs[shapes] = self._compile(params, batch)
        return self._programs[shapes]

    def _compile(self, params: Params, batch: Window) -> jax.stages.Compiled:
        def run(params, key, *window):
            return self._sample_fn(jax.random.wrap_key_data(key), params, *window)

        second = NamedSharding(self._mesh, PartitionSpec(None, *self.rows.spec))
        program = jax.jit(
            run,
            out_shardings=bridge.Samples(self.rows, second, second),
            compiler_options=compile_options(self._mesh),
        )
        with jax.default_matmul_precision(self._precision):
            return program.lower(params, *batch).compile()


class Engine:
    """Samples streams of windows, whatever their sizes, in batches of one size each."""

    def __init__(
        self,
        make_sample_fn: Callable[[SamplingConfig, tuple[int, ...]], SampleFn],
        params: Params,
        config: Config,
        mesh: Mesh,
    ):
        """Compiles nothing yet.

        Args:
            make_sample_fn: (sampling, record) -> a sample function of the network.
            params: of the network, the same on every device.
            config: of the run: how much is computed at once, and how precisely.
            mesh: the devices.
        """
        self._params, self._config, self._mesh = params, config, mesh
        self._most_pixels = config.sampling.batch_size * config.image_size**2
        self._sampler = functools.lru_cache(maxsize=16)(
            lambda sampling, record: DeviceSampler(
                make_sample_fn(sampling, record), mesh, precision=config.matmul_precision
            )
        )

    def windows_a_call(self, height: int, width: int) -> int:
        """Returns how many windows of one size a network call takes, over all devices.

        That is `sampling.batch_size` a device up to the run's own size, and of larger windows as
        many as have no more pixels: time and memory of a call do not grow with the windows.
        """
        same_pixels = self._most_pixels // (height * width)
        return self._mesh.size * min(max(same_pixels, 1), self._config.sampling.batch_size)

    def restrict(self, pixels: int) -> None:
        """Lets calls from now on have at most so many pixels on a device, or one window.

        A pixel then comes from another program, which may round it otherwise.
        """
        self._most_pixels = min(self._most_pixels, pixels)

    def free_bytes(self) -> int | None:
        """The memory left on the fullest device of this process; None where nobody counts."""
        return free_bytes(self._mesh.local_devices)

    def stream(
        self,
        windows: Iterable[Window | None],
        sampling: SamplingConfig,
        *,
        record: tuple[int, ...] = (),
        on_batch: Callable[[], None] | None = None,
    ) -> Iterator[bridge.Samples]:
        """Samples any number of windows, holding two batches of them at a time.

        Args:
            windows: with sides that the network can halve. Those that follow each other and have
                one shape share a call; None lets those before it go without waiting for more.
            sampling: which sampler takes which steps.
            record: grid positions whose states are wanted too.
            on_batch: called when a batch has been computed; for progress.

        Yields:
            For each window in turn x0 [h, w, c], not clipped, and its paths
            [len(record), h, w, c], numpy.

        Raises:
            OutOfMemory: of a device; windows of which nothing was yielded are to be given again.
        """
        sampler, running = self._sampler(sampling, record), None
        for chunk in _batches(windows, self.windows_a_call):
            # the next batch is made ready and handed over before the last one is waited for
            shape = chunk[0].x1.shape[:2]
            count = self.windows_a_call(*shape)
            full = chunk + chunk[-1:] * (count - len(chunk))
            started = failed = None
            try:
                with self._memory_of(shape):
                    batch = sampler.lay(jax.tree.map(lambda *rows: np.stack(rows), *full))
                    started = sampler(self._params, batch), len(chunk), shape
            except OutOfMemory as error:  # what runs already need not be computed again
                failed = error
            if running is not None:
                yield from self._finish(*running, on_batch)
            if failed is not None:
                raise failed
            running = started
        if running is not None:
            yield from self._finish(*running, on_batch)

    def prepare(
        self, window: Window, sampling: SamplingConfig, *, record: tuple[int, ...] = ()
    ) -> Memory:
        """Compiles what `stream` needs for windows of the shapes of this one.

        Returns:
            The bytes that a call needs on a device.

        Raises:
            OutOfMemory: its compiler knows that there are not so many.
        """
        sampler = self._sampler(sampling, record)
        shape = window.x1.shape[:2]
        count = self.windows_a_call(*shape)

        def of_all(x: Array) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((count, *x.shape), x.dtype, sharding=sampler.rows)

        with self._memory_of(shape):
            return memory_of(sampler.compiled(self._params, jax.tree.map(of_all, window)))

    @contextlib.contextmanager
    def _memory_of(self, shape: tuple[int, int]) -> Iterator[None]:
        """Names the call of which a device has run out of memory; other errors stay as they are."""
        try:
            yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            windows = self.windows_a_call(*shape) // self._mesh.size
            raise OutOfMemory(windows, shape, first_line(error)) from error

    def _finish(
        self,
        samples: bridge.Samples,
        count: int,
        shape: tuple[int, int],
        on_batch: Callable[[], None] | None,
    ) -> Iterator[bridge.Samples]:
        with self._memory_of(shape):
            x0, xt_path, x0_path = jax.device_get(samples)
        if on_batch is not None:
            on_batch()
        for i in range(count):
            yield bridge.Samples(x0[i], xt_path[:, i], x0_path[:, i])


def _batches(
    windows: Iterable[Window | None], size: Callable[[int, int], int]
) -> Iterator[list[Window]]:
    """Windows of the same shapes that follow each other, `size(height, width)` of them at most."""
    batch: list[Window] = []
    for window in windows:
        if batch and (window is None or _shapes(window) != _shapes(batch[0])):
            yield batch
            batch = []
        if window is not None:
            batch.append(window)
            if len(batch) == size(*window.x1.shape[:2]):
                yield batch
                batch = []
    if batch:
        yield batch


def _shapes(window: Window) -> tuple:
    """(shape, dtype) of each array, and which arrays there are."""
    arrays, structure = jax.tree.flatten(window)
    return structure, *((x.shape, np.dtype(x.dtype).name) for x in arrays)
