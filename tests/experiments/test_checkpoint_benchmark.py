"""The benchmark of checkpoints: what it measures adds up, and its states are of the asked size."""

import jax
import pytest

from experiments.benchmarks import checkpoint
from tests.test_checkpoint import make_state


def test_what_is_measured_adds_up():
    state = make_state(0)
    size = sum(x.nbytes for x in jax.tree.leaves(state))
    found = checkpoint.measure(state, repeats=1, products=1)
    assert all(value > 0 for name, value in found.items() if "lost" not in name)
    assert found["MB"] == size / 1e6 and found["tensors"] == len(jax.tree.leaves(make_state(0)))
    whole, blocked = found["save, seconds until on disk"], found["save, seconds blocked"]
    assert found["save, GB/s"] == pytest.approx(size / 1e9 / whole)
    assert found["save, share blocked"] == pytest.approx(blocked / whole) and blocked < whole
    beside = "save beside steps, "
    longest = found[f"{beside}longest seconds between two steps"]
    assert longest <= found[f"{beside}seconds until on disk"]


def test_states_are_of_the_asked_size():
    abstract = checkpoint.abstract_state(size_mb=10)
    sizes = [x.size * x.dtype.itemsize for x in jax.tree.leaves(abstract)]
    assert sum(sizes) == pytest.approx(10e6, rel=0.2) and len(sizes) > 2000
