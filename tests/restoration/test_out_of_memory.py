"""Where a device has no memory for a call, smaller ones go on, and what they made says so."""

import json
import types

import jax
import numpy as np
import pytest

from i2sb_jax.accelerators.memory import free_bytes
from i2sb_jax.accelerators.program import Memory
from i2sb_jax.pictures import decode_rgb, write_png
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.memory import bytes_on_device
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.restoration.tiles import Tiling
from i2sb_jax.sampling import DeviceSampler, Engine, OutOfMemory
from tests.restoration.models import identity_model, photo

EXHAUSTED = "RESOURCE_EXHAUSTED: Out of memory allocating 2 bytes.\nand many lines more"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Without attention, so that windows adapt to the picture."""
    return identity_model(
        tmp_path_factory.mktemp("model"), "jpeg-10", model={"middle_attention": False}
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """One of a window of 64 pixels, and one of 128."""
    folder = tmp_path_factory.mktemp("pictures")
    write_png(folder / "large.png", photo(100, 120))
    write_png(folder / "small.png", photo(50, 60))
    return folder


@pytest.fixture
def device(monkeypatch):
    """A device with memory for calls of so many pixels; the (windows, side) that it was given."""

    def limit(pixels, text=EXHAUSTED):
        given, call = [], DeviceSampler.__call__

        def limited(self, params, batch):
            count, side = batch.x1.shape[:2]
            given.append((count // jax.device_count(), side))
            if count * side**2 > pixels * jax.device_count():
                raise jax.errors.JaxRuntimeError(text)
            return call(self, params, batch)

        monkeypatch.setattr(DeviceSampler, "__call__", limited)
        return given

    return limit


def lines(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if "no memory" in line]


def same(out, pictures, name):
    """Whether a network that returns its input has."""
    pair = [decode_rgb((folder / name).read_bytes()) for folder in (out, pictures)]
    return pair[0].shape == pair[1].shape and np.abs(np.subtract(*pair, dtype=float)).max() <= 1


def listed(out):
    """Name -> tile that the folder's list names, of finished results."""
    entries = map(json.loads, (out / "restore.results.jsonl").read_text().splitlines())
    return {entry["files"][0]: entry.get("tile") for entry in entries if entry["made_of"]}


def test_tiles_are_halved_and_the_picture_goes_on(model, pictures, device, tmp_path, capsys):
    given = device(64**2)
    outcome = restore_folder(model, pictures, tmp_path / "out", Options(nfe=1), quiet=True)
    assert outcome.restored == 2 and not outcome.unreadable
    assert all(same(tmp_path / "out", pictures, f"{name}.png") for name in ("large", "small"))
    assert [side for _, side in given][:3] == [64, 128, 64]
    assert listed(tmp_path / "out") == {"small.png": None, "large.png": 64}
    assert lines(capsys) == [
        "note: no memory for 1 window of 128×128 at once on a device (RESOURCE_EXHAUSTED: Out of "
        "memory allocating 2 bytes.); what is not finished is restored in tiles of 64×64"
    ]
    again = restore_folder(model, pictures, tmp_path / "out", Options(nfe=1), quiet=True)
    assert (again.restored, again.skipped) == (0, 2)


def test_with_enough_memory_nothing_is_said(model, pictures, device, tmp_path, capsys):
    device(10**6)
    restore_folder(model, pictures, tmp_path / "out", Options(nfe=1), quiet=True)
    assert listed(tmp_path / "out") == {"small.png": None, "large.png": None}
    assert not lines(capsys)


def test_a_single_file_tells_its_tile_too(model, pictures, device, tmp_path, capsys):
    device(64**2)
    out = tmp_path / "out.png"
    options = Options(nfe=1, tile=128)
    assert restore_folder(model, pictures / "large.png", out, options, quiet=True).restored == 1
    assert b" tile=64" in out.read_bytes()
    assert len(lines(capsys)) == 1
    assert restore_folder(model, pictures / "large.png", out, options, quiet=True).skipped == 1


def test_the_smallest_tile_is_the_end(model, pictures, device, tmp_path):
    device(63**2)
    with pytest.raises(ValueError, match="nothing smaller is tried") as error:
        restore_folder(model, pictures / "large.png", tmp_path / "out", Options(nfe=1), quiet=True)
    assert "\n" not in str(error.value) and "1 window of 64×64 at once" in str(error.value)
    assert "choose --dtype bfloat16" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_other_errors_stay_as_they_are(model, pictures, device, tmp_path, capsys):
    device(10, "INTERNAL: a kernel failed")
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"^INTERNAL: a kernel failed$"):
        restore_folder(model, pictures, tmp_path / "out", Options(nfe=1), quiet=True)
    assert not lines(capsys)


def test_fewer_at_once_come_first(model, pictures, device, tmp_path, capsys):
    """What is degraded is cut to the run's size, which stays."""
    given = device(16**2)
    options = Options(nfe=1, degrade=True)
    outcome = restore_folder(model, pictures, tmp_path / "out", options, quiet=True)
    assert outcome.restored == 2 and given == [(2, 16), (1, 16), (1, 16)]
    assert listed(tmp_path / "out") == {"small.png": None, "large.png": None}
    (told,) = lines(capsys)
    assert told.startswith("note: no memory for 2 windows of 16×16") and "1 at once" in told
    device(10)
    with pytest.raises(ValueError, match=r"1 window of 16×16 at once .* nothing smaller"):
        restore_folder(model, pictures, tmp_path / "none", options, quiet=True)


def test_a_preview_goes_on_too(model, pictures, device, tmp_path, capsys):
    device(64**2)
    source = pictures / "large.png"
    outcome = restore_folder(model, source, tmp_path, Options(nfe=1, preview=True), quiet=True)
    assert outcome.written == ("preview.png",) and len(lines(capsys)) == 1
    assert decode_rgb((tmp_path / "preview.png").read_bytes()).shape == (64, 128, 3)


def test_the_tile_follows_from_the_free_memory(model, pictures, tmp_path, monkeypatch, capsys):
    options = Options(nfe=1)
    restorer = Restorer.from_workdir(model)
    sampling = options.resolve(restorer.config).sampling(restorer.config)
    needs = [
        bytes_on_device(restorer.prepare(side, sampling), weights=restorer.weight_bytes)
        for side in (64, 128)
    ]
    assert 0 < 3 * needs[0] < needs[1]
    monkeypatch.setattr(Engine, "free_bytes", lambda self: needs[0])
    source = pictures / "large.png"
    restore_folder(model, source, tmp_path / "out", options, quiet=True)
    assert listed(tmp_path / "out") == {"large.png": 64}
    (told,) = lines(capsys)
    assert "GiB are needed" in told and told.endswith("in tiles of 64×64")
    # who chooses a tile gets it, and with less than the smallest needs that is tried
    restore_folder(model, source, tmp_path / "own", Options(nfe=1, tile=128), quiet=True)
    assert listed(tmp_path / "own") == {"large.png": None} and not lines(capsys)
    monkeypatch.setattr(Engine, "free_bytes", lambda self: 1)
    restore_folder(model, source, tmp_path / "least", options, quiet=True)
    assert listed(tmp_path / "least") == {"large.png": 64}


def test_a_restorer_names_the_call(model, device):
    device(15**2)
    with pytest.raises(OutOfMemory, match="2 windows of 16×16 at once on a device") as error:
        Restorer.from_workdir(model)(photo(16, 16)[None], nfe=1)
    assert (error.value.windows, error.value.shape) == (2, (16, 16))


def test_half_a_tiling():
    assert Tiling(512, 64, True, 32).halved() == Tiling(256, 64, True, 32)
    assert Tiling(192, 160, False, 16).halved() == Tiling(96, 48, False, 16)
    assert Tiling(160, 32, True, 32, margin=8).halved() == Tiling(64, 32, True, 32, margin=8)
    assert Tiling(128, 112, True, 16, margin=48).halved().overlap == 48  # all but one block
    assert Tiling(112, 16).halved() is None and Tiling(64, 0).halved() is None


def test_free_memory_is_the_fullest_devices():
    def holding(stats):
        return types.SimpleNamespace(memory_stats=lambda: stats)

    some = [holding({"bytes_limit": 10, "bytes_in_use": used}) for used in (3, 8)]
    assert free_bytes(some) == 2
    assert free_bytes([*some, holding(None)]) is None
    assert free_bytes([holding({"bytes_in_use": 1})]) is None


def test_calls_in_turn_hold_two_batches():
    program = Memory(arguments=1000, outputs=200, temporaries=30, code=5)
    assert bytes_on_device(program, weights=900) == 35 + 2 * (100 + 200)
