"""A person's choices when evaluating a model."""

import dataclasses
from typing import Any

from i2sb_jax.config import Config, SamplingConfig, check_realism, check_seed, check_x1_tells

_DTYPES = ("float32", "bfloat16")
_SAMPLING = ("sampler", "spacing", "eta", "clip", "consistency", "realism")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How pictures are restored and measured; None leaves the choice to the run.

    Attributes:
        nfes: network evaluations, ascending, each its own row of figures.
        sampler: one of `bridge.SAMPLERS`.
        spacing: of its steps, one of `bridge.SPACINGS`.
        eta: of sampler "implicit", 0 … 1.
        seed: of all noise, and of the resampling behind intervals.
        clip: clip X̂_0 to [-1, 1] at each step.
        consistency: correct each X̂_0 to agree with X_1: "projection", "gradient", "" for neither.
        realism: 0 … 1, from the first X̂_0 to the end of the walk; a single evaluation has both in
            one, and stays as it is beside others.
        dtype: compute type, "float32" or "bfloat16".
        limit: only so many pictures, the first; 0: all.
        any_weights: take weight files of metrics that are not the published ones.
        png: write every restored picture as a PNG too.
    """

    nfes: tuple[int, ...] = ()
    sampler: str | None = None
    spacing: str | None = None
    eta: float | None = None
    seed: int = 0
    clip: bool | None = None
    consistency: str | None = None
    realism: float | None = None
    dtype: str | None = None
    limit: int = 0
    any_weights: bool = False
    png: bool = False

    def resolve(self, config: Config) -> "Options":
        """With the run's choices in place of None, and checked against the run.

        Raises:
            ValueError: an option that does not fit; one line.
        """
        check_seed("seed", self.seed)
        if self.limit < 0:
            raise ValueError(f"limit={self.limit} must be at least 1, or 0 for all pictures")
        dtype = config.model.dtype if self.dtype is None else self.dtype
        if dtype not in _DTYPES:
            raise ValueError(f"dtype={dtype!r} must be {' or '.join(map(repr, _DTYPES))}")
        nfes = self.nfes or (config.sampling.nfe,)
        check_realism(self.realism, max(nfes))
        given = {name: getattr(self, name) for name in _SAMPLING}
        for nfe in nfes:
            chosen = config.choose_sampling(nfe=nfe, **given)
            check_x1_tells(chosen, config.corruption)
        return dataclasses.replace(
            self,
            nfes=tuple(sorted(set(nfes))),
            dtype=dtype,
            **{name: getattr(chosen, name) for name in _SAMPLING},
        )

    def settings(self) -> dict[str, Any]:
        """The options that shape the pictures of one method, as JSON."""
        chosen = {name: getattr(self, name) for name in (*_SAMPLING, "seed", "dtype")}
        if not self.consistency:  # nothing is noted of what was not there once
            del chosen["consistency"]
        if self.realism in (None, 1):
            del chosen["realism"]
        return chosen

    def sampling(self, config: Config, nfe: int) -> SamplingConfig:
        """Returns a run's sampling by so many evaluations."""
        return config.choose_sampling(nfe=nfe, **{name: getattr(self, name) for name in _SAMPLING})


def parse_nfes(text: str) -> tuple[int, ...]:
    """(1, 2, 5) of "1,2,5".

    Raises:
        ValueError: it is no list of whole numbers.
    """
    try:
        return tuple(int(each) for each in text.split(","))
    except ValueError:
        raise ValueError(f"--nfe {text} must be numbers and commas, such as 1,2,5,10") from None
