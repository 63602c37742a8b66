"""What fits on accelerators: the search for edges, the file and the page, by a made-up compiler."""

import functools
import json
import pickle

import jax
import pytest

pytest.importorskip("ml_collections")

from experiments.launch import accelerator_page, accelerator_table
from experiments.launch.accelerator_table import BATCHES, Asked, Series
from i2sb_jax import models
from i2sb_jax.accelerators import topologies
from i2sb_jax.accelerators.program import Memory, Program
from i2sb_jax.cli import startup
from i2sb_jax.run import Run
from i2sb_jax.training.dry_run import DryRun

GIB = 2**30
H100 = Series("h100", "ADM-256", "bfloat16", "blocks", 1)
ROOM = {"h100": 60 * GIB, "b200": 130 * GIB, "v5e": 16 * GIB}


def made_up(series, pictures, *, state=8.0, fixed=3.0, each=0.4, figure=True):
    """A row of a compiler whose memory is a line in the batch, GiB."""
    total = int((state / series.fsdp + fixed + each * pictures) * GIB)
    fits = total <= ROOM[series.device]
    known = fits or figure
    row = series._asdict() | {"pictures": pictures, "topology": "made:up", "devices": 8}
    row |= {"memory": ROOM[series.device], "room": ROOM[series.device], "share": None}
    row |= {"arguments": int(state / series.fsdp * GIB) if fits else None, "temporaries": None}
    row |= {"total": total if known else None, "fits": fits, "flops": 1e12, "seconds": 1}
    row |= {"cpu_seconds": 2}
    return row | {"versions": {"jax": "1.2.3"}}


def search(asked, compile_one, rows=(), **options):
    """All rows after a search, and the batches that it compiled, in their order."""
    rows, tried = list(rows), []
    for row in accelerator_table.answer(asked, rows, compile_one, **options):
        rows.append(row)
        tried.append(row["pictures"])
    return rows, tried


def edge(rows):
    """(largest that fits, smallest that does not)."""
    fits = {row["pictures"]: row["fits"] for row in rows}
    return max((b for b in fits if fits[b]), default=None), min(
        (b for b in fits if not fits[b]), default=None
    )


# --- the search ---------------------------------------------------------------------------------


@pytest.mark.parametrize("each", [0.03, 0.4, 0.6, 2.5, 7.0, 40.0])
def test_an_edge_is_two_neighbours(each):
    rows, tried = search(Asked(H100), functools.partial(made_up, each=each))
    last, first = edge(rows)
    assert BATCHES.index(first) == BATCHES.index(last) + 1
    assert made_up(H100, last, each=each)["fits"] and not made_up(H100, first, each=each)["fits"]
    assert len(tried) == len(set(tried)) <= 5  # of 24


def test_what_is_known_of_another_device_saves_compiling():
    rows, _ = search(Asked(H100), made_up)
    larger = H100._replace(device="b200")
    rows, tried = search(Asked(larger), made_up, rows)
    assert edge([row for row in rows if row["device"] == "b200"]) == (256, 384)
    assert tried == [256, 384]
    rows, tried = search(Asked(H100._replace(fsdp=8)), made_up, rows)
    assert len(tried) <= 3


@pytest.mark.parametrize("figure", [True, False], ids=["told", "not told"])
def test_nothing_and_everything_fits(figure):
    compiler = functools.partial(made_up, each=60.0, figure=figure)
    rows, tried = search(Asked(H100), compiler)
    assert edge(rows) == (None, 1) and len(tried) <= 5
    rows, tried = search(Asked(H100), functools.partial(made_up, each=0.0))
    assert edge(rows) == (max(BATCHES), None)


def test_an_edge_is_found_without_figures_and_without_order():
    compiler = functools.partial(made_up, each=1.5, figure=False)
    assert edge(search(Asked(H100), compiler)[0]) == (32, 48)

    def wild(series, pictures):  # eight need less than four
        return made_up(series, pictures, each=20.0 if pictures in (3, 4) else 4.0)

    rows, _ = search(Asked(H100), wild, [wild(H100, 4), wild(H100, 6)])
    assert edge(rows)[0] == 12 and not wild(H100, 16)["fits"]
    assert any(row["pictures"] == 16 for row in rows)


@pytest.mark.parametrize(
    ("first", "each", "batches"),
    [(24, 0.6, [24, 16, 12, 8]), (4, 0.6, [4, 6, 8, 12]), (12, 0.3, [12, 16, 24])],
)
def test_a_tpus_edge_is_come_to_from_above(first, each, batches):
    """What is refused is known soon; and no line leads there."""
    slice_ = H100._replace(device="v5e")
    rows, _ = search(Asked(slice_._replace(fsdp=8)), made_up)
    _, tried = search(Asked(slice_), functools.partial(made_up, each=each), rows, first=first)
    assert tried == batches


def test_one_batch_is_compiled_once():
    rows, tried = search(Asked(H100, 16), made_up)
    assert tried == [16] and search(Asked(H100, 16), made_up, rows)[1] == []
    assert search(Asked(H100._replace(fsdp=8), 16), made_up, rows)[1] == [16]


def test_the_plan_asks_for_every_device_and_each_thing_once():
    asked = accelerator_table.plan()
    assert len(asked) == len(set(asked))
    for device in accelerator_table.SLICES:
        for fsdp in (1, 8):
            assert Asked(Series(device, "ADM-256", "bfloat16", "blocks", fsdp)) in asked
        mine = [each.series for each in asked if each.series.device == device]
        assert {series.fsdp for series in mine} == {1, 8, 16}
        assert {series.dtype for series in mine} == {"bfloat16", "float32"}
        assert {series.remat for series in mine} == {"none", "blocks"}


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def table(monkeypatch, tmp_path):
    """(compiler, words) -> (status, batches compiled); file and page are of the test's own."""
    monkeypatch.setattr(accelerator_table, "FILE", tmp_path / "table.json")
    page = tmp_path / "page.md"
    page.write_text(accelerator_page.PAGE.read_text())
    monkeypatch.setattr(accelerator_page, "PAGE", page)
    asked = [Asked(H100), Asked(H100._replace(remat="none"), 16)]
    monkeypatch.setattr(accelerator_table, "plan", lambda: asked)
    monkeypatch.setattr(accelerator_table, "can_compile", lambda device: device == "h100")

    def run(compiler, *words):
        tried = []

        def compile_one(series, pictures):
            tried.append(pictures)
            return compiler(series, pictures)

        monkeypatch.setattr(accelerator_table, "in_a_process", compile_one)
        return accelerator_table.main(list(words)), tried

    return run


def test_a_table_that_was_stopped_goes_on(table, capsys):
    left = iter(range(2))

    def stops(series, pictures):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return made_up(series, pictures)

    with pytest.raises(KeyboardInterrupt):
        table(stops)
    kept = json.loads(accelerator_table.FILE.read_text())
    assert len(kept) == 2
    assert "fsdp 1, the largest batch: h100 (" in accelerator_page.PAGE.read_text()
    status, tried = table(made_up)
    rows = json.loads(accelerator_table.FILE.read_text())
    assert status == 0 and rows[:2] == kept and len(rows) == 2 + len(tried)
    assert "Nothing: every row" in accelerator_page.PAGE.read_text()
    assert capsys.readouterr().out.count("fit") == len(rows)
    assert table(made_up) == (0, [])


def test_what_gives_no_answer_is_missing_and_the_rest_is_compiled(table, capsys):
    status, tried = table(lambda *asked: None if asked[0].remat == "blocks" else made_up(*asked))
    assert status == 1 and tried == [16, 16]
    page = accelerator_page.PAGE.read_text()
    assert "## All 1 rows" in page and "fsdp 1, the largest batch: h100\n" in page


def test_the_page_alone_and_a_compiler_that_is_missing(table, monkeypatch, capsys):
    assert table(made_up, "--page") == (1, []) and not accelerator_table.FILE.exists()
    assert "none yet" in accelerator_page.PAGE.read_text()
    monkeypatch.setattr(accelerator_table, "can_compile", lambda device: False)
    assert table(made_up) == (1, [])
    assert "h100 is left out: its compiler is not installed" in capsys.readouterr().err
    accelerator_page.PAGE.write_text("a page of somebody else")
    with pytest.raises(ValueError, match="has no lines <!-- made by"):
        table(made_up, "--page")
    assert accelerator_page.PAGE.read_text() == "a page of somebody else"


def test_a_wrong_device_is_answered_by_all(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["accelerator_table", "--devices", "h1000"])
    with pytest.raises(SystemExit) as stop:
        startup.run(accelerator_table.main)
    assert stop.value.code == 2 and "b200" in capsys.readouterr().err


# --- rows ---------------------------------------------------------------------------------------


PROGRAM = Program(
    flops=5e12,
    memory=Memory(arguments=4 * GIB, outputs=0, temporaries=3 * GIB, code=GIB),
    collectives={},
    uncounted=0,
    libraries={},
)


@pytest.fixture
def compile_with(monkeypatch):
    """(bytes of the device, what compiling does) -> the row."""
    before = jax.config.jax_enable_compilation_cache

    def run(memory, dry_run=lambda run: DryRun(None, None, PROGRAM, 1.0)):
        described = topologies.Described(jax.devices()[:1], memory)
        monkeypatch.setattr(topologies, "describe", lambda topology: described)
        monkeypatch.setattr(accelerator_table, "dry_run", dry_run)
        return accelerator_table.compile_row(H100, 4)

    yield run
    jax.config.update("jax_enable_compilation_cache", before)


def test_a_row_is_the_compilers_account(compile_with, monkeypatch):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    row = compile_with(16 * GIB)
    assert (row["room"], row["memory"], row["share"]) == (8 * GIB, 16 * GIB, 0.5)
    assert row["fits"] and row["total"] == 8 * GIB and row["temporaries"] == 3 * GIB
    assert not compile_with(16 * GIB - 2)["fits"]
    assert row["seconds"] >= 0 and row["cpu_seconds"] >= 0
    assert row["flops"] == 5e12 and row["versions"]["jax"] == jax.__version__
    assert row == json.loads(json.dumps(row)) and accelerator_table.series_of(row) == H100
    assert set(row) == set(made_up(H100, 4)) | {"outputs", "code"}


REFUSAL = (
    "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
    "Used 16.03G of 15.75G hbm. Exceeded hbm capacity by 288.00M.\n\nTotal hbm usage >= 16.5G:"
)


def refuse(text):
    def dry_run(run):
        raise jax.errors.JaxRuntimeError(text)

    return dry_run


def test_a_refusal_keeps_the_compilers_figure(compile_with):
    row = compile_with(16 * GIB, refuse(REFUSAL))
    assert not row["fits"] and row["temporaries"] is None
    assert row["total"] / GIB == pytest.approx(16.03, abs=1e-6)
    assert "does not fit: 16.03 of" in accelerator_table.line(row)
    row = compile_with(16 * GIB, refuse("RESOURCE_EXHAUSTED: no figure"))
    assert not row["fits"] and row["total"] is None
    assert "does not fit: ? of" in accelerator_table.line(row)
    with pytest.raises(RuntimeError, match="something else") as caught:
        compile_with(16 * GIB, refuse("INTERNAL: something else"))
    pickle.loads(pickle.dumps(caught.value))  # goes to the process that asked


def test_a_tpus_memory_is_what_its_compiler_says(monkeypatch):
    text = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (32.00T) exceeds available HBM (31.25G)."
    )
    monkeypatch.setattr(jax, "jit", refuse(text))
    assert accelerator_table.refused_memory(jax.devices()[0]) == 31.25 * GIB
    monkeypatch.setattr(jax, "jit", refuse("RESOURCE_EXHAUSTED: no figure"))
    with pytest.raises(jax.errors.JaxRuntimeError):
        accelerator_table.refused_memory(jax.devices()[0])


def test_a_compiler_that_refuses_nothing_knows_no_memory():
    with pytest.raises(ValueError, match="has room for 17592186044416 bytes"):
        accelerator_table.refused_memory(jax.devices()[0])


def test_the_steps_are_of_the_networks_they_are_called():
    config = accelerator_table.config_of(H100._replace(fsdp=8), 64)
    assert config.unet == models.adm_256(dtype="bfloat16", remat="blocks")
    assert config.training.batch_size == 64 and config.mesh.fsdp == 8
    assert config.training.accumulation_steps == 1 and config.image_size == 256
    small = accelerator_table.config_of(H100._replace(model="ADM-64"), 64)
    assert small.image_size == 64
    shapes = jax.eval_shape(Run(small).init_params, jax.random.key(0))
    count = sum(x.size for x in jax.tree.leaves(shapes))
    classes, variances = 1000 * 768, 3 * (9 * 192 + 1)  # which ADM's has, and a bridge has not
    assert round((count + classes + variances) / 1e6) == 296  # arXiv 2105.05233, table 12


# --- the page -----------------------------------------------------------------------------------


def test_the_page_is_what_the_file_makes_of_it():
    rows = accelerator_table.read_rows()
    page = accelerator_page.PAGE.read_text()
    assert accelerator_page.with_tables(page, rows, accelerator_table.missing(rows)) == page
    assert len(rows) >= 1
    some = accelerator_page.with_tables(page, rows[1:], accelerator_table.missing(rows[1:]))
    assert some != page


def test_edges_are_told_once_they_are_known():
    rows, _ = search(Asked(H100), made_up)
    text = accelerator_page.tables(rows, [])
    assert "| h100 | 60.00 | 8 | 1 | 96 | 49.40 | 128 | 62.20 |" in text
    assert "jax 1.2.3" in text and text.count("| h100 | ADM-256 |") == len(rows)
    text = accelerator_page.tables(rows[:1], [Asked(H100)])
    assert "| h100 | 60.00 |" not in text and "the largest batch: h100 (16 fits)" in text
