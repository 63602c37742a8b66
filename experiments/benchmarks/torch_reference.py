"""OpenAI's U-Net in PyTorch, run by `reference_process` in a process of its own.

    python -m experiments.benchmarks.torch_reference GUIDED_DIFFUSION FOLDER MODE

FOLDER holds what the other side made: network.json (arguments of guided-diffusion's UNetModel),
weights.npz (its state dict), inputs.npz (x, level, target; pictures are NCHW) and expected.npy,
JAX's output of the first pictures or of all. Commands come as lines of JSON on standard input,
answers leave as lines on standard output. Nothing of i2sb_jax is imported. Modes:

- "float32": as published. NCHW, no compiler, its own attention, which recomputes itself in the
  backward pass as the code says.
- "best": channels last, PyTorch's fused attention without recomputing, and the fastest of what
  runs: compiled or not, bfloat16 by autocast or float32.

In both the optimizer is PyTorch's fused AdamW, and the average one `_foreach_lerp_`.
"""

import contextlib
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

LEARNING_RATE, BETAS, EMA_DECAY = 5e-5, (0.9, 0.999), 0.99
AGREEMENT = 1e-3  # largest difference between outputs in float32, over their standard deviation
_TRIALS = 5
_ERROR_CHARACTERS = 300
_TIMEABLE = ("forward", "train")


class Reference:
    """The network, its optimizer and inputs, on the one device."""

    def __init__(self, reference: str, folder: pathlib.Path, mode: str):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.mode, self._best = mode, mode == "best"
        self._model = _make_model(reference, folder, fused_attention=self._best).to(self.device)
        torch.set_flush_denormal(True)  # as XLA does
        self._layout = torch.channels_last if self._best else torch.contiguous_format
        self._model = self._model.to(memory_format=self._layout).train()
        with np.load(folder / "inputs.npz") as file:
            self._inputs = {name: self._place(file[name]) for name in file.files}
        self._expected = self._place(np.load(folder / "expected.npy"))
        self._parameters = list(self._model.parameters())
        self._training: tuple | None = None  # optimizer and average: a forward pass needs neither
        self._chosen: dict[str, Callable[[], None]] = {}

    def _place(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array).to(self.device)
        return tensor.contiguous(memory_format=self._layout) if tensor.ndim == 4 else tensor

    def facts(self) -> dict[str, Any]:
        """What this side is."""
        return {
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "optimizer": "AdamW, fused=True",
            "float32 matrix products": torch.get_float32_matmul_precision(),
            "TF32 in convolutions": self.device.type == "cuda" and torch.backends.cudnn.allow_tf32,
        }

    def check(self) -> dict[str, float]:
        """The largest difference from JAX's output over its standard deviation, in float32.

        Raises:
            ValueError: the two networks are not the same.
        """
        allowed, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
        with torch.no_grad():
            first = slice(len(self._expected))
            output = self._model(self._inputs["x"][first], self._inputs["level"][first])
        torch.backends.cudnn.allow_tf32 = allowed
        difference = (output - self._expected).abs().max().item()
        relative = difference / self._expected.std().item()
        if not relative <= AGREEMENT:
            raise ValueError(f"outputs differ by {relative:.2g} of their deviation: not timed")
        return {"largest difference": difference, "over the deviation": relative}

    def prepare(self, work: str) -> dict[str, Any]:
        """Tries every way that the mode allows, and keeps the fastest; "forward" or "train".

        Returns:
            "kept": its name, and "trials": name -> seconds of a run, or why there are none.
        """
        trials: dict[str, Any] = {}
        ways = dict(self._ways(work))
        for name, run in ways.items():
            try:
                run()
                run()  # the second may compile once more
                trials[name] = []
            except Exception as error:  # out of memory, no compiler: told, and others may run
                trials[name] = f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS]
                self._forget()
        good = [name for name in ways if isinstance(trials[name], list)]
        for _ in range(_TRIALS):  # in turn: the machine may be slower for a while
            for name in good:
                trials[name].append(self._time(ways[name], 1))
        trials |= {name: statistics.median(trials[name]) for name in good}
        kept = min(good, key=trials.__getitem__, default=None)
        if kept is not None:
            self._chosen[work] = ways[kept]
        if self.device.type == "cuda":  # the memory of what is kept, not of all trials
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        return {"kept": kept, "trials": trials}

    def run(self, work: str, runs: int) -> dict[str, float]:
        """Seconds of a run in the way that was kept."""
        return {"seconds": self._time(self._chosen[work], runs)}

    def memory(self) -> dict[str, int]:
        """Bytes of the device that were in use at most, 0 where nobody counts."""
        return {"peak": torch.cuda.max_memory_allocated() if self.device.type == "cuda" else 0}

    def _ways(self, work: str) -> list[tuple[str, Callable[[], None]]]:
        """(name, a run) of all that a mode tries."""
        make = self._forward if work == "forward" else self._train
        if not self._best:
            return [("float32, as published", make(self._model, bfloat16=False))]
        # a shape is all that is ever run: nothing is to be compiled for others
        compiled = torch.compile(self._model, dynamic=False)
        # float32 is worth a trial only where bfloat16 is not known to be faster
        widths = (True,) if self.device.type == "cuda" else (True, False)
        return [
            (f"{'bfloat16' if narrow else 'float32'}, {how}", make(model, bfloat16=narrow))
            for how, model in (("eager", self._model), ("compiled", compiled))
            for narrow in widths
        ]

    def _autocast(self, bfloat16: bool) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16)

    def _forward(self, model: torch.nn.Module, *, bfloat16: bool) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad(), self._autocast(bfloat16):
                model(self._inputs["x"], self._inputs["level"])

        return run

    def _train(self, model: torch.nn.Module, *, bfloat16: bool) -> Callable[[], None]:
        if self._training is None:
            optimizer = torch.optim.AdamW(
                self._parameters, lr=LEARNING_RATE, betas=BETAS, weight_decay=0.0, fused=True
            )
            self._training = optimizer, [p.detach().clone() for p in self._parameters]
        optimizer, average = self._training

        def run() -> None:
            optimizer.zero_grad(set_to_none=True)
            with self._autocast(bfloat16):
                output = model(self._inputs["x"], self._inputs["level"])
            loss = functional.mse_loss(output.float(), self._inputs["target"])
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(average, self._parameters, 1 - EMA_DECAY)

        return run

    def _time(self, run: Callable[[], None], runs: int) -> float:
        self._wait()
        start = time.perf_counter()
        for _ in range(runs):
            run()
        self._wait()
        return (time.perf_counter() - start) / runs

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _forget(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _make_model(reference: str, folder: pathlib.Path, *, fused_attention: bool) -> torch.nn.Module:
    sys.path.insert(0, reference)
    from guided_diffusion import unet

    if fused_attention:
        unet.QKVAttentionLegacy.forward = _fused_attention
        # published, a block of attention recomputes itself whatever use_checkpoint says
        unet.AttentionBlock.forward = unet.AttentionBlock._forward
    model = unet.UNetModel(**json.loads((folder / "network.json").read_text()))
    with np.load(folder / "weights.npz") as weights:
        model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
    return model


def _fused_attention(block: torch.nn.Module, qkv: torch.Tensor) -> torch.Tensor:
    """[batch, heads · 3 · c, length] -> [batch, heads · c, length], as QKVAttentionLegacy's."""
    batch, width, length = qkv.shape
    heads = qkv.reshape(batch, block.n_heads, 3, width // (3 * block.n_heads), length)
    query, key, value = heads.transpose(3, 4).unbind(2)
    mixed = functional.scaled_dot_product_attention(query, key, value)
    return mixed.transpose(2, 3).reshape(batch, -1, length)


def _answer(reference: Reference, command: dict[str, Any]) -> dict[str, Any]:
    match command:
        case {"do": "facts"}:
            return reference.facts()
        case {"do": "check"}:
            return reference.check()
        case {"do": "prepare", "work": work} if work in _TIMEABLE:
            return reference.prepare(work)
        case {"do": "run", "work": work, "runs": runs}:
            return reference.run(work, runs)
        case {"do": "memory"}:
            return reference.memory()
    raise ValueError(f"not a command: {command}")


def main() -> None:
    """Answers until standard input ends."""
    # libraries print as they please: to standard error, so that nothing mixes with the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    guided_diffusion, folder, mode = sys.argv[1:]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    reference: Reference | None = None
    for line in sys.stdin:
        try:
            reference = reference or Reference(guided_diffusion, pathlib.Path(folder), mode)
            answer = _answer(reference, json.loads(line))
        except Exception as error:  # the other side tells it, and goes on without this one
            answer = {"error": f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
