"""report.html in a browser: what moves, sorts and is painted, and that nothing is fetched."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from i2sb_jax.evaluation.report import write_report
from tests.browser import logged
from tests.evaluation.test_report import HOSTILE, SIGMAS, example, tiny

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
NAMES, SHOWN, SIDE = 450, 8, 32
SCALE = 20  # 32 pixels are enlarged to 640


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # with the driver's path given, selenium looks for nothing and downloads nothing
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def arguments():
    return example(names=NAMES, shown=SHOWN, side=SIDE)


@pytest.fixture(scope="module")
def report(tmp_path_factory, arguments):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, **arguments)
    return path


class Page:
    """What a reader does and sees, in a window of the size given."""

    def __init__(self, driver, path, width=1200, height=900):
        self.driver, self.url = driver, path.as_uri()
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get("about:blank")
        logged(driver)
        driver.get(self.url)

    def run(self, script, *arguments):
        return self.driver.execute_script(f"return {script}", *arguments)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.one(selector).get_property("textContent")

    def column(self, number):
        """Cells of a column of the table, in their order."""
        return self.run(
            "[...document.querySelectorAll('#table tbody tr')]"
            ".map(row => row.cells[arguments[0]].textContent)",
            number,
        )

    def select(self, selector, label):
        Select(self.one(selector)).select_by_visible_text(label)

    def shown(self):
        """(picture, left, right) on the slider."""
        name = Select(self.one("#picture")).first_selected_option.get_property("textContent")
        return name, self.text("#left-label"), self.text("#right-label")

    def share(self):
        """Of the width, what is left of the divider."""
        return self.run(
            "((box, line) => (line.left + line.width / 2 - box.left) / box.width)"
            "(...['compare', 'divider'].map(id => document.getElementById(id)"
            ".getBoundingClientRect()))"
        )

    def painted(self):
        """The slider as the screen has it, uint8 [h, w, 3]."""
        self.run("document.getElementById('compare').scrollIntoView()")
        picture = Image.open(io.BytesIO(self.one("#compare").screenshot_as_png))
        return np.asarray(picture.convert("RGB"))


@pytest.fixture
def page(driver, report):
    page = Page(driver, report)
    yield page
    assert logged(driver) == ([], [page.url])


def test_all_sections_are_there(page, arguments):
    assert page.driver.title == page.text("h1") == arguments["results"]["title"]
    assert [e.is_displayed() for e in page.all("section")] == [True] * 5
    assert len(page.all("#facts dt")) == len(arguments["results"]["facts"])
    assert page.text("#left-out dt") == "Classifier accuracy"


def test_the_table_of_figures_marks_the_best(page, arguments):
    figures = arguments["results"]["figures"]
    assert [row.text for row in page.all("#figures tbody th")] == list(SIGMAS)
    best = [cell.text.split()[0] for cell in page.all("#figures .best")]
    assert best == [
        f"{figures['nfe 10']['fid']['value']:.1f}",
        f"{figures['nfe 100']['psnr']['value']:.2f}",
        f"{figures['nfe 100']['ssim']['value']:.3f}",
    ]
    low, high = (figures["nfe 100"]["psnr"][bound] for bound in ("low", "high"))
    assert f"[{low:.2f}, {high:.2f}]" in page.all("#figures .best")[1].text
    assert [cell.text for cell in page.all("#figures .missing")] == ["–"]
    assert "of 448 pictures" in page.text("#figures")


def test_a_curve_for_each_metric(page):
    charts = page.all("#charts svg")
    assert [chart.get_attribute("aria-label").split()[0] for chart in charts] == [
        *("PSNR", "SSIM", "FID")
    ]
    dots = charts[0].find_elements(By.CSS_SELECTOR, ".dot")
    across, down = ([float(dot.get_attribute(axis)) for dot in dots] for axis in ("cx", "cy"))
    assert len(dots) == 5 and across == sorted(across) and down == sorted(down, reverse=True)
    # 1 : 10 takes as much of a logarithmic axis as 10 : 100
    assert across[3] - across[0] == pytest.approx(across[4] - across[3])
    text = charts[2].get_property("textContent")
    assert "degraded 182.4 ↑" in text and "nfe 10: 18.3" in text and "log scale" in text
    assert len(charts[0].find_elements(By.CSS_SELECTOR, ".band")) == 1


def test_the_divider_follows_pointer_and_keys(page):
    assert page.shown()[1:] == ("degraded", "nfe 100")
    assert page.share() == pytest.approx(0.5, abs=0.01)
    box = page.one("#compare")
    ActionChains(page.driver).move_to_element(box).click_and_hold().move_by_offset(
        -192, 20
    ).release().perform()
    assert page.share() == pytest.approx(0.2, abs=0.01)
    ActionChains(page.driver).move_to_element(box).perform()  # released: nothing follows
    assert page.share() == pytest.approx(0.2, abs=0.01)
    page.one("#cut").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.share() == pytest.approx(0.22, abs=0.01)
    page.one("#cut").send_keys(Keys.END)
    assert page.share() == pytest.approx(1, abs=0.01)


def test_both_sides_are_painted_pixel_by_pixel(page, arguments, tmp_path):
    page.one("#cut").send_keys(*[Keys.ARROW_LEFT] * 25)
    images = arguments["pictures"][0].images
    left, right = (
        images[name].repeat(SCALE, axis=0).repeat(SCALE, axis=1) for name in ("degraded", "nfe 100")
    )
    painted = page.painted()
    assert painted.shape == left.shape
    rows = slice(100, 250)  # below the labels, above the knob
    np.testing.assert_array_equal(painted[rows, :150], left[rows, :150])
    np.testing.assert_array_equal(painted[rows, 170:], right[rows, 170:])
    page.driver.save_screenshot(str(tmp_path / "moved.png"))


def test_another_picture_and_other_methods(page, arguments):
    before = page.painted()
    page.select("#picture", arguments["names"][2])
    assert page.shown() == (arguments["names"][2], "degraded", "nfe 100")
    assert (page.painted() != before).any()
    page.select("#left", "clean")
    page.select("#right", "nfe 1")
    assert page.shown()[1:] == ("clean", "nfe 1")
    assert page.one("#left-image").get_attribute("alt") == f"{arguments['names'][2]}, clean"
    page.one("#next").click()
    assert page.shown() == (arguments["names"][3], "clean", "nfe 1")
    for _ in range(4):
        page.one("#previous").click()
    assert page.shown()[0] == arguments["names"][SHOWN - 1]
    chosen = page.all("#picture-scores .chosen")
    value = arguments["scores"]["nfe 1"]["psnr"][SHOWN - 1]
    assert [row.text.split()[:3] for row in chosen] == [["nfe", "1", f"{value:.2f}"]]


def test_the_path_shows_its_states(page, arguments):
    states = page.all("#strip button")
    assert [states[k].text for k in (0, 1, 7)] == ["X₁", "2", "X₀"]
    states[2].click()
    assert page.shown()[2] == "path 3 of 8"
    assert page.all("#strip button")[2].get_attribute("aria-pressed") == "true"
    page.select("#picture", arguments["names"][2])  # has none
    assert not page.one("#path").is_displayed() and page.shown()[2] == "nfe 100"


def test_a_worst_case_leads_to_its_picture(page, arguments):
    names, psnr = arguments["names"][:SHOWN], arguments["scores"]["nfe 100"]["psnr"][:SHOWN]
    worst = [names[k] for k in np.argsort(psnr)]
    for selector, expected in (("#worst", worst[:4]), ("#best", worst[:3:-1])):
        found = page.all(f"{selector} a")
        assert [link.get_attribute("title") for link in found] == expected
    page.all("#worst a")[0].click()
    assert page.shown() == (worst[0], "degraded", "nfe 100")
    assert page.run("document.getElementById('pictures').getBoundingClientRect().top < 100")
    page.select("#extremes-method", "nfe 1")
    assert len(page.all("#worst a")) + len(page.all("#best a")) == 6  # of 7 with a score
    page.all("#best a")[0].click()
    assert page.shown()[2] == "nfe 1"


def test_the_table_sorts_both_ways_with_what_is_missing_last(page, arguments):
    page.select("#table-method", "nfe 1")
    assert page.column(0)[:3] == arguments["names"][:3]
    while page.one("#more").is_displayed():
        page.one("#more").click()
    values = np.array(arguments["scores"]["nfe 1"]["psnr"])
    ordered = [f"{value:.2f}" for value in np.sort(values[np.isfinite(values)])]
    for direction, expected in (("ascending", ordered), ("descending", ordered[::-1])):
        page.all("#table th button")[1].click()
        headings = [th.get_attribute("aria-sort") for th in page.all("#table th")]
        assert headings == ["none", direction, "none"]
        assert page.column(1) == expected[:200]
        page.one("#more").click()
        page.one("#more").click()
        assert page.column(1) == [*expected, "–", "–"]
    page.all("#table th button")[0].click()
    assert page.column(0)[0] == HOSTILE


def test_more_rows_come_200_at_a_time(page, arguments):
    lengths, labels = [], []
    while page.one("#more").is_displayed():
        lengths.append(len(page.column(0)))
        labels.append(page.text("#more"))
        page.one("#more").click()
    assert lengths == [200, 400] and labels == ["Show 200 more of 250", "Show 50 more of 50"]
    assert page.column(0) == arguments["names"]
    page.one("#filter").send_keys(arguments["names"][300][-12:].upper())
    assert page.column(0) == [arguments["names"][300]]


def test_rows_of_embedded_pictures_lead_to_them(page, arguments):
    links = page.all("#table a")
    assert [link.text for link in links] == arguments["names"][:SHOWN]
    page.select("#table-method", "nfe 5")
    page.all("#table a")[4].click()
    assert page.shown() == (arguments["names"][4], "degraded", "nfe 5")


def test_a_hostile_name_is_text(page):
    page.select("#picture", HOSTILE)
    assert page.shown()[0] == HOSTILE
    assert HOSTILE in page.column(0)
    assert page.run("document.scripts.length") == 2
    assert page.all("[onerror], img:not([src^='data:']):not([src=''])") == []


def test_whatever_got_in_would_not_run(driver, report):
    """Negative control: the policy stops a script, a style and a request; the logs tell of it."""
    page = Page(driver, report)
    page.run(
        "document.body.insertAdjacentHTML('beforeend',"
        ' \'<img src=x onerror="window.ran = 1"><p style="color: red">p</p>\')'
    )
    console = logged(driver)[0]
    assert page.run("window.ran") is None
    assert len(console) == 3 and all("Content Security Policy" in line for line in console)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window_holds_the_page(driver, report, tmp_path, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page = Page(driver, report, width=400)
    assert page.run("document.documentElement.scrollWidth") == 400
    paper = page.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(253, 253, 251)") == (scheme == "light")
    assert page.one("#compare").size["width"] == 11 * SIDE  # whole pixels still
    driver.save_screenshot(str(tmp_path / "narrow.png"))
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert logged(driver) == ([], [page.url])


def test_little_to_show_is_a_page_too(driver, tmp_path):
    for number, names in enumerate([(), ("a", "b")]):
        arguments = tiny(names)
        if not names:
            arguments["scores"], arguments["results"]["figures"] = {}, {}
        write_report(tmp_path / f"{number}.html", **arguments)
        page = Page(driver, tmp_path / f"{number}.html")
        displayed = [section.get_attribute("id") for section in page.all("section:not([hidden])")]
        # of "a" there are no pictures by the method with scores
        assert displayed == (["summary", "curves", "pictures", "all"] if names else ["summary"])
        assert logged(driver) == ([], [page.url])
