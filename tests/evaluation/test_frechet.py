"""The Fréchet distance against SciPy and closed forms; statistics in parts and in files."""

import numpy as np
import pytest

from i2sb_jax.evaluation.frechet import (
    FeatureMoments,
    frechet_distance,
    load_statistics,
    sample_factor,
    save_statistics,
)

scipy_linalg = pytest.importorskip("scipy.linalg")
D = 24


def features(seed, *, count=200, rank=D):
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((rank, D))
    return rng.standard_normal((count, rank)) @ mixing + rng.standard_normal(D)


def by_sqrtm(a, b):
    """The formula as it is written; SciPy's root of a singular product is only good to 1e-8."""
    root = scipy_linalg.sqrtm(a.covariance @ b.covariance).real
    apart = np.square(a.mean - b.mean).sum()
    return apart + np.trace(a.covariance + b.covariance - 2 * root)


@pytest.mark.parametrize(
    "seed, first, second",
    [
        (0, {}, {}),
        (1, {"count": 40}, {}),
        (2, {"count": 1000}, {"count": 30}),
        (3, {"rank": 5}, {}),  # a singular covariance
        (4, {"count": 10}, {"count": 300}),  # fewer pictures than features
    ],
)
def test_it_is_scipys(seed, first, second):
    a = FeatureMoments.of(features(seed, **first))
    b = FeatureMoments.of(features(seed + 100, **second))
    ours = frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
    np.testing.assert_allclose(ours, by_sqrtm(a, b), rtol=1e-6)
    back = frechet_distance(b.mean, b.covariance, a.mean, a.covariance)
    np.testing.assert_allclose(back, ours, rtol=1e-9)


def test_closed_forms():
    # in one dimension (μ₁ - μ₂)² + (σ₁ - σ₂)²
    assert frechet_distance(1.0, 4.0, 3.0, 9.0) == pytest.approx(5.0, rel=1e-14)
    # covariances that commute: the sum over axes
    one, two = np.diag([1.0, 4.0, 0.0]), np.diag([9.0, 0.0, 0.0])
    assert frechet_distance(np.zeros(3), one, np.ones(3), two) == pytest.approx(3 + 4 + 4)
    # equal Gaussians, singular ones too
    moments = FeatureMoments.of(features(7, rank=3))
    same = frechet_distance(*[moments.mean, moments.covariance] * 2)
    assert same == pytest.approx(0, abs=1e-10 * np.trace(moments.covariance))
    # orthogonal lines: nothing overlaps
    assert frechet_distance(np.zeros(2), np.diag([1.0, 0]), np.zeros(2), np.diag([0, 1.0])) == 2.0


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"means \(2,\) and \(3,\)"):
        frechet_distance(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance(np.zeros(2), np.eye(2), np.array([0, np.nan]), np.eye(2))


def test_moments_of_parts_merge_to_those_of_the_whole():
    x = features(0, count=101) + 1000.0  # far from 0, where naive sums of squares fail
    whole = FeatureMoments.of(x)
    parts = [FeatureMoments.of(part) for part in (x[:1], x[1:40], x[40:])]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    assert merged.count == whole.count == 101
    np.testing.assert_allclose(merged.mean, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(merged.covariance, np.cov(x.T), rtol=1e-9, atol=1e-9)
    other_way = parts[2].merge(parts[0]).merge(parts[1])
    np.testing.assert_allclose(other_way.covariance, merged.covariance, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [5, D, 3 * D])
def test_a_factor_of_samples_is_one_of_their_covariance(count):
    x = features(1, count=count)
    factor = sample_factor(x)
    np.testing.assert_allclose(factor @ factor.T, np.cov(x.T), rtol=1e-9, atol=1e-9)


def test_files_of_adm_clean_fid_and_our_own(tmp_path):
    x = features(2).astype(np.float32)
    moments = FeatureMoments.of(x)
    save_statistics(tmp_path / "ours.npz", moments)
    arrays = {"mu": moments.mean, "sigma": moments.covariance}
    others = {"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "mu_s": np.ones(3)}
    np.savez(tmp_path / "adm.npz", **others, **arrays)
    np.savez_compressed(tmp_path / "clean_fid.npz", **arrays)
    np.savez_compressed(tmp_path / "clean_fid_kid.npz", feats=x)
    for name in ("ours", "adm", "clean_fid", "clean_fid_kid"):
        loaded = load_statistics(tmp_path / f"{name}.npz", dimensions=D)
        np.testing.assert_allclose(loaded.mu, moments.mean, rtol=1e-6)
        np.testing.assert_allclose(loaded.sigma, moments.covariance, rtol=1e-5, atol=1e-9)
        assert (loaded.features is None) == (name != "clean_fid_kid")


@pytest.mark.parametrize(
    "arrays, told",
    [
        ({"mu": np.zeros(D)}, "sigma is absent"),
        ({"mu": np.zeros(3), "sigma": np.eye(3)}, rf"mu is \(3,\), must be \({D},\)"),
        ({"mu": np.full(D, np.nan), "sigma": np.eye(D)}, "mu has values that are not finite"),
        ({"feats": np.zeros((4, 3))}, r"feats is \(4, 3\)"),
        (None, "it is no .npz"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, arrays, told):
    path = tmp_path / "stats.npz"
    np.savez(path, **arrays) if arrays else path.write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match=told) as error:
        load_statistics(path, dimensions=D)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_and_pickled_arrays_are_refused(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        load_statistics(tmp_path / "none.npz")
    np.savez(tmp_path / "objects.npz", mu=np.array([{}], object), sigma=np.eye(D))
    with pytest.raises(ValueError, match="cannot be read"):
        load_statistics(tmp_path / "objects.npz", dimensions=D)
