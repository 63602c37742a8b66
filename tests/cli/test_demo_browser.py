"""i2sb-demo in a browser: upload, slider, download, refusals, and that nobody else is asked.

Needs gradio, which nothing else here does: an environment of its own, `pip install -e '.[demo]'
pytest selenium scikit-image`, and Chromium (`apt-get install chromium chromium-driver`).
"""

import importlib.util
import io
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image, ImageCms

from i2sb_jax.pictures import encode_picture, read_picture
from i2sb_jax.restoration.folder import restore_folder
from tests.browser import logged
from tests.restoration.models import photo
from tests.restoration.test_trial import too_large

if importlib.util.find_spec("gradio") is None:
    pytest.skip("needs an environment with gradio: pip install '.[demo]'", allow_module_level=True)
webdriver = pytest.importorskip("selenium.webdriver")
by = pytest.importorskip("selenium.webdriver.common.by").By
chrome = pytest.importorskip("selenium.webdriver.chrome.service")
chains = pytest.importorskip("selenium.webdriver.common.action_chains")

ROOT = pathlib.Path(__file__).parents[2]
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="needs a browser: apt-get install chromium chromium-driver",
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"),
)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SIDE = 96
PATIENCE = 120  # seconds; a model is compiled
# Python tells of every address that this process connects to or looks up
AUDITED = """
import os, sys
def told(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        place = arguments[1] if event == "socket.connect" else arguments[0]
        with open(os.environ["ASKED"], "a") as file:
            print(place[0] if isinstance(place, tuple) else place, file=file)
sys.addaudithook(told)
from i2sb_jax.cli.demo import main
main()
"""


class Demo:
    """The tool in a process of its own."""

    def __init__(self, folder):
        self.asked, self.folder = folder / "asked.txt", folder
        (folder / "tmp").mkdir()
        environment = os.environ | {
            "ASKED": os.fspath(self.asked),
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.fspath(ROOT),
            "TMPDIR": os.fspath(folder / "tmp"),
        }
        with (folder / "stderr.txt").open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", AUDITED],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        line = self.process.stdout.readline()
        assert line.startswith("open http://127.0.0.1:"), (folder / "stderr.txt").read_text()
        self.address = re.search(r"http://\S+", line)[0]

    def stop(self):
        """What it says and its status."""
        self.process.send_signal(signal.SIGTERM)
        said, _ = self.process.communicate(timeout=60)
        return said, self.process.returncode


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    demo = Demo(tmp_path_factory.mktemp("demo"))
    yield demo
    if demo.process.poll() is None:
        demo.process.kill()
        demo.process.communicate()


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(tmp_path_factory, downloads):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": os.fspath(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=chrome.Service(DRIVER))
    yield driver
    driver.quit()


class Page:
    """What a visitor does and sees."""

    def __init__(self, driver, address):
        self.driver = driver
        metrics = {"width": 1300, "height": 1100, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get("about:blank")
        logged(driver, within=("data:", "blob:"))
        driver.get(address)
        self.until(lambda: self.all("#restore"))

    def all(self, selector):
        return self.driver.find_elements(by.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(by.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.one(selector).text

    def until(self, condition):
        """Waits for a condition, and returns what it found."""
        end = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < end, self.driver.page_source
            time.sleep(0.1)
        return found

    def upload(self, path):
        """Drops a file, and returns what the page says of it."""
        for button in self.all("#photograph button[aria-label=Clear]"):
            button.click()
            self.until(lambda: not self.text("#facts"))
        self.until(lambda: self.all("#photograph input[type=file]"))[0].send_keys(os.fspath(path))
        return self.until(lambda: self.text("#facts"))

    def set_evaluations(self, number):
        field = self.one("#nfe input")
        field.clear()
        field.send_keys(str(number))

    def restore(self):
        """Presses the button, and returns what the page says then."""
        before = self.text("#message")
        self.progress = set()
        self.one("#restore").click()

        def said():
            self.progress.add(self.text("#shown").partition("\n")[2])
            return (now := self.text("#message")) != before and now

        return self.until(said)

    def chosen(self):
        return [label.text.partition(":")[0] for label in self.all("#model label.selected")]

    def painted(self):
        """The slider as the screen has it, uint8 [h, w, 3]."""
        picture = Image.open(io.BytesIO(self.one("#shown .slider-wrap").screenshot_as_png))
        return np.asarray(picture.convert("RGB")).astype(int)


@pytest.fixture
def page(driver, demo):
    page = Page(driver, demo.address)
    yield page
    assert [
        url
        for url in logged(driver, within=("data:", "blob:"))[1]
        if not url.startswith(demo.address)
    ] == []


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A noisy PNG of 16 bits with a colour profile."""
    noise = np.random.default_rng(1).normal(0, 25, (SIDE, SIDE, 3))
    noisy = np.clip(photo(SIDE, SIDE).astype(float) + noise, 0, 255)
    path = tmp_path_factory.mktemp("deep") / "a photo ü.png"
    path.write_bytes(encode_picture(np.uint16(noisy * 257), icc_profile=PROFILE))
    return path


def test_upload_restore_slide_download(page, driver, demo, deep, downloads, tmp_path):
    assert page.text("h1") == driver.title == "Restore a photograph"
    driver.save_screenshot(os.fspath(tmp_path / "empty.png"))
    assert not page.one("#download").is_enabled()
    facts = page.upload(deep)
    assert facts.startswith("96 × 96 pixels, 16 bits, a colour profile, PNG. denoise suits it: ")
    page.until(lambda: page.chosen() == ["denoise"])
    page.until(lambda: "white noise of 15 to 60 levels" in page.text("#about"))
    assert "Apache-2.0" in page.text("#about")
    assert re.match(r"Restored by denoise in [\d.]+ s: 96 × 96 pixels, 16 bits", page.restore())
    assert any("Preparing the model" in line for line in page.progress)
    images = page.until(lambda: page.all("#shown img"))
    page.until(
        lambda: (
            [driver.execute_script("return arguments[0].naturalWidth", i) for i in images]
            == [SIDE, SIDE]
        )
    )
    driver.save_screenshot(os.fspath(tmp_path / "restored.png"))
    middle = page.painted()
    width = middle.shape[1]
    handle = page.one("#shown .slider-wrap [role=none].outer, #shown .slider-wrap .outer")
    moved = chains.ActionChains(driver).click_and_hold(handle).move_by_offset(-width // 4, 0)
    moved.release().perform()
    left = page.painted()
    changed = np.abs(left - middle).max(axis=(0, 2)) > 30
    # what lay between the two places of the divider is shown restored now, and nothing else is
    assert changed[int(0.3 * width) : int(0.45 * width)].mean() > 0.9
    assert not changed[: int(0.15 * width)].any() and not changed[int(0.65 * width) :].any()
    page.one("#download").click()
    file = downloads / "a photo ü_restored.png"
    page.until(file.exists)
    restore_folder("denoise", deep, tmp_path / "out", quiet=True)
    assert file.read_bytes() == (tmp_path / "out" / deep.name).read_bytes()
    result = read_picture(file.read_bytes())
    assert result.pixels.dtype == np.uint16 and result.icc_profile == PROFILE


def test_refusals_are_the_same_one_line(page, driver, demo, deep, tmp_path):
    (tmp_path / "large.png").write_bytes(too_large())
    assert page.upload(tmp_path / "large.png") == (
        "error: large.png cannot be read: 20000x20000 pixels are more than the 178956970 that are "
        "allowed"
    )
    assert page.restore() == page.text("#facts") and not page.one("#download").is_enabled()
    driver.save_screenshot(os.fspath(tmp_path / "error.png"))
    (tmp_path / "<b>x.txt").write_text("no picture")
    assert page.upload(tmp_path / "<b>x.txt").endswith(
        "x.txt cannot be read: no known picture format"
    )
    page.upload(deep)
    # the model that suits it brings its own number of evaluations
    page.until(lambda: "white noise of 15 to 60 levels" in page.text("#about"))
    page.set_evaluations(0)
    assert page.restore() == "error: nfe=0 must lie in 1…999 (num_steps - 1)"
    assert "Traceback" not in (demo.folder / "stderr.txt").read_text()


def test_a_photograph_comes_first(page):
    assert page.restore() == "error: there is no photograph: drop one first"


def test_a_browser_asks_nobody_else(driver, demo):
    """Negative control: the page's policy stops a request, and the log would tell of it."""
    page = Page(driver, demo.address)
    logged(driver, within=("data:", "blob:"))
    driver.execute_async_script("fetch('http://192.0.2.1/').catch(arguments[0])")
    console, asked = logged(driver, within=("data:", "blob:"))
    assert any("Content Security Policy" in line for line in console)
    assert asked in ([], ["http://192.0.2.1/"]) and page.all("#restore")


def test_the_tool_asks_nobody_else_and_leaves_nothing(demo):
    """The last test: it stops the tool."""
    (kept,) = (demo.folder / "tmp").glob("i2sb-demo-*")
    assert [path for path in kept.rglob("*") if path.is_file()]
    said, status = demo.stop()
    assert (said, status) == ("stopped; uploads and results are deleted\n", 0)
    assert not kept.exists()
    asked = set(demo.asked.read_text().split())
    assert asked and asked <= {"127.0.0.1", "localhost"}
