"""How pictures are restored: the `sampling` section, and what a caller chooses in its place."""

import dataclasses
from collections.abc import Callable
from typing import Any

from i2sb_jax.bridge import SAMPLERS, SPACINGS, WITHOUT_NOISE, make_sampler
from i2sb_jax.config.checks import check_at_least, check_at_most, check_choice
from i2sb_jax.config.data import PAIRS
from i2sb_jax.corruptions.consistency import METHODS, refusal, x1_refusal
from i2sb_jax.fields import documented, field

STEPS = ("sampler", "nfe", "spacing", "eta")  # what decides the steps that are taken
_MAX_BATCH = 4096  # pictures a device in one network call


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How pictures are restored, during training, by `i2sb-restore` and by `i2sb-evaluate`."""

    sampler: str = field(
        "ddpm",
        "ddpm: SDE posterior | ode, ode2: OT-ODE | implicit, implicit2, implicit3: multistep | "
        "heun, exponential: two evaluations a step",
    )
    nfe: int = field(10, "network evaluations, 1 … bridge.num_steps - 1")
    spacing: str = field("index", "in what the steps lie evenly: index | sigma | lambda")
    eta: float = field(0.0, "noise of implicit: 0 (ODE) … 1 (posterior)")
    batch_size: int = field(8, "pictures a device in one network call")
    clip: bool = field(False, "clip each predicted X_0 to [-1, 1]")
    consistency: str = field(
        "", "hold each predicted X_0 to its input: '' (off) | projection | gradient"
    )
    realism: float = field(
        1.0, "from the first predicted X_0, a mean, at 0 to the end of the walk, a sample, at 1"
    )

    def __post_init__(self):
        check_at_least("sampling.batch_size", self.batch_size, 1)
        reason = "a device computes so many pictures at once"
        check_at_most("sampling.batch_size", self.batch_size, _MAX_BATCH, reason=reason)
        check_choice("sampler", self.sampler, SAMPLERS)
        check_choice("spacing", self.spacing, SPACINGS)
        make_sampler(self.sampler, eta=self.eta)  # checks that they go together
        if self.consistency:
            check_choice("consistency", self.consistency, METHODS)
        if not 0 <= self.realism <= 1:
            raise ValueError(f"realism={self.realism} must lie in 0 … 1")

    def replaced(self, **given: Any) -> "SamplingConfig":
        """With what a caller chose, where that is not None.

        An eta is of the sampler that it was chosen for: another sampler begins at 0.

        Raises:
            ValueError: a value that does not fit; one line.
        """
        changes = {name: value for name, value in given.items() if value is not None}
        if changes.get("sampler", self.sampler) != self.sampler:
            changes.setdefault("eta", 0.0)
        return dataclasses.replace(self, **changes)


def check_nfe(nfe: int, num_steps: int, *, key: str = "nfe") -> None:
    """Raises ValueError where a grid of `nfe` evaluations does not exist on `num_steps` steps."""
    if not 1 <= nfe <= num_steps - 1:
        raise ValueError(f"{key}={nfe} must lie in 1…{num_steps - 1} (num_steps - 1)")


def check_spacing(spacing: str, *, bridge_name: str, noiseless: bool = False) -> None:
    """Raises ValueError for a spacing by σ or λ of a bridge that has none."""
    if spacing == "lambda" and noiseless:
        raise ValueError(
            f"spacing='lambda' does not go with bridge.name={bridge_name!r} without noise, whose λ "
            "is infinite: use 'index'"
        )
    if spacing == "sigma" and bridge_name != "i2sb":
        raise ValueError(
            f"spacing='sigma' does not go with bridge.name={bridge_name!r}: only 'i2sb' has σ; use "
            + ("'index'" if noiseless else "'lambda' or 'index'")
        )


def check_sampler(sampler: str, *, deterministic_bridge: bool, starts_around: bool = False) -> None:
    """Raises ValueError for an unknown sampler or one whose noise the network never saw.

    Args:
        sampler: its name.
        deterministic_bridge: whether the network was trained on the OT-ODE.
        starts_around: whether it was trained with noise at T, where without any it has seen little.
    """
    check_choice("sampler", sampler, SAMPLERS)
    if starts_around and sampler in WITHOUT_NOISE:
        raise ValueError(
            f"sampler={sampler!r} starts at X_1 itself, and this bridge is trained to start with "
            "noise around it: use 'ddpm', 'implicit' or 'heun'"
        )
    if sampler in WITHOUT_NOISE or not deterministic_bridge:
        return
    noise = "adds noise" if sampler == "ddpm" else "starts with a step of noise (booting)"
    raise ValueError(
        f"sampler={sampler!r} {noise} that a bridge trained with bridge.deterministic=True never "
        "saw: use 'ode'"
    )


def check_consistency(chosen: SamplingConfig, corruption: str, operator: str = "") -> None:
    """Raises ValueError where nothing is known that a person's picture could be consistent with.

    Args:
        chosen: how pictures are restored.
        corruption: of the run, or "pairs".
        operator: that made the pictures, where the corruption draws it.
    """
    if operator and not chosen.consistency:
        raise ValueError(
            f"operator={operator!r} is for consistency, which is off: choose "
            f"consistency={METHODS[0]!r}, or leave it out"
        )
    _check_known(chosen, corruption, lambda: refusal(corruption, operator))


def check_x1_tells(chosen: SamplingConfig, corruption: str) -> None:
    """The same of X_1 alone, without a file: in training and in evaluation."""
    _check_known(chosen, corruption, lambda: x1_refusal(corruption))


def _check_known(chosen: SamplingConfig, corruption: str, reason: Callable[[], str]) -> None:
    if not chosen.consistency:
        return
    why = "nobody knows the operator of pairs" if corruption == PAIRS else reason()
    if why:
        raise ValueError(f"consistency={chosen.consistency!r}: {why}")


def check_realism(realism: float | None, nfe: int) -> None:
    """Raises ValueError for a realism below 1 that was asked of a single evaluation."""
    if realism not in (None, 1) and nfe == 1:
        raise ValueError(
            f"realism={realism} lies between the first and the last of several evaluations, and "
            "there is one (nfe=1): choose nfe=10, or leave it out"
        )


def check_student(chosen: SamplingConfig, learnt: SamplingConfig) -> None:
    """Raises ValueError where a student would take other steps than it has learnt to take."""
    for name in STEPS:
        value, right = getattr(chosen, name), getattr(learnt, name)
        if value != right:
            raise ValueError(
                f"{name}={value!r}: this model is a student that has learnt {name}={right!r} alone"
            )
