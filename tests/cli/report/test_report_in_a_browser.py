"""The report as somebody sees it who opens the file: in headless Chromium, from disk."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from tests.cli.report.browser import browser, find_chromium
from velora_sb3.cli import main

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install it, or name it in CHROMIUM")

PICTURES = "Array.from(document.images, image => image.complete && image.naturalWidth > 0)"
DRAWINGS = "Array.from(document.querySelectorAll('.plot svg'), svg => svg.getBoundingClientRect().height > 100)"
EMBEDDED = """Promise.all(Array.from(document.querySelectorAll('svg image'), image => {
    const copy = new Image();
    copy.src = image.href.baseVal;
    return copy.decode().then(() => copy.naturalWidth > 0);
}))"""
VIDEOS = """Promise.all(Array.from(document.querySelectorAll('video'), video => new Promise(done => {
    const look = () => (video.readyState >= 2 || video.error)
        ? done([video.videoWidth, video.error && video.error.message])
        : setTimeout(look, 20);
    look();
})))"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT_OFF = "Array.from(document.querySelectorAll('.scroll')).filter(e => e.scrollWidth > e.clientWidth).length"
DANGLING = """Array.from(document.querySelectorAll('svg use'))
    .filter(use => !document.getElementById(use.href.baseVal.slice(1))).length"""
TWICE = "(ids => ids.length - new Set(ids).size)(Array.from(document.querySelectorAll('[id]'), e => e.id))"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def page(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"  # far from the run directory
    assert main(["report", str(trained), "--out", str(path), "--episodes", "2"]) == 0
    return path


def luminance(path: Path) -> float:
    """Of the page's margin, which has no text."""
    return float(matplotlib.image.imread(path)[-3:, :3, :3].mean())


def test_the_page_is_whole(tab, page, tmp_path):
    tab.resize(1280)
    tab.open(page)
    assert tab.evaluate(DRAWINGS) == [True] * 4  # curve, actions, units, time constants
    assert tab.evaluate(PICTURES) == []  # a dense liquid model's frames are within the drawing
    embedded = tab.evaluate(EMBEDDED)
    assert len(embedded) == 10  # eight frames, the units, their colour bar
    assert all(embedded)
    assert tab.evaluate(VIDEOS) == [[500, None]]
    assert tab.evaluate(DANGLING) == 0
    assert tab.evaluate(TWICE) == 0
    assert tab.complaints == []


def test_nothing_is_fetched(tab, page):
    tab.requests.clear()
    tab.open(page)
    assert [url for url in tab.requests if not url.startswith("data:")] == [page.resolve().as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_no_line_is_wider_than_the_window(width, scheme, tab, page, tmp_path):
    tab.resize(width)
    tab.emulate(scheme=scheme)
    tab.open(page)
    assert tab.evaluate(OVERFLOW) == 0
    tab.screenshot(tmp_path / "page.png")
    shown = matplotlib.image.imread(tmp_path / "page.png")
    assert shown.shape[1] == width
    assert len(np.unique(shown[:, :, :3].reshape(-1, 3), axis=0)) > 500  # curves, units, frames
    assert (luminance(tmp_path / "page.png") > 0.5) == (scheme == "light")
    assert tab.complaints == []


def test_no_cell_is_a_column_of_single_letters_on_a_phone(tab, page):
    tab.resize(390, 844)
    tab.open(page)
    assert tab.evaluate("Math.max(...Array.from(document.querySelectorAll('tr'), row => row.offsetHeight))") < 500
    assert tab.evaluate("Array.from(document.querySelectorAll('table')).at(-1).offsetHeight") < 3000  # the files


def test_paper_is_white_and_wide_enough(tab, page, tmp_path):
    tab.resize(794)  # A4 at 96 dots per inch
    tab.emulate(medium="print", scheme="dark")
    tab.open(page)
    assert tab.evaluate(OVERFLOW) == 0
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate(CUT_OFF) == 0
    tab.emulate()


def test_text_of_a_file_is_text(tab, tmp_path):
    (tmp_path / "config.json").write_text(
        '{"algo": "ppo", "env": "<img src=x onerror=alert(1)>", "steps": 1, "seed": 0, "policy": "</style><b>bold</b>"}'
    )
    (tmp_path / "episodes.csv").write_text("timesteps,return\n")
    assert main(["report", str(tmp_path)]) == 0
    tab.open(tmp_path / "report.html")
    assert tab.evaluate("document.querySelectorAll('img, b, script').length") == 0
    assert tab.evaluate("document.querySelector('h1').textContent") == "ppo on <img src=x onerror=alert(1)>"
    assert tab.complaints == []
