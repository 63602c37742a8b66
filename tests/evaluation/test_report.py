"""report.html as text: it asks for nothing, holds what was measured, and no name breaks it."""

import base64
import hashlib
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data

from i2sb_jax.evaluation.report import Shown, write_report

HOSTILE = "</script><img src=x onerror=alert(1)>"
SIGMAS = {
    "degraded": 3.0,
    "brightness matching": 2.6,
    "nfe 1": 1.3,
    "nfe 2": 1.05,
    "nfe 5": 0.8,
    "nfe 10": 0.7,
    "nfe 100": 0.66,
}
METRICS = {
    "psnr": {"title": "PSNR", "unit": "dB", "better": "higher", "digits": 2},
    "ssim": {"title": "SSIM", "unit": "", "better": "higher", "digits": 3},
    "fid": {"title": "FID", "unit": "", "better": "lower", "digits": 1},
}
CROP = 256
FID = (182.4, 177.9, 31.6, 24.9, 19.8, 18.3, 18.9)


def photographs(count, side):
    """Crops of photographs, every few pixels: uint8 [side, side, 3]."""
    photos = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    for number in range(count):
        photo = photos[number % len(photos)]
        lengths = photo.shape[0] - CROP, photo.shape[1] - CROP
        top, left = (length * (number * 37 % 101) // 101 for length in lengths)
        yield photo[top : top + CROP : CROP // side, left : left + CROP : CROP // side]


def blurred(photo, sigma):
    return ndimage.gaussian_filter(photo, (sigma, sigma, 0))


def similarity(clean, other):
    """PSNR in dB and, in place of SSIM, a correlation."""
    error = np.mean((clean.astype(np.float64) - other) ** 2)
    return 10 * np.log10(255**2 / error), np.corrcoef(clean.ravel(), other.ravel())[0, 1]


def example(*, names=60, shown=8, side=128):
    """Arguments of `write_report`: photographs, blurred and less blurred."""
    titles = [f"val/n0{1440764 + 37 * k}_{k * 911 % 9973:05d}.png" for k in range(names)]
    titles[1] = HOSTILE
    scores = {method: {"psnr": [], "ssim": []} for method in SIGMAS}
    pictures = []
    for number, (title, clean) in enumerate(zip(titles, photographs(names, side), strict=True)):
        images = {"clean": clean}
        for method, sigma in SIGMAS.items():
            images[method] = blurred(clean, sigma)
            for metric, value in zip(
                ("psnr", "ssim"), similarity(clean, images[method]), strict=True
            ):
                scores[method][metric].append(value)
        if number < shown:
            path = [blurred(clean, sigma) for sigma in np.linspace(3.0, 0.66, 8)]
            pictures.append(Shown(title, images, path if number != 2 else ()))
    scores["nfe 1"]["psnr"][3] = np.nan
    scores["nfe 1"]["psnr"][names - 1] = np.inf
    del scores["brightness matching"]["ssim"]
    return {"results": results_of(scores), "scores": scores, "names": titles, "pictures": pictures}


def results_of(scores):
    figures = {}
    for (method, table), fid in zip(scores.items(), FID, strict=True):
        figures[method] = {metric: figure_of(np.array(values)) for metric, values in table.items()}
        bounds = {"low": fid * 0.96, "high": fid * 1.05}
        figures[method]["fid"] = {"value": fid, **bounds, "pictures": len(table["psnr"])}
    nfes = [int(name.split()[1]) if name.startswith("nfe") else None for name in scores]
    return {
        "title": "Deblurring of photographs",
        "facts": {
            "model": "runs/blur-gauss/checkpoints/48000 (EMA)",
            "corruption": "blur-gauss",
            "sampler": "posterior, 1000 steps, index spacing",
            "seed": 0,
            "pictures": 60,
            "arithmetic": "float32, highest",
            "device": "1 × NVIDIA H100",
            "data": "imagenet2012/validation, names sha256 3f1a90c2",
        },
        "methods": {name: {"nfe": nfe} for name, nfe in zip(scores, nfes, strict=True)},
        "metrics": METRICS,
        "figures": figures,
        "left_out": {"Classifier accuracy": "no labels in this data set"},
    }


def figure_of(values):
    values = values[np.isfinite(values)]
    half = 1.96 * values.std() / len(values) ** 0.5
    mean = values.mean()
    return {"value": mean, "low": mean - half, "high": mean + half, "pictures": len(values)}


def tiny(names=("a", "b")):
    """Arguments of `write_report`, as few as it takes."""
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    return {
        "results": {
            "title": "T",
            "facts": {"seed": 0},
            "methods": {"10": {"nfe": 10}, "degraded": {"nfe": None}, "2": {"nfe": 2}},
            "metrics": METRICS,
            "figures": {"10": {"psnr": {"value": 1.5, "low": None, "high": None, "pictures": 2}}},
            "left_out": {},
        },
        "scores": {"10": {"psnr": [1.25] * len(names)}},
        "names": list(names),
        "pictures": [Shown(names[0], {"clean": image, "degraded": image})] if names else [],
    }


def written(tmp_path, arguments):
    """The document that `write_report` makes."""
    write_report(tmp_path / "new" / "report.html", **arguments)
    return (tmp_path / "new" / "report.html").read_text("utf-8")


class Document(html.parser.HTMLParser):
    """Tags with their attributes, and the text of each script and style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.cdata_elem:
            self.texts.append((self.tags[-1], data))


def inside(text):
    """The JSON of a document."""
    return json.loads(next(t for (_, a), t in Document(text).texts if a.get("id") == "data"))


def decoded(uri):
    header, _, body = uri.partition(",")
    assert header == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


@pytest.fixture(scope="module")
def arguments():
    return example(names=12, shown=3, side=64)


def test_nothing_is_asked_for(tmp_path, arguments):
    text = written(tmp_path, arguments)
    for _, attributes in Document(text).tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "style"):
            assert (attributes.get(name) or "").startswith(("data:", "#")) or name not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    # the namespace of SVG is a name, which nothing resolves
    assert re.findall(r"https?://[\w./]*", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(|innerHTML|eval\(", text)


def test_the_policy_names_the_one_style_and_the_one_script(tmp_path, arguments):
    document = Document(written(tmp_path, arguments))
    (policy,) = (
        a["content"] for _, a in document.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    hashes = {
        tag: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for (tag, attributes), text in document.texts
        if "id" not in attributes
    }
    assert set(hashes) == {"style", "script"}
    for tag, value in hashes.items():
        assert f"{tag}-src 'sha256-{value}'" in policy


def test_strangers_names_stay_text(tmp_path):
    names = [HOSTILE, "<!--<script>", "{{script}}", "a\\u003cb", "é\u2028\udce9", "__proto__"]
    text = written(tmp_path, tiny(names))
    assert inside(text)["names"] == names
    assert [tag for tag, _ in Document(text).tags].count("script") == 2
    assert text.count("{{script}}") == 1 and "onerror" in text and "<img src=x" not in text


def test_what_is_not_finite_is_null(tmp_path):
    arguments = tiny()
    arguments["scores"] = {"10": {"psnr": [np.nan, -np.inf]}, "2": {"psnr": np.float32([1.2, 3])}}
    figure = {"value": float("nan"), "low": np.float32(np.inf), "high": None, "pictures": 2}
    arguments["results"]["figures"] = {"2": {"psnr": figure}}
    content = inside(written(tmp_path, arguments))
    ten, _, two = content["methods"]
    assert ten["scores"][0] == [None, None] and two["scores"][0] == [1.2, 3.0]
    assert two["figures"][0] == {"value": None, "low": None, "high": None, "pictures": 2}


def test_order_is_kept_and_what_a_method_lacks_is_null(tmp_path):
    content = inside(written(tmp_path, tiny()))
    assert [method["name"] for method in content["methods"]] == ["10", "degraded", "2"]
    assert [metric["title"] for metric in content["metrics"]] == ["PSNR", "SSIM", "FID"]
    ten, degraded, _ = content["methods"]
    assert ten["figures"][0]["value"] == 1.5 and ten["scores"] == [[1.25, 1.25], None, None]
    assert degraded["figures"] == degraded["scores"] == [None, None, None]


def test_scores_keep_what_is_shown_and_four_digits_more(tmp_path):
    arguments = tiny()
    arguments["scores"]["10"] = {"psnr": [27.123456789, 1e-9], "ssim": [0.123456789, -0.5]}
    content = inside(written(tmp_path, arguments))
    assert content["methods"][0]["scores"][:2] == [[27.123457, 0.0], [0.1234568, -0.5]]


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_pictures_are_the_pixels_given(tmp_path, channels):
    image = np.random.default_rng(0).integers(0, 256, (4, 6, channels), np.uint8)
    arguments = tiny() | {"pictures": [Shown("a", {"clean": image}, [image[::-1], image])]}
    (picture,) = inside(written(tmp_path, arguments))["pictures"]
    shown = image[..., :3] if channels >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    assert (picture["name"], picture["width"], picture["height"]) == ("a", 6, 4)
    ((label, uri),) = picture["images"]
    assert label == "clean"
    np.testing.assert_array_equal(decoded(uri), shown)
    np.testing.assert_array_equal(decoded(picture["path"][0]), shown[::-1])


def test_nothing_to_show_is_a_page_too(tmp_path):
    arguments = tiny(())
    arguments["scores"], arguments["results"]["figures"] = {}, {}
    content = inside(written(tmp_path, arguments))
    assert content["names"] == content["pictures"] == []


def test_the_same_input_gives_the_same_bytes(tmp_path, arguments):
    first = written(tmp_path, arguments)
    assert written(tmp_path, arguments) == first
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


def test_fifty_thousand_names_stay_small(tmp_path):
    names = [f"n01440764/ILSVRC2012_val_{k:08d}.JPEG" for k in range(50_000)]
    arguments = tiny(names)
    values = np.random.default_rng(0).normal(28, 3, len(names))
    arguments["scores"] = {
        method: {"psnr": values, "ssim": values / 40} for method in ("10", "degraded", "2")
    }
    text = written(tmp_path, arguments)
    assert len(inside(text)["names"]) == 50_000
    assert len(text) < 7e6


@pytest.mark.parametrize(
    "change, message",
    [
        ({"scores": {"20": {"psnr": [1, 2]}}}, "scores of '20', which is none of the methods"),
        ({"scores": {"10": {"lpips": [1, 2]}}}, "scores of 'lpips', which is none of the metrics"),
        ({"scores": {"10": {"psnr": [1]}}}, "'10' has 1 scores of 'psnr' for 2 names"),
        ({"pictures": [Shown("a", {"clean": np.zeros((2, 2, 3))})]}, "are uint8, not float64"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        written(tmp_path, tiny() | change)
    assert not (tmp_path / "new").exists()
