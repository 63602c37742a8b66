"""Twenty updates of the paper's recipe against guided-diffusion's U-Net trained by PyTorch.

The numbers are those of `experiments/parity/reference.py`, from the same weights, pictures, steps
and noise; experiments/parity/README.md says what was measured.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from i2sb_jax.interop.adm import parameter_table, to_torch_layout
from i2sb_jax.run import Run
from i2sb_jax.training import create_state, make_optimizer, make_schedule, make_train_step
from i2sb_jax.types import Batch
from tests.golden import load
from tests.golden.synthetic import photo
from tests.models.networks import hashed_params
from tests.training.tiny import make_config

NUM_UPDATES, BATCH, SIZE, HEAD = 20, 4, 8, 32
RECIPE = {
    "corruption": "sr4x-pool",
    "image_size": SIZE,
    "bridge": {"num_steps": 1000, "beta_max": 0.3, "deterministic": False},
    "model": {
        "model_channels": 64,
        "channel_mult": (1.0, 1.0),
        "num_res_blocks": 1,
        "attention_downsamples": (2,),
        "head_channels": HEAD,
        "norm_groups": 32,
    },
    "training": {"batch_size": BATCH, "accumulation_steps": 2, "num_steps": NUM_UPDATES},
}
PAPER = {"learning_rate": 5e-5, "decay_every": 5}  # the rest is every run's default
LOSS_TOLERANCE = 1e-5  # relative
MOVED_TOLERANCE = 1e-3  # of the distance moved


def make_recipe(**optimizer):
    return make_config(**RECIPE, optimizer=PAPER | optimizer)


def recording(tx):
    """`tx`, with the last gradients in its state."""

    def update(grads, state, params):
        updates, inner = tx.update(grads, state[1], params)
        return updates, (grads, inner)

    return optax.GradientTransformation(lambda params: (params, tx.init(params)), update)


@pytest.fixture(scope="module")
def run():
    """The library's run: (curves, [(params, ema, gradients) after each update])."""
    config = make_recipe()
    tx = recording(make_optimizer(config.optimizer, num_steps=NUM_UPDATES))
    step = make_train_step(
        apply_fn=Run(config).network.apply,
        tx=tx,
        schedule=Run(config).bridge,
        ema_decay=config.training.ema_decay,
        accumulation_steps=config.training.accumulation_steps,
    )
    step, corruption = jax.jit(step), Run(config).corruption
    root = jax.random.key(config.seed)
    state = create_state(jax.tree.map(jnp.asarray, start_params()), tx)
    trees, metrics = [], []
    for update in range(NUM_UPDATES):
        clean = photo(BATCH, SIZE, 3000 + update)
        batch = Batch(clean=clean, degraded=corruption.degrade(clean))
        state, values = step(state, batch, jax.random.fold_in(root, update))
        trees.append(jax.device_get((state.params, state.ema_params, state.opt_state[0])))
        metrics.append(jax.device_get(values))
    return {name: np.array([m[name] for m in metrics]) for name in metrics[0]}, trees


@functools.cache
def start_params():
    return hashed_params(make_recipe().model.unet_config(in_channels=3))


@functools.cache
def start_tensors():
    return torch_tensors(start_params())


def torch_tensors(params):
    """{guided-diffusion's name: flat float64 array, its entries in PyTorch's order}"""
    tensors = {}
    for entry in parameter_table(make_recipe().model.unet_config(in_channels=3)):
        array = functools.reduce(lambda node, key: node[key], entry.flax_path, params)
        tensor = to_torch_layout(np.asarray(array, np.float64), entry.layout)
        tensors[entry.torch_name] = tensor.ravel()
    return tensors


def is_key_bias(name, count):
    """Which of a tensor's entries are biases of attention keys, bool [count].

    Such a bias adds the same to all logits of a query. The softmax does not see it: its gradient is
    zero but for rounding errors, whose direction nobody can agree on and Adam does not leave small.
    """
    position = np.arange(count) // HEAD % 3  # head by head; query, key, value in each
    return (position == 1) & name.endswith("qkv.bias")


def deviations(params, kind):
    """{what: how far `params` are from the golden's, in units of the distance those have moved}.

    Of each tensor the entries kept in the golden, and the distance that the whole of it has moved.
    """
    golden, start, found = load("training_parity"), start_tensors(), {}
    for name, tensor in torch_tensors(params).items():
        kept = golden[f"entries/{name}"]
        compared = ~is_key_bias(name, len(kept))
        expected = golden[f"{kind}/{name}"].astype(np.float64)
        error, path = tensor[kept] - expected, expected - start[name][kept]
        found[name] = np.linalg.norm(error[compared]) / np.linalg.norm(path[compared])
        moved = np.linalg.norm(tensor - start[name])
        found[f"distance of {name}"] = abs(moved / golden[f"{kind}_moved/{name}"] - 1)
    return found


def test_the_golden_knows_every_tensor():
    golden, tensors = load("training_parity"), start_tensors()
    assert {f"entries/{name}" for name in tensors} == {k for k in golden if k.startswith("entries")}
    for name, tensor in tensors.items():
        assert len(golden[f"entries/{name}"]) >= min(tensor.size, 256), name
        for kind in ("params", "ema"):
            # twenty updates of 5e-5 lead to 1e-3 at most
            assert golden[f"{kind}_moved/{name}"] > 1e-4 * tensor.size**0.5, name


def test_losses_gradients_and_rates_agree(run):
    curves, golden = run[0], load("training_parity")
    np.testing.assert_allclose(curves["loss"], golden["loss"], rtol=LOSS_TOLERANCE)
    np.testing.assert_allclose(curves["grad_norm"], golden["grad_norm"], rtol=LOSS_TOLERANCE)
    rate = make_schedule(make_recipe().optimizer, num_steps=NUM_UPDATES)
    rates = [float(rate(update)) for update in range(NUM_UPDATES)]
    np.testing.assert_allclose(rates, golden["learning_rate"], rtol=1e-6)


@pytest.mark.parametrize("kind", ["params", "ema"])
def test_weights_end_where_the_reference_does(run, kind):
    found = deviations(run[1][-1][kind == "ema"], kind)
    assert {what: value for what, value in found.items() if value > MOVED_TOLERANCE} == {}


@pytest.mark.parametrize("kind", ["params", "ema"])
def test_key_biases_stay(run, kind):
    """Rounding errors move them on both sides, but by little of what the rates would allow."""
    golden = load("training_parity")
    limit = 0.1 * golden["learning_rate"].sum()
    names = [name for name in start_tensors() if name.endswith("qkv.bias")]
    assert len(names) == 4
    for name in names:
        start, ours = start_tensors()[name], torch_tensors(run[1][-1][kind == "ema"])[name]
        for tensor in (ours, golden[f"{kind}/{name}"]):
            moved, key = np.abs(tensor - start), is_key_bias(name, start.size)
            assert moved[key].max() < limit < moved[~key].mean(), name


def replay(trees, **optimizer):
    """Parameters after the run's own gradients, applied by another optimizer of the library."""
    # all parameters as one array: AdamW treats each entry by itself, and one shape compiles fast
    leaves, treedef = jax.tree.flatten(start_params())
    flat = join(leaves)
    tx = make_optimizer(make_recipe(**optimizer).optimizer, num_steps=NUM_UPDATES)
    state = tx.init(flat)
    for _, _, grads in trees:
        updates, state = tx.update(join(jax.tree.leaves(grads)), state, flat)
        flat = optax.apply_updates(flat, updates)
    parts = np.split(np.asarray(flat), np.cumsum([leaf.size for leaf in leaves])[:-1])
    return treedef.unflatten(
        part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)
    )


def join(leaves):
    return jnp.asarray(np.concatenate([leaf.ravel() for leaf in leaves]))


@pytest.mark.parametrize(
    ("optimizer", "noticed"),
    [
        ({}, False),
        ({"decay_every": 4}, True),
        ({"decay_every": 6}, True),
        ({"decay_rate": 0.995}, True),
        ({"eps": 1e-7}, True),
        ({"b1": 0.899}, True),
        ({"weight_decay": 0.01}, True),
        ({"warmup_steps": 1}, True),
    ],
)
def test_a_wrong_optimizer_is_noticed(run, optimizer, noticed):
    worst = max(deviations(replay(run[1], **optimizer), "params").values())
    assert worst > 2 * MOVED_TOLERANCE if noticed else worst < MOVED_TOLERANCE


@pytest.mark.parametrize(
    ("decay", "noticed"),
    [
        (lambda k: min(0.99, (1 + k) / (10 + k)), False),
        (lambda k: 0.99, True),
        (lambda k: k / (9 + k), True),
        (lambda k: (1 + k) / (11 + k), True),
    ],
    ids=["right", "no warm-up", "counted from zero", "slower warm-up"],
)
def test_a_wrong_average_is_noticed(run, decay, noticed):
    mean = start_params()
    for k, (params, _, _) in enumerate(run[1], start=1):
        mean = optax.incremental_update(params, mean, 1 - decay(k))
    worst = max(deviations(mean, "ema").values())
    assert worst > 2 * MOVED_TOLERANCE if noticed else worst < MOVED_TOLERANCE
