"""The schedule and its grids against the reference's numbers."""

import itertools

import numpy as np
import pytest

from i2sb_jax.bridge import diffusion_bridge, i2sb_bridge, make_symmetric_schedule, step_grid
from tests.golden import load

CASES = [(1000, 0.3), (1000, 1.0), (100, 0.3), (50, 1.0)]


@pytest.mark.parametrize("num_steps, beta_max", CASES)
def test_schedule_matches_golden(num_steps, beta_max):
    golden = load("schedule")
    schedule = make_symmetric_schedule(num_steps=num_steps, beta_max=beta_max)
    at = f"N{num_steps}_b{beta_max}/"
    np.testing.assert_allclose(schedule.std_fwd, golden[at + "std_fwd"], rtol=1e-6)
    np.testing.assert_allclose(schedule.std_bwd, golden[at + "std_bwd"], rtol=1e-6)
    np.testing.assert_allclose(schedule.noise_level, golden[at + "noise_levels"], rtol=1e-6)
    assert schedule.std_fwd.dtype == np.float32
    assert schedule.num_steps == num_steps


def test_published_facts():
    schedule = make_symmetric_schedule(num_steps=1000, beta_max=0.3)
    assert schedule.std_fwd[0] == pytest.approx(0.01, rel=1e-6)  # not zero: β_0 is counted
    assert schedule.std_fwd[-1] ** 2 == pytest.approx(0.14103, abs=1e-5)
    np.testing.assert_allclose(schedule.std_fwd, schedule.std_bwd[::-1], rtol=1e-6)
    wide = make_symmetric_schedule(num_steps=1000, beta_max=1.0)
    assert wide.std_fwd[-1] ** 2 == pytest.approx(0.24693, abs=1e-5)
    betas = np.diff(wide.std_fwd.astype(np.float64) ** 2)
    assert betas.max() == pytest.approx(4.327e-4, rel=1e-3)  # the nominal 1e-3 is never reached


@pytest.mark.parametrize("key", [k for k in load("schedule") if k.startswith("steps/")])
def test_grid_matches_golden(key):
    num_steps, nfe = (int(part.lstrip("Nnfe")) for part in key.removeprefix("steps/").split("_"))
    assert step_grid(num_steps, nfe) == tuple(load("schedule")[key])


def test_grid_published_examples():
    assert step_grid(1000, 2) == (0, 500, 999)
    assert step_grid(1000, 4) == (0, 250, 500, 749, 999)
    assert step_grid(1000, 5) == (0, 200, 400, 599, 799, 999)
    assert step_grid(1000, 999) == tuple(range(1000))


@pytest.mark.parametrize("nfe", [1, 2, 7, 50, 99])
def test_sigma_grid_is_a_grid_and_even_in_sigma(nfe):
    schedule = make_symmetric_schedule(num_steps=100, beta_max=1.0)
    steps = step_grid(100, nfe, spacing="sigma", schedule=schedule)
    assert steps[0] == 0 and steps[-1] == 99 and len(steps) == nfe + 1
    assert all(low < high for low, high in itertools.pairwise(steps))
    if nfe < 10:
        gaps = np.diff(schedule.std_fwd[list(steps)])
        uneven = np.diff(schedule.std_fwd[list(step_grid(100, nfe))])
        assert np.ptp(gaps) <= np.ptp(uneven)


@pytest.mark.parametrize("nfe", [0, -1, 1000])
def test_nfe_out_of_range(nfe):
    with pytest.raises(ValueError, match=rf"nfe={nfe} must lie in 1…999"):
        step_grid(1000, nfe)


def test_bad_arguments():
    with pytest.raises(ValueError, match="num_steps=999 must be even"):
        make_symmetric_schedule(num_steps=999, beta_max=0.3)
    with pytest.raises(ValueError, match="beta_max=-1 must be positive"):
        make_symmetric_schedule(num_steps=10, beta_max=-1)
    with pytest.raises(ValueError, match="spacing='cosine' is not known"):
        step_grid(10, 2, spacing="cosine")
    with pytest.raises(ValueError, match="needs the schedule"):
        step_grid(10, 2, spacing="sigma")


# --- grids even in λ ------------------------------------------------------------------------------

SCHEDULE = make_symmetric_schedule(num_steps=1000, beta_max=0.3)


@pytest.mark.parametrize("nfe", [1, 2, 3, 10, 50, 999])
def test_lambda_grid_is_even_below_the_end(nfe):
    steps = step_grid(1000, nfe, spacing="lambda", schedule=SCHEDULE)
    assert steps[0] == 0 and steps[-1] == 999 and len(steps) == nfe + 1
    assert all(low < high for low, high in itertools.pairwise(steps))
    if 2 <= nfe <= 10:
        exact = i2sb_bridge(SCHEDULE)
        log_snr = np.log(exact.b[:-1] / exact.c[:-1])
        even = np.linspace(log_snr[0], log_snr[-1], nfe)
        # the nearest index may be half of the largest step of λ away
        worst = np.abs(np.diff(log_snr)).max() / 2
        assert np.abs(log_snr[list(steps[:-1])] - even).max() <= worst
        uneven = log_snr[list(step_grid(1000, nfe)[:-1])]
        assert nfe == 2 or np.abs(uneven - even).max() > 3 * worst


def test_lambda_grid_of_a_bridge_without_noise_at_its_end():
    """λ is infinite at index 0, so the even part begins at index 1."""
    time = np.linspace(0, 1, 21)
    silent = diffusion_bridge(alpha=np.ones(21), std=np.sqrt(time), scale=np.ones(21))
    for nfe in (1, 2, 3, 5, 20):
        steps = step_grid(21, nfe, spacing="lambda", schedule=silent)
        assert steps[0] == 0 and steps[-1] == 20 and len(steps) == nfe + 1
        assert all(low < high for low, high in itertools.pairwise(steps))


def test_grids_refuse_what_they_cannot_space():
    with pytest.raises(ValueError, match=r"spacing='lambda' needs the schedule, of num_steps=10"):
        step_grid(10, 2, spacing="lambda")
    with pytest.raises(ValueError, match=r"needs the schedule, of num_steps=10"):
        step_grid(10, 2, spacing="lambda", schedule=SCHEDULE)
    with pytest.raises(ValueError, match=r"spacing='sigma' needs I²SB's schedule"):
        step_grid(1000, 2, spacing="sigma", schedule=i2sb_bridge(SCHEDULE))
