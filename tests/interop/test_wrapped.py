"""Weights within what trainers wrap around them come out as the plain state dict does."""

import argparse
import collections
import decimal
import pathlib

import jax
import numpy as np
import pytest

from i2sb_jax.interop import (
    import_weights,
    load_i2sb,
    read_safetensors_file,
    read_torch_file,
)
from i2sb_jax.interop.adm import load_adm, state_dict_from_params
from i2sb_jax.interop.torch_pickle import Marker
from i2sb_jax.interop.wrapped import FIRST_KERNEL, unwrap, without_wrappers
from tests.interop.hostile import call, pickled, torch_zip
from tests.interop.latest import PATH, UNET, make_run
from tests.interop.torch_writer import Pickler, Saved, write_legacy_file, write_torch_file
from tests.models.networks import TINY, golden_state_dict, hashed_params


@pytest.fixture(scope="module")
def plain():
    return golden_state_dict("unet_tiny")


def prefixed(state_dict, prefix):
    return {f"{prefix}{name}": value for name, value in state_dict.items()}


def other(state_dict):
    return {name: value + 1 for name, value in state_dict.items()}


SCALAR = np.zeros((), np.int64)
# what is around the state dict, and what is told of it
WRAPPED = {
    "ddp": (lambda x: prefixed(x, "module."), "'module.' is taken off"),
    "compiled": (lambda x: prefixed(x, "_orig_mod."), "'_orig_mod.' is taken off"),
    "compiled ddp": (lambda x: prefixed(x, "module._orig_mod."), "'module._orig_mod.' is taken"),
    "entry": (lambda x: {"state_dict": x, "epoch": 3}, "its entry 'state_dict'"),
    "entry of DDP": (lambda x: {"model": prefixed(x, "module.")}, "its entry 'model'"),
    "lightning": (
        lambda x: {
            "epoch": 3,
            "pytorch-lightning_version": "2.5.0",
            "state_dict": prefixed(x, "net.") | {"loss.scale": SCALAR, "lpips.w": np.ones(3)},
            "hyper_parameters": {"lr": 1e-4},
            "callbacks": {},
        },
        "2 entries beside them are left out: loss.scale, lpips.w",
    ),
    "ema-pytorch": (
        lambda x: (
            prefixed(x, "ema_model.")
            | prefixed(other(x), "online_model.")
            | {"initted": SCALAR, "step": SCALAR}
        ),
        "'ema_model' is taken, 'online_model' left out",
    ),
    "two entries": (
        lambda x: {"model": other(x), "model_ema": x, "optimizer": {"state": {}}},
        "'model_ema' is taken, 'model' left out",
    ),
}


@pytest.mark.parametrize("write", [write_torch_file, write_legacy_file])
@pytest.mark.parametrize("wrap, told", WRAPPED.values(), ids=WRAPPED)
def test_they_come_out_as_they_went_in(plain, tmp_path, wrap, told, write):
    write(tmp_path / "wrapped.pt", wrap(plain))
    contents, notes = unwrap(read_torch_file(tmp_path / "wrapped.pt"))
    assert list(contents) == list(plain)
    for name, value in plain.items():
        np.testing.assert_array_equal(contents[name], value)
    assert any(told in note for note in notes), notes


def test_net_is_the_other_one(plain, tmp_path):
    write_torch_file(tmp_path / "ema.pt", WRAPPED["ema-pytorch"][0](plain))
    contents, _ = unwrap(read_torch_file(tmp_path / "ema.pt"), weights="net")
    np.testing.assert_array_equal(contents[FIRST_KERNEL], plain[FIRST_KERNEL] + 1)


def test_a_plain_file_is_left_alone(plain):
    assert unwrap(plain) == (plain, ())
    assert unwrap({"a": [1]}) == ({"a": [1]}, ())


def test_two_networks_without_an_average_are_refused(plain):
    with pytest.raises(ValueError, match="holds 2 networks, 'first', 'second', and nothing tells"):
        unwrap({"first": plain, "second": plain})


def test_a_surplus_tensor_is_not_taken_for_a_wrapper(plain, tmp_path):
    write_torch_file(tmp_path / "odd.pt", plain | {"label_emb.weight": np.ones((4, 4), "f4")})
    with pytest.raises(ValueError, match=r"1 surplus: label_emb.weight; the weights are class"):
        load_adm(tmp_path / "odd.pt", TINY)


def test_names_that_become_one_are_refused():
    assert without_wrappers({"module._orig_mod.module.a": 1}) == {"a": 1}
    with pytest.raises(ValueError, match="names a twice"):
        without_wrappers({"module.a": 1, "a": 2})


# --- what stands beside weights ------------------------------------------------------------------


BESIDE = {
    "numpy.dtype": np.dtype("<f8"),
    "numpy._core.multiarray.scalar": np.float64(0.5),
    "argparse.Namespace": argparse.Namespace(lr=0.1, nested={"a": [1, 2]}, out="runs"),
    "PurePosixPath": pathlib.PurePosixPath("runs/one"),
    "PosixPath": pathlib.Path("runs"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_trainers_leave_beside_becomes_a_marker(name, tmp_path):
    program = Pickler()
    body = program.file({"args": Saved(BESIDE[name]), "lr": 0.5})
    (tmp_path / "file.pt").write_bytes(torch_zip(body))
    contents = read_torch_file(tmp_path / "file.pt")
    assert isinstance(contents["args"], Marker) and contents["args"].name.endswith(name)
    assert contents["lr"] == 0.5
    (note,) = unwrap(contents).notes
    assert name in note and "never built" in note


@pytest.mark.parametrize(
    "value",
    [
        argparse.Namespace(price=decimal.Decimal(1)),
        collections.Counter("a"),
        argparse.Namespace(root=argparse.ArgumentParser),
        np.ones(3),
    ],
    ids=["decimal within", "counter", "class within", "array"],
)
def test_every_other_name_stays_an_error_wherever_it_stands(value, tmp_path):
    (tmp_path / "file.pt").write_bytes(torch_zip(Pickler().file({"args": Saved(value)})))
    with pytest.raises(ValueError, match=r"asks for|BUILD"):
        read_torch_file(tmp_path / "file.pt")


@pytest.mark.parametrize(
    "body",
    [
        call("numpy", "dtype", Pickler().text("f8")),
        b"}(" + Pickler().text("a") + b"cargparse\nNamespace\nu",
        call("_codecs", "encode", Pickler().text("x"), Pickler().text("rot13")),
        call("pathlib", "PosixPath") + b")R",
    ],
    ids=["alone", "uncalled", "another codec", "called again"],
)
def test_a_marker_is_no_way_to_anything(body, tmp_path):
    (tmp_path / "file.pt").write_bytes(torch_zip(pickled(body)))
    with pytest.raises(ValueError, match=r"asks for|not a function"):
        read_torch_file(tmp_path / "file.pt")


def test_a_marker_in_place_of_a_tensor_is_an_error(plain, tmp_path):
    program = Pickler()
    spoilt = plain | {"out.2.bias": Saved(np.float64(1))}
    body = program.file(spoilt)
    storages = dict(enumerate(x.tobytes() for x in program.storages))
    (tmp_path / "file.pt").write_bytes(torch_zip(body, storages))
    with pytest.raises(ValueError, match=r"out.2.bias is no tensor but of type Marker"):
        load_adm(tmp_path / "file.pt", TINY)


# --- importing -----------------------------------------------------------------------------------


def test_importing_says_what_was_unwrapped_and_what_is_missing(tmp_path):
    config = make_run(corruption="pairs", data={"source": "pairs", "path": "/data/microscope"})
    tensors = state_dict_from_params(hashed_params(UNET), UNET)
    write_torch_file(tmp_path / "plain.pt", tensors)
    write_torch_file(tmp_path / "ddp.pt", {"state_dict": prefixed(tensors, "module.")})
    plain, wrapped = (
        import_weights(tmp_path / f"{name}.pt", tmp_path / name, config, weights="ema")
        for name in ("plain", "ddp")
    )
    (missing,) = plain.notes
    assert missing.startswith("value_ranges.json is missing")
    assert wrapped.notes[-1] == missing and "'module.'" in wrapped.notes[-2]
    files = [
        read_safetensors_file(tmp_path / name / "model.safetensors") for name in ("plain", "ddp")
    ]
    assert files[0].keys() == files[1].keys()
    for name, value in files[0].items():
        np.testing.assert_array_equal(files[1][name], value)


def test_of_initial_weights_and_pictures_nothing_is_missing(tmp_path):
    write_torch_file(tmp_path / "plain.pt", state_dict_from_params(hashed_params(UNET), UNET))
    pairs = make_run(corruption="pairs", data={"source": "pairs", "path": "/data/microscope"})
    assert import_weights(tmp_path / "plain.pt", tmp_path / "a", pairs).notes == ()
    assert (
        import_weights(tmp_path / "plain.pt", tmp_path / "b", make_run(), weights="net").notes == ()
    )


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_a_checkpoint_of_i2sb_may_be_wrapped_too(prefix, tmp_path):
    contents = read_torch_file(PATH)
    contents = contents | {"net": prefixed(contents["net"], prefix)}
    write_torch_file(tmp_path / "latest.pt", contents)
    for weights in ("net", "ema"):
        jax.tree.map(
            np.testing.assert_array_equal,
            load_i2sb(tmp_path / "latest.pt", UNET, weights=weights),
            load_i2sb(PATH, UNET, weights=weights),
        )
