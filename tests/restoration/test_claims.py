"""Processes that restore one folder together: who has which picture, and what is left of it."""

import functools
import json
import threading
import time
import types

import pytest
from etils import epath
from PIL import Image

from i2sb_jax import files
from i2sb_jax.accelerators.processes import Place
from i2sb_jax.restoration import claims as claims_lib
from i2sb_jax.restoration import folder as folder_lib
from i2sb_jax.restoration.claims import FOLDER, Claims, Taken
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.output_folder import SETTINGS
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.restoration.results_list import RESULTS, ResultsList, entry_of
from tests import bucket_path
from tests.restoration.models import identity_model, photo

ONCE = Options(nfe=1)
STAMP, CHANGED = {"/in/a.png": (5, 7)}, {"/in/a.png": (5, 8)}
OTHERWISE = "holds pictures restored otherwise: nfe is 1 there, 2 here"
ANYWHERE = Place()
NAMES = [f"{number}.png" for number in range(7)]


@pytest.fixture(params=["disk", "bucket"])
def root(request, tmp_path, monkeypatch):
    """A place to write into; lists of the bucket are an hour late."""
    if request.param == "disk":
        return epath.Path(tmp_path / "disk")
    (tmp_path / "bucket").mkdir()
    monkeypatch.setenv("BUCKET_ROOT", str(tmp_path / "bucket"))
    monkeypatch.setenv("BUCKET_LATE", "3600")
    return epath.Path("bucket://b")


@pytest.fixture
def clock():
    return types.SimpleNamespace(now=0.0)


@pytest.fixture
def process(root, clock):
    """Makes a process that takes part, with a lease of 60 s of a clock that stands still."""
    return lambda: Claims(root / "out", Place(), lease=60.0, clock=lambda: clock.now)


def take(claims, stamp=STAMP, is_made=True):
    return claims.take("a.png", stamp, is_made=is_made)


def killed(claims):
    """What is left of a process that got no time to end."""
    claims._beat()
    return claims


def test_a_picture_is_of_the_first_that_claims_it(process):
    with process() as one, process() as two:
        assert [take(one), take(two), take(one)] == [Taken.MINE, Taken.HELD, Taken.MINE]
        assert two.holders == {"a.png": one.owner}
        one.finish("a.png", entry_of(["a.png"], STAMP))
        assert take(two) is Taken.DONE and two.done == {"a.png": json.loads(
            json.dumps(entry_of(["a.png"], STAMP)))} and not two.holders  # fmt: skip


def test_who_is_too_late_by_a_moment_has_no_claim(process, monkeypatch):
    with process() as one, process() as two:
        write_new = files.write_new

        def overtaken(path, data):
            monkeypatch.setattr(files, "write_new", write_new)
            assert take(two) is Taken.MINE
            return write_new(path, data)

        monkeypatch.setattr(files, "write_new", overtaken)
        assert take(one) is Taken.HELD and list(one.holders) == ["a.png"]


def test_what_a_lost_process_had_is_taken_over_after_a_lease_by_one(process, clock):
    lost = killed(process())
    assert take(lost) is Taken.MINE
    with process() as one, process() as two:
        assert take(one) is Taken.HELD
        clock.now = 60.0
        assert take(one) is Taken.HELD  # not a moment too soon
        clock.now = 60.1
        assert take(two) is Taken.HELD  # who has only begun to look knows nothing yet
        assert take(one) is Taken.MINE
        clock.now = 200.0
        one._beat()
        assert take(two) is Taken.HELD and two.holders == {"a.png": one.owner}


def test_a_process_that_beats_is_not_lost_however_long_it_takes(process, clock):
    slow = killed(process())
    assert take(slow) is Taken.MINE
    with process() as other:
        for clock.now in range(0, 600, 50):
            assert take(other) is Taken.HELD
            slow._beat()


def test_who_has_no_picture_left_leaves_the_claims_to_others(process):
    with process() as one, process() as two, process() as late:
        assert take(one) is Taken.MINE
        one.finish("a.png", entry_of(["a.png"], STAMP))
        assert two.take("b.png", STAMP, is_made=True) is Taken.MINE
        two.finish("b.png", entry_of(["b.png"], STAMP))
        two.sweep(["b.png"])
        assert not late.is_known("b.png") and take(late) is Taken.DONE
        one.sweep(["a.png"])
        assert not late.is_known("a.png")


def test_what_one_process_cannot_restore_another_may(process):
    with process() as one, process() as two:
        assert [take(one), take(two)] == [Taken.MINE, Taken.HELD]
        one.release("a.png")
        assert take(two) is Taken.MINE


def test_a_claim_counts_whose_answer_was_lost(process, monkeypatch):
    with process() as one, process() as two:
        write_new = files.write_new
        with monkeypatch.context() as patch:
            patch.setattr(files, "write_new", lambda *given: write_new(*given) and False)
            assert take(one) is Taken.HELD
        assert take(one) is Taken.MINE
        one.finish("a.png", entry_of(["a.png"], STAMP))
        assert take(two) is Taken.DONE


def test_a_process_that_ends_lets_go_at_once(process):
    with process() as one:
        take(one)
    with process() as two:
        assert take(two) is Taken.MINE


def test_one_that_was_taken_for_lost_may_finish_nevertheless(process, clock):
    asleep = killed(process())
    take(asleep)
    with process() as heir, process() as third:
        take(heir)
        clock.now = 61.0
        assert take(heir) is Taken.MINE
        asleep.finish("a.png", entry_of(["a.png"], STAMP))
        assert take(third) is Taken.DONE
        heir.finish("a.png", entry_of(["a.png"], STAMP))
        assert take(third) is Taken.DONE and take(heir) is Taken.DONE


def test_a_claim_without_words_is_lost_after_a_lease(process, root, clock):
    with process() as one:
        take(one)
        (claim,) = [one._file("a.png", 0)]
        claim.write_bytes(b'{"picture": "a.p')
        with process() as two:
            assert take(two) is Taken.HELD and two.holders == {"a.png": "somebody"}
            clock.now = 61.0
            assert take(two) is Taken.MINE


@pytest.mark.parametrize("stamp, is_made", [(CHANGED, True), (STAMP, False)])
def test_results_of_before_that_are_stale_or_gone_are_made_again(process, stamp, is_made):
    with process() as one:
        take(one)
        one.finish("a.png", entry_of(["a.png"], STAMP))
    with process() as two, process() as three:
        assert two.is_done("a.png", STAMP) and not two.is_done("a.png", CHANGED)
        assert take(two, stamp, is_made) is Taken.MINE
        assert [take(three, stamp, is_made) for _ in range(2)] == [Taken.HELD] * 2
        two.finish("a.png", entry_of(["a.png"], STAMP))
        # somebody whose machine sees another time would else do it again and again
        assert take(three, stamp, is_made) is Taken.DONE


def test_what_cannot_be_restored_is_tried_once(process):
    with process() as one, process() as two:
        two.fail("a.png", STAMP, "broken")  # not its own
        take(one)
        one.fail("a.png", STAMP, "broken")
        assert take(two) is Taken.FAILED and not two.done and not two.is_done("a.png", STAMP)
    with process() as three:
        assert take(three, CHANGED) is Taken.MINE  # it is another one by now


def test_a_result_is_not_made_a_failure(process):
    with process() as one:
        take(one)
        one.finish("a.png", entry_of(["a.png"], STAMP))
        one.fail("a.png", STAMP, "late")
        assert one.is_done("a.png", STAMP)


def test_processes_begin_apart_and_leave_nothing_out(root):
    turns = [list(Claims(root, Place(index, 3)).in_turn(NAMES)) for index in range(3)]
    assert turns[1] == [*NAMES[2:], *NAMES[:2]]
    assert [turn[0] for turn in turns] == ["0.png", "2.png", "4.png"]
    turns += [list(Claims(root, place).in_turn(NAMES)) for place in (Place(), Place(2, None))]
    assert all(sorted(turn) == NAMES for turn in turns)
    assert list(Claims(root, Place(0, 3)).in_turn([])) == []
    starts = {next(Claims(root, Place()).in_turn(NAMES)) for _ in range(50)}
    assert len(starts) > 3


def test_who_meets_another_goes_elsewhere(process):
    """Two that walked on side by side would claim each picture at the same moment."""
    names, followers = [str(number) for number in range(200)], []
    for _ in range(9):
        claims, seen = process(), []
        for name in claims.in_turn(names):
            seen.append(name)
            if len(seen) == 5:
                claims.holders[name] = "another"
        assert sorted(seen) == sorted(names)
        followers.append((int(seen[5]) - int(seen[4])) % 200)
    assert sum(follower == 1 for follower in followers) < 3


def test_a_beat_goes_on_beside_the_work(process):
    claims = process()
    claims._lease = 0.03
    with claims:
        first = claims._beat_file.read_bytes()
        end = time.monotonic() + 60
        while claims._beat_file.read_bytes() == first:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert files.read_if_there(claims._beat_file) is None


# whole folders


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"), "jpeg-10")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("in")
    (folder / "sub").mkdir()
    for number, name in enumerate(("a.png", "b.png", "c.png", "sub/d.png")):
        Image.fromarray(photo(16, 20, seed=number)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def alone(model, pictures, tmp_path_factory):
    """What one process makes of them: name -> bytes."""
    out = tmp_path_factory.mktemp("alone") / "out"
    restore_folder(model, pictures, out, ONCE, quiet=True)
    assert not (out / FOLDER).exists()
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}


@pytest.fixture
def source(root, pictures):
    if not files.is_remote(root):
        return pictures
    bucket_path.fill(root / "in", pictures)
    return root / "in"


@pytest.fixture(scope="module", autouse=True)
def models_are_loaded_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Restorer, "from_workdir", functools.cache(Restorer.from_workdir))
        yield


@pytest.fixture
def restore(model, source, root, monkeypatch):
    """Restores together with others, who are looked at often."""
    monkeypatch.setattr(claims_lib, "_LOOKS", 600)

    def run(place=ANYWHERE, options=ONCE):
        return restore_folder(model, source, root / "out", options, quiet=True, place=place)

    return run


def left(root):
    """Name -> bytes of all that is in the folder of results."""
    if files.is_remote(root):
        return bucket_path.contents(root / "out")
    found = [path for path in (root / "out").walk()]
    return {
        (folder / name).relative_to(root / "out").as_posix(): (folder / name).read_bytes()
        for folder, _, names in found
        for name in names
    }


def check_whole(root, alone, *, swept=True):
    """All is there once, as one process would have left it."""
    found = left(root)
    settings, listed = found.pop(SETTINGS), found.pop(RESULTS)
    if not swept:  # lists do not show yet what is to go
        found = {name: data for name, data in found.items() if not name.startswith(FOLDER)}
    assert found == alone
    assert json.loads(settings)["nfe"] == 1
    entries = [json.loads(line) for line in listed.splitlines()]
    made = [entry["files"] for entry in entries if entry["made_of"]]
    assert sorted(file for files in made for file in files) == sorted(alone)


def claims_of(root, source):
    """Another process, and how it takes a picture as it is now."""
    other = Claims(root / "out", ANYWHERE)

    def take(name):
        stamp = {files.real_path(source / name): files.size_and_time(source / name)}
        return other.take(name, stamp, is_made=False), stamp

    return other, take


def test_one_that_shares_with_nobody_leaves_what_one_alone_leaves(restore, root, alone):
    assert restore().restored == 4
    check_whole(root, alone, swept=not files.is_remote(root))
    again = restore(place=None)
    assert (again.restored, again.skipped, again.elsewhere) == (0, 4, 0)
    check_whole(root, alone, swept=not files.is_remote(root))


def test_two_at_once_share_the_pictures(restore, root, alone):
    outcomes = {}
    threads = [
        threading.Thread(target=lambda i=i: outcomes.update({i: restore(Place(i, 2))}))
        for i in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_whole(root, alone, swept=not files.is_remote(root))
    restored = sum(each.restored for each in outcomes.values())
    # a bucket cannot tell which of two claims of one moment was the first
    assert restored >= 4 if files.is_remote(root) else restored == 4
    assert all(o.restored + o.elsewhere + o.skipped == 4 for o in outcomes.values())


class Killed(BaseException):
    """SIGKILL, in these tests: nothing is tidied up."""


@pytest.fixture
def die(monkeypatch, restore):
    """Runs a process that is killed where a method of a class is called, before or after it."""

    def run(owner, name, *, after=False):
        act = getattr(owner, name)

        def dying(*args, **kwargs):
            if after:
                act(*args, **kwargs)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dying)
            patch.setattr(folder_lib.OutputFolder, "abandon", lambda self: None)
            patch.setattr(Claims, "__exit__", lambda self, *exc: self._stop())
            with pytest.raises(Killed):
                restore()
        monkeypatch.setattr(claims_lib, "LEASE", 0.06)  # and nobody beats who could miss it

    return run


@pytest.mark.parametrize(
    "owner, name, after",
    [
        (folder_lib._Work, "_write", False),  # claimed, and not written
        (Claims, "finish", False),  # written, and not noted
        (Claims, "finish", True),
        (folder_lib.OutputFolder, "_list_all", False),  # all is noted, and nothing listed
        (Claims, "sweep", False),
    ],
)
def test_a_killed_process_costs_what_it_was_at(restore, root, alone, die, owner, name, after):
    die(owner, name, after=after)
    assert any(file.startswith(FOLDER) for file in left(root))
    place = None if files.is_remote(root) else ANYWHERE  # the folder tells that it is shared
    outcome = restore(place)
    noted = {"_write": 0, "finish": int(after), "_list_all": 4, "sweep": 4}[name]
    assert (outcome.restored, outcome.skipped + outcome.elsewhere) == (4 - noted, noted)
    check_whole(root, alone, swept=not files.is_remote(root))


@pytest.mark.parametrize("is_swept", [False, True])
def test_a_picture_that_another_process_has_is_waited_for(
    restore, root, source, alone, monkeypatch, is_swept
):
    """It beats, and is slow; the bytes that it writes are those of anybody.

    One with more to wait for may have listed all and swept, before this one looks again.
    """
    other, take = claims_of(root, source)
    with other:
        state, stamp = take("b.png")
        assert state is Taken.MINE

        def finish():
            files.write_atomically(root / "out" / "b.png", alone["b.png"])
            if is_swept:
                ResultsList(root / "out").add(["b.png"], stamp)
                other._file("b.png", 0).unlink()
            else:
                other.finish("b.png", entry_of(["b.png"], stamp))

        monkeypatch.setattr(Claims, "wait", lambda self: finish())
        outcome = restore()
        other.sweep(["a.png", "b.png", "c.png", "sub/d.png"])
    assert (outcome.restored, outcome.elsewhere) == (3, 1)
    check_whole(root, alone, swept=not files.is_remote(root))


def test_a_failure_is_named_by_all_who_meet_it(restore, root, source, alone, capsys):
    other, take = claims_of(root, source)
    with other:
        _, stamp = take("b.png")
        other.fail("b.png", stamp, "broken")
        outcome = restore()
    assert (outcome.restored, outcome.elsewhere) == (3, 0)
    assert outcome.unreadable == {"b.png": "broken"}
    assert "warning: b.png is left out: broken" in capsys.readouterr().err
    assert restore(place=None).restored == 1  # and may be tried again another day
    check_whole(root, alone, swept=not files.is_remote(root))


def test_a_broken_picture_is_named_and_holds_nobody_up(restore, root, source, alone, monkeypatch):
    kind = type(epath.Path(source))
    read = kind.read_bytes

    def broken(self):
        data = read(self)
        # its header is all right
        return data[:-40] if str(self) == str(source / "b.png") else data

    with monkeypatch.context() as patch:
        patch.setattr(kind, "read_bytes", broken)
        outcome = restore()
        assert list(outcome.unreadable) == ["b.png"] and outcome.restored == 3
    assert restore().restored == 1
    check_whole(root, alone, swept=not files.is_remote(root))


def test_other_settings_do_not_join(restore, root, source, die):
    die(folder_lib._Work, "_write")
    for place in (Place(), None):
        with pytest.raises(ValueError, match=OTHERWISE):
            restore(place, Options(nfe=2))
        with pytest.raises(ValueError, match="overwrite: several processes restore into"):
            restore(place, Options(nfe=1, overwrite=True))


def test_of_two_that_begin_together_with_other_settings_one_goes_on(
    restore, root, alone, monkeypatch
):
    """Both have looked, and the folder was new."""
    check = folder_lib.OutputFolder.check_settings

    def late(self, settings):
        check(self, settings)
        if not (root / "out" / SETTINGS).exists():
            monkeypatch.setattr(folder_lib.OutputFolder, "check_settings", check)
            restore()

    monkeypatch.setattr(folder_lib.OutputFolder, "check_settings", late)
    with pytest.raises(ValueError, match=OTHERWISE):
        restore(options=Options(nfe=2))
    found = left(root)
    assert {name: found[name] for name in alone} == alone


def test_results_that_came_since_are_not_taken_for_somebody_elses(
    restore, root, alone, monkeypatch
):
    """All was done between this process's first look and its second."""
    check = folder_lib.OutputFolder.check_settings

    def late(self, settings):
        monkeypatch.setattr(folder_lib.OutputFolder, "check_settings", check)
        restore()
        check(self, settings)

    monkeypatch.setattr(folder_lib.OutputFolder, "check_settings", late)
    outcome = restore()
    assert (outcome.restored, outcome.elsewhere + outcome.skipped) == (0, 4)
    check_whole(root, alone, swept=not files.is_remote(root))


def test_a_file_of_somebody_stays_as_it_is(restore, root):
    files.write_atomically(root / "out" / "b.png", b"mine")
    with pytest.raises(ValueError, match=r"b\.png is there already, and no result"):
        restore()
    assert left(root) == {"b.png": b"mine"}


def test_nothing_stays_of_a_beginning_without_results(restore, root, monkeypatch):
    def fail(self, *, quiet):
        raise ValueError("which member?")

    with monkeypatch.context() as patch:
        patch.setattr(folder_lib._Work, "plan", fail)
        with pytest.raises(ValueError, match="which member"):
            restore()
    found = {name for name in left(root) if not name.startswith(FOLDER)}
    assert not found and (files.is_remote(root) or not (root / "out").exists())


def test_who_gives_up_does_not_take_the_settings_of_others_away(restore, root, source, monkeypatch):
    def fail(self, *, quiet):
        with claims_of(root, source)[0]:
            raise ValueError("which member?")

    monkeypatch.setenv("BUCKET_LATE", "0")
    with monkeypatch.context() as patch:
        patch.setattr(folder_lib._Work, "plan", fail)
        patch.setattr(Claims, "__exit__", lambda self, *exc: self._stop())
        with pytest.raises(ValueError, match="which member"):
            restore()
    assert SETTINGS in left(root)


@pytest.mark.parametrize("root", ["bucket"], indirect=True)
def test_a_measurement_is_of_all_pictures(restore, source, model, tmp_path):
    options = Options(nfe=1, degrade=True)
    whole = restore_folder(model, source, tmp_path / "whole", options, quiet=True)
    outcomes = {}

    def run(index):
        outcomes[index] = restore(Place(index, 2), options)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcome in outcomes.values():
        for title, scores in whole.scores.items():
            assert outcome.scores[title] == pytest.approx(scores, rel=1e-6)
