"""Twenty updates of the paper's recipe in PyTorch, as the golden of tests/training/test_parity.py.

    python -m experiments.parity.reference --guided_diffusion DIR --output FILE.npz

The network is guided-diffusion's own (MIT licence, not shipped), the optimizer and its decay are
PyTorch's; bridge, corruption, accumulation and averaging are written down here once more. Nothing
of i2sb_jax is imported. What must be the same on both sides is made from NumPy (weights, pictures)
or by the one derivation of keys that the library documents: a key an update, and from it a key a
picture (`draw`).
"""

import argparse
import copy
import math
import sys

import jax
import numpy as np
import torch

from tests.golden.synthetic import hashed_unet_weight, photo

NUM_UPDATES = 20
SEED = 0  # of steps and noise
# Of the first update's pictures; each following update adds 1. With 1000 the float32 and float64
# runs of this file disagreed on one tensor's way by more than 1e-3, because of a single entry.
PHOTO_SEED = 3000
BATCH, ACCUMULATION, SIZE = 4, 2, 8
NUM_STEPS, BETA_MAX = 1000, 0.3
# 64 channels: with 32, a group of the normalisation is one channel, and the bias before it has no
# effect and no gradient, only rounding errors that Adam scales up.
NETWORK = dict(
    image_size=SIZE,
    in_channels=3,
    model_channels=64,
    out_channels=3,
    num_res_blocks=1,
    attention_resolutions=(2,),
    channel_mult=(1, 1),
    num_head_channels=32,
    use_scale_shift_norm=True,
    resblock_updown=True,
)
LEARNING_RATE, DECAY_EVERY, DECAY_RATE = 5e-5, 5, 0.99
EMA_DECAY = 0.99
KEPT_ENTRIES = 512  # of a tensor, at most


def schedule() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """σ², σ̄² and the noise level of every step; float64 [NUM_STEPS]."""
    betas = np.linspace(math.sqrt(1e-4), math.sqrt(BETA_MAX / NUM_STEPS), NUM_STEPS) ** 2
    betas[NUM_STEPS // 2 :] = betas[: NUM_STEPS // 2][::-1]
    levels = np.linspace(1e-4, 1, NUM_STEPS) * NUM_STEPS
    return np.cumsum(betas), np.cumsum(betas[::-1])[::-1], levels


def draw(update: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps int [BATCH] and noise float32 [BATCH, SIZE, SIZE, 3] of an update, the first being 0.

    update's key -> (pictures, dropout); pictures -> a key each; that -> (step, noise).
    """
    key = jax.random.fold_in(jax.random.key(SEED), update)
    steps, noises = [], []
    for picture in jax.random.split(jax.random.split(key)[0], BATCH):
        key_step, key_noise = jax.random.split(picture)
        steps.append(jax.random.randint(key_step, (), 0, NUM_STEPS))
        noises.append(jax.random.normal(key_noise, (SIZE, SIZE, 3)))
    return np.array(steps), np.array(noises)


def degrade(clean: np.ndarray) -> np.ndarray:
    """sr4x-pool: the mean of each 4×4 block, in its place; [batch, h, w, c]."""
    blocks = clean.reshape(-1, SIZE // 4, 4, SIZE // 4, 4, 3)
    return np.broadcast_to(blocks.mean((2, 4), keepdims=True), blocks.shape).reshape(clean.shape)


def make_inputs(update: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """X_n, noise levels and regression targets of an update; pictures are NCHW."""
    clean = photo(BATCH, SIZE, PHOTO_SEED + update)
    steps, noise = draw(update)
    arrays = (a.transpose(0, 3, 1, 2) for a in (clean, degrade(clean), noise))
    x0, x1, z = (torch.tensor(np.ascontiguousarray(a), dtype=dtype) for a in arrays)
    forward, backward, levels = (torch.tensor(a[steps].copy()) for a in schedule())
    forward, backward = forward.view(-1, 1, 1, 1), backward.view(-1, 1, 1, 1)
    total = forward + backward
    weights = (backward / total, forward / total, (forward * backward / total).sqrt())
    w0, w1, std = (w.to(dtype) for w in weights)
    xt = w0 * x0 + w1 * x1 + std * z
    return xt, levels.float(), (xt - x0) / forward.sqrt().to(dtype)


def make_model(folder: str, dtype: torch.dtype) -> torch.nn.Module:
    """guided-diffusion's U-Net with hashed weights."""
    sys.path.insert(0, folder)
    from guided_diffusion.unet import UNetModel

    model = UNetModel(**NETWORK)
    for name, tensor in model.state_dict().items():
        tensor.copy_(torch.from_numpy(hashed_unet_weight(name, tuple(tensor.shape))))
    if dtype == torch.float64:
        # its normalisation, softmax and embedding ask for float32 by x.float()
        torch.Tensor.float = lambda self: self
        model.double().dtype = dtype
    return model.train()


def train(
    model: torch.nn.Module, dtype: torch.dtype
) -> tuple[dict[str, np.ndarray], torch.nn.Module]:
    """Trains `model` in place; returns numbers by update, and the averaged model."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0
    )
    decay = torch.optim.lr_scheduler.StepLR(optimizer, step_size=DECAY_EVERY, gamma=DECAY_RATE)
    average = copy.deepcopy(model)
    curves = {"loss": [], "grad_norm": [], "learning_rate": []}
    for update in range(NUM_UPDATES):
        optimizer.zero_grad()
        total = 0.0
        for part in range(ACCUMULATION):
            xt, level, target = (a[part::ACCUMULATION] for a in make_inputs(update, dtype))
            loss = ((model(xt, level) - target) ** 2).mean() / ACCUMULATION
            loss.backward()
            total += loss.item()
        norms = [parameter.grad.double().norm() for parameter in model.parameters()]
        curves["loss"].append(total)
        curves["grad_norm"].append(torch.stack(norms).norm().item())
        curves["learning_rate"].append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        decay.step()
        k = update + 1
        rate = min(EMA_DECAY, (1 + k) / (10 + k))
        with torch.no_grad():
            for mean, parameter in zip(average.parameters(), model.parameters(), strict=True):
                mean.mul_(rate).add_(parameter, alpha=1 - rate)
        print(f"update {k}: loss {total:.9f}", flush=True)
    return {name: np.array(values) for name, values in curves.items()}, average


def kept_entries(size: int) -> np.ndarray:
    """Which entries of a flat tensor the golden keeps; int32, from everywhere in it."""
    stride = size // KEPT_ENTRIES + 1
    while math.gcd(stride, size) != 1:  # else it would meet some taps or channels only
        stride += 1
    return np.arange(0, size, stride if size > KEPT_ENTRIES else 1, dtype=np.int32)


def summary(prefix: str, model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Per tensor its kept entries, and how far the whole of it has moved."""
    arrays = {}
    for name, tensor in model.named_parameters():
        value = tensor.detach().numpy()
        start = hashed_unet_weight(name, value.shape)
        arrays[f"{prefix}/{name}"] = value.ravel()[kept_entries(value.size)]
        arrays[f"{prefix}_moved/{name}"] = np.linalg.norm(value - start.astype(np.float64))
    return arrays


def main() -> None:
    """Runs the reference and writes its numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guided_diffusion", required=True, help="a checkout of openai's")
    parser.add_argument("--output", required=True, help=".npz to write")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    flags = parser.parse_args()
    dtype = getattr(torch, flags.dtype)
    model = make_model(flags.guided_diffusion, dtype)
    curves, average = train(model, dtype)
    entries = {f"entries/{n}": kept_entries(p.numel()) for n, p in model.named_parameters()}
    states = summary("params", model) | summary("ema", average)
    np.savez_compressed(flags.output, **curves, **entries, **states)


if __name__ == "__main__":
    main()
