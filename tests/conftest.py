"""Settings that hold for every test."""

import ctypes
import gc
import math
import os
import pathlib

import jax
import pytest

# a silently broadcast [batch] against [batch, h, w, c] is the classic bug of this field
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compiled programs are kept, the smallest too, from one test and one run of the suite to the next,
# also by the tools that tests start: compiling is most of the suite's time.
_CACHE = pathlib.Path(__file__).parent.parent / ".pytest_cache" / "compiled"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.fspath(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update(
    "jax_persistent_cache_min_compile_time_secs",
    float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]),
)

# Small programs are compiled for far longer than they run, so the compiler does little; what is
# tested of compiled programs themselves asks for all of it (`fully_optimized`). With 0 in the
# environment, everything is tested as users run it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
_LITTLE = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
jax.config.update("jax_disable_most_optimizations", _LITTLE)
# XLA's older emitters of CPU code compile a program in half the time; tools that tests start get
# them too. XLA reads this when it is first asked for something, which is not yet; later versions
# have no such emitters, and end the process that asks for them.
_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
_HAS_THEM = jax.__version_info__[:2] == (0, 10)
if _LITTLE and _HAS_THEM and _EMITTERS not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_EMITTERS}".strip()

# minutes each, most of them spent on compiling or on tools that are started anew; the longest first
_LONGEST = (
    *("test_loop", "test_configs", "test_preemption", "test_evaluate", "test_parity", "test_fsdp"),
    *("test_student", "test_distillation"),
    *("test_dry_run", "test_restorer", "test_output_folder", "test_pairs", "test_holes"),
    *("test_given", "test_docs", "test_paper_table", "test_nfe_sweep", "test_workdir_paths"),
    *("test_unet", "test_checkpoint", "test_step", "test_end_to_end", "test_fuzz", "test_company"),
)


def pytest_collection_modifyitems(items):
    """The longest files first: two workers, each with a file at a time, then end together."""
    rank = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(_LONGEST)))


def pytest_collection_finish():
    """What was imported stays: Python need not look for garbage in it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


_FULL = 1500  # MiB that a worker holds when it lets compiled programs go


@pytest.fixture(scope="module", autouse=True)
def programs_of_files_before_are_let_go():
    """Keeps workers small. What a later file needs again is in the cache on disk."""
    yield
    if _resident_mib() > _FULL:
        jax.clear_caches()
        gc.collect()
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)


def _resident_mib():
    """Memory of this process; infinite where the system does not tell."""
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return math.inf
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.fixture(scope="module")
def fully_optimized():
    """Programs as users compile them, in this process and in those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
        jax.config.update("jax_disable_most_optimizations", False)
        yield
        jax.config.update("jax_disable_most_optimizations", _LITTLE)
