"""A shipped model's name stands wherever a model is named."""

import pytest

from i2sb_jax import config as config_lib
from i2sb_jax import interop, zoo
from i2sb_jax.config import from_config_dict
from i2sb_jax.interop import hub, local_folder
from i2sb_jax.restoration import Restorer, load_model
from i2sb_jax.run import Run
from i2sb_jax.training import teacher
from i2sb_jax.training.loop import check_start
from tests.restoration.models import identity_model


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub._note_local.cache_clear()


def fine_tuning(**changes):
    from i2sb_jax.configs import zoo as configs

    values = configs.get_config("jpeg")
    values.data.path = "photographs"
    values.update(changes.pop("top", {}))
    for section, keys in changes.items():
        values[section].update(keys)
    return from_config_dict(values.to_dict())


def test_names_are_folders_of_the_package():
    for name in zoo.MODELS:
        assert local_folder(name) == zoo.shipped_folder(name)


def test_a_model_here_goes_first_and_says_so(tmp_path, capsys):
    identity_model(tmp_path / "jpeg")
    assert local_folder("jpeg") == "jpeg" and local_folder("jpeg") == "jpeg"
    err = capsys.readouterr().err
    assert err == "note: jpeg is the folder of that name, not the shipped model\n"
    assert Restorer.from_workdir("jpeg").corruption.name == "blur-gauss-exact"
    assert Restorer.shipped("jpeg").corruption.name == "jpeg-told-5-95"


def test_pictures_of_that_name_do_not_stand_in_the_way(tmp_path, capsys):
    (tmp_path / "jpeg").mkdir()
    (tmp_path / "jpeg" / "a.jpg").write_bytes(b"")
    assert local_folder("jpeg") == zoo.shipped_folder("jpeg")
    assert capsys.readouterr().err == ""


def test_an_unknown_name_is_told_the_names(tmp_path):
    line = r"^jpg is neither a folder nor a shipped model: did you mean 'jpeg'\? \(choices: jpeg, "
    for use in (local_folder, interop.load_model_folder, Restorer.from_workdir):
        with pytest.raises(ValueError, match=line):
            use("jpg")
    (tmp_path / "jpg").mkdir()  # what is there is what is meant
    assert local_folder("jpg") == "jpg"
    assert local_folder("runs/jpg") == "runs/jpg" and local_folder("x.pt") == "x.pt"


def test_a_folder_is_restored_from_by_name():
    restorer = Restorer.shipped("denoise")
    assert restorer.source == "denoise" and restorer.corruption.name == "noise-0-60"
    assert restorer.weights_digest() == Restorer.from_workdir("denoise").weights_digest()
    with pytest.raises(ValueError, match=r"'denoize' is no shipped model: did you mean 'denoise'"):
        Restorer.shipped("denoize")
    assert load_model("sr4x")[2].corruption == "sr4x-photo"


def test_an_export_of_a_name_says_where_it_is_from(tmp_path):
    origin = interop.export_model("deblur", tmp_path / "out")
    assert origin == interop.read_provenance("deblur")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "deblur, shipped with i2sb_jax (ema)" in text and "Apache-2.0" in text


def test_training_starts_from_a_name_and_the_licence_follows(tmp_path):
    config = fine_tuning(training={"init_from": "jpeg"})
    check_start(Run(config), tmp_path / "run")
    origin = interop.inherited_provenance("jpeg")
    assert origin.trained and "Apache-2.0" in origin.licence
    with pytest.raises(ValueError, match=r"^jpge is neither .* did you mean 'jpeg'"):
        check_start(Run(fine_tuning(training={"init_from": "jpge"})), tmp_path / "run")
    with pytest.raises(ValueError, match="denoise"):  # another network: it is told nothing
        check_start(Run(fine_tuning(training={"init_from": "denoise"})), tmp_path / "run")


def test_a_teacher_is_named_too(tmp_path):
    bridge = {"deterministic": False, "end_share": 0.0, "log_floor": 0.0}
    config = fine_tuning(top={"teacher": "jpeg"}, bridge=bridge, sampling={"sampler": "ddpm"})
    with pytest.raises(ValueError, match=r"^teacher=jpeg is an OT-ODE: "):
        teacher.check_teacher(config, tmp_path, {})


def test_a_run_here_of_that_name_can_be_read(tmp_path):
    identity_model(tmp_path / "deblur")
    assert config_lib.load(local_folder("deblur")).corruption == "blur-gauss-exact"
