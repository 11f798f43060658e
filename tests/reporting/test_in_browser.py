"""The report in a headless Chromium: layout, interaction, accessibility."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from saliencymixplus.audit.audit import audit
from saliencymixplus.comparison.compare import compare
from saliencymixplus.mixing.boxes import box_mask
from saliencymixplus.mixing.methods.saliencymixplus import label_weight
from saliencymixplus.reporting.report import report
from saliencymixplus.settings import MixSettings
from saliencymixplus.settings.evaluation import AuditSettings
from tests.browser import axe_core, browser, chromium
from tests.helpers import write_rectangles
from tests.reporting.conftest import give_weights, write_reported

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium on this machine"),
]
SIZE = 12
CLASSES = ["one", "two", "three"]
# Every visible text whose contrast with what is behind it is below 4.5 (WCAG 2.2, 1.4.3), also in
# SVG, whose background axe-core cannot tell.
FAINT = """
(() => {
  const number = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = (text) => {
    const parts = number(text).slice(0, 3).map((v) => v / 255);
    const linear = parts.map((v) => (v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4));
    return .2126 * linear[0] + .7152 * linear[1] + .0722 * linear[2];
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((number(colour)[3] ?? 1) > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(".unseen, script, option")) continue;
    const svg = element instanceof SVGElement;
    const ink = svg ? getComputedStyle(element).fill : getComputedStyle(element).color;
    const [a, b] = [light(ink), light(ground(element))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) found.push([element.tagName, element.textContent.slice(0, 30), ratio]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    prepared = write_rectangles(root / "prepared", size=SIZE)
    digest = json.loads((prepared / "meta.json").read_text())["digest"]
    runs = []
    for mix in ("none", "cutmix", "saliencymixplus"):
        for seed in (0, 1):
            runs.append(write_reported(root, mix, seed, image_size=[SIZE, SIZE], digest=digest))
            described = json.loads((runs[-1] / "settings.json").read_text())
            described["data"]["classes"] = CLASSES
            (runs[-1] / "settings.json").write_text(json.dumps(described))
            torch.manual_seed(seed)
            give_weights(runs[-1], size=SIZE, classes=len(CLASSES))
    compare(runs, root / "reports")
    recipes = [MixSettings(name=name, method=name) for name in ("cutmix", "mixup")]
    settings = AuditSettings(images=40, batch_size=8, resamples=50, worst=2)
    audit(prepared, recipes, {}, settings, root / "audits")
    return report(runs, root / "reports", audit=root / "audits", prepared=prepared)


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(chrome, page_path):
    chrome.errors.clear()
    chrome.open(page_path)
    return chrome


@pytest.mark.parametrize("dark", [False, True])
def test_everything_is_on_screen_and_can_be_read(chrome, page_path, dark):
    chrome.errors.clear()
    chrome.open(page_path, dark=dark)
    assert chrome.errors == []
    text = chrome.run("document.querySelector('main').innerText")
    for words in ("No significant difference", "What was run", "Errors by class", "λ by area"):
        assert words in text
    ground = chrome.run("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") != dark
    assert chrome.run(FAINT) == []
    chrome.run(
        "document.querySelector('h1').style.color = getComputedStyle(document.body).backgroundColor"
    )
    assert [tag for tag, *_ in chrome.run(FAINT)] == ["H1"]
    width = chrome.run("document.documentElement.scrollWidth")
    assert width <= 1280
    broken = "[...document.images].filter(i => !i.naturalWidth).length"
    assert chrome.run(broken) == 0
    chrome.open(page_path, width=360, dark=dark)  # a phone
    assert chrome.run("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_no_barrier(chrome, page_path, dark, width):
    axe = axe_core()
    if axe is None:
        pytest.skip("axe-core is not installed: pip install -e '.[browser]'")
    chrome.open(page_path, dark=dark, width=width)
    chrome.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert chrome.violations(axe) == []
    chrome.run("document.querySelector('main').append(document.createElement('button'))")
    assert [text.split(" (")[0] for text in chrome.violations(axe)] == ["button-name"]


def test_the_policy_refuses_other_scripts_and_the_network(page):
    page.run(
        "document.body.append(Object.assign(document.createElement('script'),"
        "{textContent: 'window.other = 1'}))"
    )
    assert page.run("window.other") is None
    assert page.run("fetch('https://example.org').then(() => 1, () => 0)") == 0


def test_a_click_sorts_a_table(page):
    table = "document.querySelector('[aria-label^=\"Top-1 error (%) by class\"] table')"
    header = f"{table}.tHead.rows[0].cells[1]"
    cells = f"[...{table}.tBodies[0].rows].map(row => row.cells[1].textContent)"
    before = page.run(cells)
    page.run(f"{header}.querySelector('button').click()")
    assert page.run(f"{header}.getAttribute('aria-sort')") == "ascending"
    page.run(f"{header}.querySelector('button').click()")
    after = page.run(cells)
    assert sorted(after) == sorted(before)
    numbers = [float(cell.split()[0]) for cell in after]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > numbers[-1]


def test_buttons_copy_and_save(page):
    saved = page.run("""(() => {
      const blobs = [];
      URL.createObjectURL = (blob) => { blobs.push(blob); return "data:,"; };
      HTMLAnchorElement.prototype.click = () => {};
      document.querySelectorAll('.tools button').forEach((b) => {
        if (b.textContent.startsWith('Save')) b.click();
      });
      return Promise.all(blobs.map((blob) => blob.text()));
    })()""")
    assert any(text.startswith("Method,Top-1 error") for text in saved)
    assert any(
        text.startswith("panel,method,x,mean,deviation\nTest error,No mixing,1,") for text in saved
    )
    pictures = [text for text in saved if text.startswith("<")]
    assert len(pictures) >= 4
    assert all("</svg>" in text for text in pictures)
    copied = page.run("""(async () => {
      let text;
      navigator.clipboard.writeText = async (given) => { text = given; };
      const buttons = [...document.querySelectorAll('.tools button')];
      const button = buttons.find(b => b.textContent === 'Copy LaTeX');
      button.click();
      await new Promise(done => setTimeout(done, 50));
      return [text, button.textContent];
    })()""")
    assert "\\toprule" in copied[0]
    assert copied[1] == "Copied"


def test_a_method_is_switched_off_on_the_whole_page(page):
    buttons = (
        "[...document.querySelectorAll('.legend button')].filter(b => b.innerText === 'CutMix')"
    )
    groups = "[...document.querySelectorAll('g[data-method=cutmix]')]"
    page.run(f"{buttons}[0].click()")
    states = page.run(f"{groups}.map(group => group.getAttribute('visibility'))")
    assert set(states) == {"hidden"}
    assert len(states) > 3
    pressed = page.run(f"{buttons}.map(button => button.getAttribute('aria-pressed'))")
    assert set(pressed) == {"false"}
    assert len(pressed) > 1


def test_charts_answer_pointer_and_keys(page):
    page.run("document.querySelector('.chart').scrollIntoView({block: 'center'})")
    box = page.run(
        "(r => [r.left, r.top, r.width, r.height])"
        "(document.querySelector('.chart svg').getBoundingClientRect())"
    )
    page.mouse("mouseMoved", box[0] + 0.95 * box[2], box[1] + box[3] / 2)
    tip = page.run("document.querySelector('.tip:not([hidden])').textContent")
    assert tip.splitlines()[0] == "Epoch 3"
    assert "CutMix: 10.50 ± 0.71" in tip.splitlines()
    page.run("document.querySelector('.chart svg').focus()")
    page.key("ArrowLeft")
    assert "CutMix: 15.50" in page.run("document.querySelector('.tip:not([hidden])').textContent")
    assert "Epoch 2" in page.run("document.getElementById('status').textContent")
    page.key("Escape")
    assert page.run("document.querySelector('.tip:not([hidden])')") is None


def lambdas(page):
    found = page.run(
        "Object.fromEntries([...document.querySelectorAll('[data-lambda]')]"
        ".map(e => [e.dataset.lambda, Number(e.textContent)]))"
    )
    return found["area"], found["saliency"], found["mask"]


def expected_lambdas(page_path, a, b, box):
    """λ by the library, of the maps that the page holds."""
    (data,) = re.findall(r'<div class="playground">.*?json">(.*?)</script>', page_path.read_text())
    images = json.loads(data)["images"]

    def pixels(kind):
        maps = [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(images[i][kind].split(",")[1]))))
            for i in (a, b)
        ]
        return torch.from_numpy(np.stack(maps)).double()

    mask = box_mask(torch.tensor([box]), SIZE, SIZE).double()
    area = 1 - float(mask.mean())
    other = torch.tensor([1])
    return area, *(float(label_weight(pixels(kind), other, mask)) for kind in ("saliency", "mask"))


def test_the_playground_weighs_as_the_library_does(page, page_path):
    assert lambdas(page) == pytest.approx(expected_lambdas(page_path, 0, 1, [3, 3, 9, 9]), abs=6e-4)
    page.run("document.querySelector('.play canvas').scrollIntoView({block: 'center'})")
    box = page.run(
        "(r => [r.left, r.top, r.width, r.height])"
        "(document.querySelector('.play canvas').getBoundingClientRect())"
    )
    x, y = box[0] + 3.5 / SIZE * box[2], box[1] + 8.5 / SIZE * box[3]
    page.mouse("mousePressed", x - 20, y - 20)
    page.mouse("mouseMoved", x, y)
    page.mouse("mouseReleased", x, y)
    moved = lambdas(page)
    assert moved == pytest.approx(expected_lambdas(page_path, 0, 1, [5, 0, 11, 6]), abs=6e-4)
    page.run("document.querySelector('.play canvas').focus()")
    page.key("ArrowRight")
    expected = expected_lambdas(page_path, 0, 1, [5, 1, 11, 7])
    assert lambdas(page) == pytest.approx(expected, abs=6e-4)
    assert lambdas(page) != moved
    page.run(
        "(s => { s.value = 2; s.dispatchEvent(new Event('change')); })"
        "(document.querySelectorAll('.controls select')[1])"
    )
    expected = expected_lambdas(page_path, 0, 2, [5, 1, 11, 7])
    assert lambdas(page) == pytest.approx(expected, abs=6e-4)
