"""Of two runs in one folder the later has it, and the earlier stops before it writes again."""

import json

import pytest

from i2sb_jax.training.claim import Claim
from tests.training.tiny import endless, make_config, train


def test_a_claim_is_given_up_at_the_end(tmp_path):
    with Claim(tmp_path) as claim:
        claim.check()
        assert set(json.loads((tmp_path / "running.json").read_text())) == {
            "host", "process", "since", "token",
        }  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_the_later_has_it(tmp_path):
    with Claim(tmp_path) as later:
        pass
    with Claim(tmp_path) as earlier, Claim(tmp_path) as later:
        later.check()
        with pytest.raises(ValueError) as error:
            earlier.check()
        later.check()
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert "another run (" in str(error.value) and "has taken over" in str(error.value)


def test_a_claim_of_the_dead_hinders_nobody(tmp_path):
    Claim(tmp_path)  # killed
    with Claim(tmp_path) as claim:
        claim.check()


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"token": "x"}'])
def test_a_claim_that_is_gone_or_broken(tmp_path, text):
    claim = Claim(tmp_path)
    if text is None:
        (tmp_path / "running.json").unlink()
    else:
        (tmp_path / "running.json").write_text(text)
    if text in ("", "{"):  # half a file says nothing of a rival
        claim.check()
        return
    with pytest.raises(ValueError, match="another run"):
        claim.check()


def test_a_save_that_fails_because_of_the_rival_names_the_rival(tmp_path):
    with pytest.raises(ValueError, match="has taken over"), Claim(tmp_path):
        Claim(tmp_path)
        raise OSError("no such file")
    with pytest.raises(OSError, match="disk"), Claim(tmp_path):
        raise OSError("the disk is full")


def test_a_run_that_lost_its_folder_writes_nothing_more(tmp_path):
    def overtaken(start):
        for step, batch in enumerate(endless(start)):
            if step == 6:
                Claim(tmp_path)
            yield batch

    with pytest.raises(ValueError, match="has taken over"):
        train(tmp_path, make_config(), batches=overtaken)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 6
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["4"]
