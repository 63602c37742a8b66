"""Pictures held consistent with a measurement: the operators, their inverses, and JPEG's cells."""

import io

import jax
import numpy as np
import pytest
from PIL import Image

from i2sb_jax.corruptions import consistency, make_corruption, measure
from i2sb_jax.corruptions.consistency import (
    EIGHT_BITS,
    Decomposed,
    JpegPlane,
    blur_factors,
    decompose,
    encoder_rounding,
    file_cell,
    reduction_factors,
    refusal,
    separable_measurement,
    x1_refusal,
)
from i2sb_jax.corruptions.photo_blur import convolve, gaussian_psf
from i2sb_jax.pictures import from_uint8, read_jpeg_waves, to_uint8
from tests.corruptions.cases import cached_corruption
from tests.golden import synthetic

SIZE = 32
CLEAN = synthetic.photo(1, SIZE, 7)[0]
GUESS = (CLEAN + 0.2 * np.random.default_rng(0).standard_normal(CLEAN.shape)).astype(np.float32)
LINEAR = (
    "sr4x-pool",
    "sr4x-bicubic",
    "blur-uni",
    "blur-gauss",
    "blur-uni-exact",
    "blur-gauss-exact",
)
PUBLISHED = (*LINEAR, "jpeg-10", "jpeg-75", "colorize", "inpaint-center")
RESAMPLING = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def measured(name, method="projection"):
    corrupted = cached_corruption(name, image_size=SIZE)(
        np.random.default_rng(1), CLEAN[None], index=np.zeros(1, int)
    )
    parts = (None if x is None else x[0] for x in corrupted)
    return measure(name, *parts, method=method)


def error(x):
    return float(np.mean((np.asarray(x) - CLEAN) ** 2))


# --- The operators ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINEAR)
def test_a_measurement_knows_its_corruption(name):
    other = measured("blur-uni-exact" if name != "blur-uni-exact" else "blur-gauss-exact")
    measurement = measured(name)
    shown = cached_corruption(name, image_size=SIZE).degrade(GUESS[None])[0]
    shown = shown[::4, ::4] if name.startswith("sr4x") else shown
    np.testing.assert_allclose(measurement.degraded(GUESS), shown, atol=2e-5)
    if other.low.shape == measurement.low.shape:
        assert np.abs(other.degraded(GUESS) - shown).max() > 0.01


@pytest.mark.parametrize("name", LINEAR)
def test_operators_and_their_transposes_are_adjoint(name):
    """<A x, y> = <x, Aᵀ y> of the linear part."""
    measurement, rng = measured(name), np.random.default_rng(2)
    x = rng.standard_normal(CLEAN.shape).astype(np.float32)
    y = rng.standard_normal(measurement.low.shape).astype(np.float32)
    left = np.vdot(measurement.degraded(x) - measurement.degraded(0 * x), y)
    right = np.vdot(x, measurement.transposed(y))
    scale = np.linalg.norm(x) * np.linalg.norm(y)
    assert abs(left - right) < 1e-5 * scale
    rolled = np.vdot(np.roll(x, 1, axis=0), measurement.transposed(y))
    assert abs(left - rolled) > 1e-4 * scale


@pytest.mark.parametrize("kernel", RESAMPLING)
@pytest.mark.parametrize("factor", (2, 4))
def test_a_photograph_is_reduced_as_pillow_does(kernel, factor):
    picture = synthetic.photo(1, 64, 3)[0][:48, :, 0]
    image = Image.fromarray(picture)  # of floats, unrounded
    small = np.asarray(image.resize((64 // factor, 48 // factor), RESAMPLING[kernel]))
    rows, columns = (reduction_factors(kernel, factor, n, 0, n) for n in (48, 64))
    ours = multiplied(rows, columns, picture)
    np.testing.assert_allclose(ours, small, atol=1e-5)
    wrong = reduction_factors("box" if kernel != "box" else "bicubic", factor, 64, 0, 64)
    assert np.abs(multiplied(rows, wrong, picture) - small).max() > 0.01
    # a window knows the pixels whose taps lie in it, and asks nothing of the others
    window = multiplied(
        *[reduction_factors(kernel, factor, n, 16, 16) for n in (48, 64)], picture[16:32, 16:32]
    )
    inside = small[16 // factor : 32 // factor, 16 // factor : 32 // factor]
    known = np.abs(window - inside) < 1e-5
    assert known[len(known) // 2, len(known) // 2 - 1] or not window.any()
    assert ((window == 0) | known | (np.abs(window) < 1e-5)).all()
    assert known.all() == (kernel == "box")


def multiplied(rows: Decomposed, columns: Decomposed, x):
    down, across = ((each.u * each.s) @ each.v.T for each in (rows, columns))
    return down @ x @ across.T


def test_a_photograph_is_blurred_as_the_corruption_does():
    picture = synthetic.photo(1, 64, 3)[0][:48]
    blurred = convolve(picture.astype(np.float64), gaussian_psf(1.3, 1.3, 0.0))
    rows, columns = (blur_factors(1.3, n, 0, n) for n in (48, 64))
    for channel in range(3):
        ours = multiplied(rows, columns, picture[..., channel])
        # but for what is left out, a thousandth of waves that pixels hardly have
        np.testing.assert_allclose(ours, blurred[..., channel], atol=1e-3)
    window = multiplied(*[blur_factors(1.3, n, 16, 16) for n in (48, 64)], picture[16:32, 16:32, 0])
    inside = blurred[16:32, 16:32, 0]
    np.testing.assert_allclose(window[6:-6, 6:-6], inside[6:-6, 6:-6], atol=1e-3)
    assert np.abs(window[:5]).max() < 1e-3 and np.abs(window[:, -5:]).max() < 1e-3


# --- Corrections --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", consistency.METHODS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_guess_comes_nearer_to_the_picture(name, method):
    measurement = measured(name, method)
    corrected = measurement.correct(GUESS)
    assert error(corrected) < error(GUESS)
    np.testing.assert_allclose(measurement.correct(CLEAN), CLEAN, atol=2e-3)


@pytest.mark.parametrize("name", ("sr4x-pool", "sr4x-bicubic", "blur-gauss-exact"))
def test_another_operator_makes_it_worse(name):
    """The control: y of one operator, A of another."""
    right = measured(name)
    other = right._replace(rows=right.rows._replace(v=np.roll(right.rows.v, 3, axis=0)))
    assert error(right.correct(CLEAN)) < 1e-6
    assert error(other.correct(CLEAN)) > 1e-4
    assert error(right.correct(GUESS)) < error(GUESS) - 1e-4


@pytest.mark.parametrize("name", ("sr4x-pool", "sr4x-bicubic", "colorize", "inpaint-center"))
def test_a_projection_agrees_and_stays(name):
    measurement = measured(name)
    once = measurement.correct(GUESS)
    np.testing.assert_allclose(measurement.correct(once), once, atol=1e-5)
    assert np.abs(once - GUESS).max() > 0.1
    if name.startswith("sr4x"):
        np.testing.assert_allclose(measurement.degraded(once), measurement.low, atol=1e-5)


@pytest.mark.parametrize("name", LINEAR)
def test_a_gradient_step_is_that_of_the_misfit(name):
    """η = 1 / (2 ‖A‖²) along -∇‖A x - y‖², which no step makes larger."""
    measurement = measured(name, "gradient")

    def misfit(x):
        return ((measurement.degraded(x) - measurement.low) ** 2).sum()

    norm = np.max(measurement.gain)
    expected = GUESS - jax.grad(misfit)(GUESS) / (2 * norm**2)
    corrected = measurement.correct(GUESS)
    np.testing.assert_allclose(corrected, expected, atol=1e-5)
    assert misfit(corrected) < misfit(GUESS)


def test_rounding_is_not_amplified():
    """A blur that leaves next to nothing of the finest detail, and y of eight bits."""
    factors = blur_factors(2.0, SIZE, 0, SIZE)
    exact = separable_measurement(0, 0, factors, factors, rounding=1e-6, method="projection")
    y = np.asarray(exact.degraded(CLEAN))
    rounded = from_uint8(to_uint8(y))
    near = CLEAN + 0.25 * (GUESS - CLEAN)

    def corrected(y, rounding):
        return separable_measurement(
            y, y, factors, factors, rounding=rounding, method="projection"
        ).correct(near)

    assert error(corrected(rounded, EIGHT_BITS)) < error(near)
    assert error(corrected(rounded, 1e-6)) > 10 * error(near)  # the control
    assert error(corrected(y, 1e-6)) < error(corrected(rounded, EIGHT_BITS))


def test_clipped_pixels_ask_for_no_more_than_they_say():
    factors = decompose(np.eye(SIZE))
    y = np.clip(1.5 * CLEAN + 0.5, -1, 1)
    low, high = np.where(y <= -1, -np.inf, y), np.where(y >= 1, np.inf, y)
    brighter = np.where(y >= 1, y + 0.3, y)
    measurement = separable_measurement(
        low, high, factors, factors, rounding=1e-6, method="projection"
    )
    assert (y >= 1).any()
    np.testing.assert_allclose(measurement.correct(brighter), brighter, atol=1e-5)
    darker = measurement.correct(brighter - 0.6)
    inside = np.abs(y) < 1
    np.testing.assert_allclose(np.asarray(darker)[inside], y[inside], atol=1e-4)
    closed = separable_measurement(y, y, factors, factors, rounding=1e-6, method="projection")
    np.testing.assert_allclose(closed.correct(brighter), y, atol=1e-4)


@pytest.mark.parametrize("name", ("sr4x-bicubic", "jpeg-10", "colorize", "inpaint-center"))
def test_the_same_in_any_company(name):
    measurement = measured(name)
    pair = np.stack([GUESS, CLEAN[::-1]])
    both = jax.tree.map(lambda x: np.stack([x, x]), measurement)
    mapped = jax.jit(jax.vmap(lambda each, x: each.correct(x)))(both, pair)
    for got, x in zip(mapped, pair, strict=True):
        np.testing.assert_allclose(got, measurement.correct(x), atol=1e-5)


# --- JPEG ---------------------------------------------------------------------------------------


def coded(quality, subsampling, pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return read_jpeg_waves(file.getvalue())


def cell_of(waves):
    planes = [
        JpegPlane(
            part.waves, part.table, np.ones(part.waves.shape[:2], bool), part.down, part.across
        )
        for part in waves.components
    ]
    return file_cell(planes[0], planes[1:])


def steps_outside(cell, x):
    """The furthest cosine from its cell, in units of the cell's half width."""
    pairs = zip(cell.outside(x), (cell.luma_half, cell.chroma_half), strict=True)
    return max(float(np.max(np.abs(far) / np.maximum(half, 0.5))) for far, half in pairs)


@pytest.mark.parametrize("subsampling", ("4:4:4", "4:2:2", "4:2:0"))
@pytest.mark.parametrize("quality", (10, 75))
def test_a_guess_is_clipped_to_the_cell_of_its_file(quality, subsampling):
    cell = cell_of(coded(quality, subsampling, to_uint8(CLEAN)))
    corrected = cell.correct(GUESS)
    assert steps_outside(cell, GUESS) > 0.5
    assert steps_outside(cell, corrected) < 1e-3
    assert error(corrected) < error(GUESS)
    np.testing.assert_allclose(cell.correct(corrected), corrected, atol=1e-5)
    # the control: the cell of another picture
    other = cell_of(coded(quality, subsampling, to_uint8(CLEAN[::-1])))
    assert error(other.correct(GUESS)) > error(GUESS)


@pytest.mark.parametrize("quality", (10, 75))
def test_a_published_jpeg_says_what_it_rounded(quality):
    cell = measured(f"jpeg-{quality}")
    corrected = cell.correct(GUESS)
    assert steps_outside(cell, GUESS) > 0.5
    assert steps_outside(cell, corrected) < 1e-3
    assert steps_outside(cell, CLEAN) < 1e-3
    again = make_corruption(f"jpeg-{quality}", image_size=SIZE)
    image = again.degrade(CLEAN[None])[0]
    assert np.abs(cell.correct(image) - image).max() < 1e-3


def test_a_grey_file_makes_a_grey_picture():
    waves = coded(50, 0, to_uint8(CLEAN)[..., 0])
    cell = cell_of(waves)
    corrected = np.asarray(cell.correct(GUESS))
    assert np.ptp(GUESS, axis=2).max() > 0.1 and np.ptp(corrected, axis=2).max() < 1e-5
    assert steps_outside(cell, corrected) < 1e-3


SHARED = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}


@pytest.mark.parametrize("subsampling", SHARED)
def test_an_encoder_rounds_as_much_as_is_said(subsampling):
    """At quality 100 steps are 1, so that k is off by an encoder's rounding and by its own."""
    shared = SHARED[subsampling]
    pixels = np.random.default_rng(3).integers(60, 200, (128, 128, 3), np.uint8)
    cell = cell_of(coded(100, subsampling, pixels))
    off = cell.cosines(from_uint8(pixels))[1] - cell.chroma
    expected = np.hypot(encoder_rounding(*shared), np.sqrt(1 / 12))
    assert np.std(off) == pytest.approx(expected, rel=0.03)
    others = [np.hypot(encoder_rounding(*each), np.sqrt(1 / 12)) for each in SHARED.values()]
    assert sum(np.std(off) == pytest.approx(each, rel=0.03) for each in others) == 1


def test_a_clean_picture_leaves_the_narrow_cell_more_often():
    pixels = to_uint8(synthetic.photo(1, 128, 4)[0])
    cell = cell_of(coded(75, "4:2:0", pixels))
    narrow = cell._replace(
        luma_half=cell.luma_half - encoder_rounding(1, 1),
        chroma_half=cell.chroma_half - encoder_rounding(2, 2),
    )
    wide, exact = (
        np.mean(np.abs(each.outside(from_uint8(pixels))[0]) > 1e-3) for each in (cell, narrow)
    )
    assert 0 < wide < exact / 2


# --- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "corruption, operator, words",
    [
        ("sr4x-photo", "", "box, bilinear, bicubic, lanczos"),
        ("sr4x-photo", "cubic", "operator='cubic' of sr4x-photo must be one of box"),
        ("sr2x-photo", "gauss-1", "operator='gauss-1'"),
        ("blur-photo-0-3", "", "gauss-S"),
        ("blur-photo", "gauss-0", "operator='gauss-0'"),
        ("blur-photo", "bicubic", "operator='bicubic'"),
        ("noise", "", "every pixel at random"),
        ("noise-float-0-20", "bicubic", "every pixel at random"),
        ("real", "", "chain of operators"),
        ("mixture", "", "several operators"),
        ("sr4x-pool", "box", "leave out operator='box'"),
        ("jpeg-told-5-95", "x", "leave out operator='x'"),
    ],
)
def test_what_is_not_known_is_refused(corruption, operator, words):
    assert words in refusal(corruption, operator) and "\n" not in refusal(corruption, operator)


@pytest.mark.parametrize(
    "corruption, operator",
    [("sr4x-photo", "bicubic"), ("blur-photo", "gauss-1.5"), *((name, "") for name in PUBLISHED)],
)
def test_what_is_known_is_not(corruption, operator):
    assert refusal(corruption, operator) == ""


@pytest.mark.parametrize(
    "corruption", ("sr4x-photo", "jpeg-file", "jpeg-told", "blur-photo", "real")
)
def test_x1_alone_tells_nothing_of_photographs(corruption):
    assert x1_refusal(corruption)
    with pytest.raises(ValueError, match=corruption):
        measure(corruption, CLEAN, None, None, method="projection")
    assert all(x1_refusal(name) == "" for name in PUBLISHED)
