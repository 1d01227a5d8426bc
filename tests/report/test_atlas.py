"""The atlas in a browser, from a folder; and its sizes."""

import gzip
import json
import os
import shutil
from pathlib import Path

import atlas_tables
import numpy as np
import pytest

from audio_neurons import tables
from audio_neurons.report.atlas import building, packing
from audio_neurons.study import paths
from audio_neurons.study.paths import fill

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def built(folder, **changes):
    """Build the atlas of an invented run; return its pages, and what it was told."""
    about = atlas_tables.write(folder, **changes)
    before = Path.cwd()
    os.chdir(folder)
    try:
        building.build(about, paths.ATLAS)
    finally:
        os.chdir(before)
    return folder / paths.ATLAS_PAGES, about


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return built(tmp_path_factory.mktemp("small"))


def index_of(pages):
    return packing.read(pages, "index")


def number_of(pages, model="ssl"):
    """Number, layer and unit of the first neuron that a task assigns to a class."""
    of = index_of(pages)["of"][model]
    number = of["chosen"][0][0]
    return number, number // of["layers"][0], number % of["layers"][0]


def test_a_card_has_the_numbers_of_the_tables(small):
    pages, _ = small
    folder = pages.parents[2]
    number, layer, unit = number_of(pages)
    shard = packing.read(pages, "ssl/neurons-000")
    place = number - shard["first"]
    own = shard["chosen"][str(number)]
    neurons = tables.read(
        folder / fill(paths.OF_TASK, table="neurons", model="ssl", task="task0", selector="aape"), "neurons"
    )
    rows = neurons[(neurons["layer"] == layer) & (neurons["neuron"] == unit)]
    letters = shard["tasks"]["task0"]["p"][4 * place : 4 * place + 4]
    np.testing.assert_allclose([(ord(one) - 93) / 200 for one in letters], rows["response"], atol=0.0026)
    np.testing.assert_allclose(own["tasks"]["task0"]["p"], 1000 * rows["response"], atol=0.51)
    assert own["tasks"]["task0"]["a"] == np.flatnonzero(rows["assigned"]).tolist()
    correlated = fill(paths.STATISTICS, model="ssl", dataset="sounds", table="correlations")
    heard = tables.read(folder / correlated, "correlations")
    heard = heard[(heard["layer"] == layer) & (heard["neuron"] == unit) & (heard["split"] == "*")]
    assert dict(shard["acoustics"][str(number)]["sounds"]) == pytest.approx(
        dict(zip(heard["feature"], heard["correlation"], strict=True)), rel=0.01
    )
    examples = tables.read(folder / fill(paths.EXAMPLES, model="ssl", dataset="sounds"), "examples")
    shown = examples[(examples["layer"] == layer) & (examples["neuron"] == unit)]
    clips = packing.read(pages, "clips/sounds")
    assert [clips["id"][row[1]] for row in own["shown"]["sounds"]["rows"]] == shown["clip_id"].tolist()
    assert "".join(row[0] for row in own["shown"]["sounds"]["rows"]) == "rrrrllmmhhsssssooo"


def test_the_same_tables_give_the_same_pages(small, tmp_path):
    pages, about = small
    again, _ = built(tmp_path)

    def content(folder):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    assert content(pages) == content(again)
    manifest = json.loads((pages / "atlas.json").read_text("utf-8"))
    assert manifest["run"] in (pages / "index.html").read_text("utf-8")
    assert (
        manifest["run"]
        == building.identity(about)["run"]
        != building.identity({**about, "configuration": "{1}"})["run"]
    )


def test_sounds_that_may_not_be_passed_on_are_outside_the_pages(tmp_path):
    pages, _ = built(tmp_path, passed_on=False)
    assert not list(pages.rglob("*.mp3")) + list(pages.rglob("*.png"))
    local = tmp_path / paths.ATLAS_LOCAL / "sounds"
    assert len(list(local.glob("*.mp3"))) == len(list(local.glob("*.png"))) == 24


def test_without_resamples_and_screening_what_they_tell_is_lacking(tmp_path):
    pages, _ = built(tmp_path, resampled=False, screened=False, acoustics=False)
    number, *_ = number_of(pages)
    own = packing.read(pages, "ssl/neurons-000")["chosen"][str(number)]["tasks"]["task0"]
    assert "null" not in own
    assert "est" not in own
    assert packing.read(pages, "ssl/task-task0")["effects"] == []


# Size: of 36,864 neurons

SHAPE = {"layers": 12, "width": 3072, "models": ("ssl",), "chosen": 0.02}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return built(tmp_path_factory.mktemp("large"), **SHAPE, clips=60)[0]


def packed(value):
    return len(gzip.compress(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), 9))


def test_the_full_configuration_s_models_stay_below_25_mb_and_the_index_below_2(large):
    """Sizes grow with classes and datasets: it has 192 classes in 11 tasks, and 8 datasets."""
    megabyte = 1_000_000
    shards = [packing.read(large, f"ssl/neurons-{place:03d}") for place in range(48)]
    assert sum(len(shard["layer"]) for shard in shards) == 36_864
    listing = (large / "data/ssl/task-task0.js").stat().st_size
    # Of the last shard, in base64: what 4 classes of a task take, its entropies, and clips of one dataset.
    last = shards[-1]
    task = last["tasks"]["task0"]
    parts = {"p": task["p"], "h": task["h"], "shown": last["shown"], "chosen": last["chosen"]}
    sizes = {name: packed(part) * 48 * 4 / 3 for name, part in parts.items()}
    of_datasets = 8 * (sizes["shown"] + sizes["chosen"])
    total = 192 / 4 * sizes["p"] + 11 * (sizes["h"] + listing) + of_datasets
    assert total < 25 * megabyte, sizes
    assert (large / "data" / "index.js").stat().st_size * 11 < 2 * megabyte


# In a browser


@pytest.fixture(scope="module")
def browser():
    """Chromium, without anything that the machine has of it."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Opened:
    """A page of an atlas in a browser, whose errors and requests are watched."""

    def __init__(self, browser, folder, **settings):
        self.folder, self.wrong = folder, []
        self.page = browser.new_context(**settings).new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("console", lambda told: told.type == "error" and self.wrong.append(told.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._asked)

    def _asked(self, request):
        if not request.url.startswith((self.folder.as_uri() + "/", "data:", "blob:")):
            self.wrong.append(f"asks for {request.url}")

    def open(self, address="", page="index.html"):
        self.page.goto("about:blank")
        self.page.goto(f"{(self.folder / page).as_uri()}#/{address}")
        self.shown()
        return self

    def shown(self):
        self.page.wait_for_function("document.body && document.body.dataset.shown")
        return self.page.inner_text("h1")

    def follow(self, what):
        before = self.page.evaluate("document.body.dataset.shown")
        self.page.click(what) if isinstance(what, str) else what()
        self.page.wait_for_function(f"document.body.dataset.shown !== '{before}'")
        return self.page.inner_text("h1")

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.page.context.close()
        assert raised[0] or self.wrong == []


def test_a_class_leads_to_a_card_whose_sound_plays_and_back(small, browser):
    pages, _ = small
    with Opened(browser, pages.parent) as at:
        at.open()
        assert at.page.url.endswith("pages/index.html#/")  # the door leads there
        assert at.page.inner_text("h1") == "Atlas of neurons"
        assert at.follow("section a >> text=class1") == "class1"
        first = at.page.inner_text("tbody th a >> nth=0")
        layer, unit = first.split(":")
        assert at.follow("tbody th a >> nth=0") == f"Layer {layer}, neuron {unit}"
        assert at.page.locator("article.clip").count() == sum(atlas_tables.OF.values())
        assert at.page.locator("text=Acoustic correlates").count() == 1
        at.page.evaluate("document.querySelector('audio').play()")
        at.page.wait_for_function("document.querySelector('audio').currentTime > 0")
        assert at.page.evaluate("getComputedStyle(document.querySelector('.head')).visibility") == "visible"
        assert at.page.evaluate("document.querySelector('.picture img').naturalWidth") > 10
        assert at.follow(at.page.go_back) == "class1"


def test_a_cell_of_the_heat_map_leads_to_shared_neurons(small, browser):
    pages, _ = small
    with Opened(browser, pages) as at:
        at.open("ssl/compare/pairs")
        assert at.page.locator(".heat td a").count() == 16
        assert at.follow(".heat td a >> nth=5") == "class1 and class1"
        first, second = (packing.read(pages, f"ssl/task-task{n}") for n in (0, 1))
        own = [{n for n, a in zip(one["number"], one["a"], strict=True) if 1 in a} for one in (first, second)]
        assert at.page.inner_text("section h2") == f"{len(own[0] & own[1])} neurons are specific to both"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_address_opens_cold_on_a_phone_without_scrolling_sideways(small, browser, scheme):
    pages, _ = small
    _, layer, unit = number_of(pages)
    addresses = {
        "": "Atlas of neurons",
        "random": "Atlas of neurons",
        "ssl/task/task1": "Task 1",
        "ssl/task/task0/class2?sort=response&layer=1": "class2",
        "ssl/compare/pairs": "Pairs",
        f"ssl/{layer}/{unit}?task=task1": f"Layer {layer}, neuron {unit}",
        "ssl/sound/sounds?class=class1": "Sounds: Sounds",
        "ssl/sound/sounds/tone-000.wav": "tone-000.wav",
        "ssl/index?layer=2": "Index",
    }
    sized = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme}
    with Opened(browser, pages, **sized) as at:
        for address, title in addresses.items():
            assert at.open(address).page.inner_text("h1") == title
            assert at.page.evaluate("document.documentElement.scrollWidth") <= 360, address
            assert at.page.evaluate(SMALLEST) >= 12, address
            assert at.page.evaluate(UNNAMED) == [], address


# Font sizes of all text, and controls and images without a name.
SMALLEST = """Math.min(...[...document.querySelectorAll('body *')]
  .filter((one) => !one.closest('svg, script'))
  .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
  .map((one) => parseFloat(getComputedStyle(one).fontSize)))"""
UNNAMED = """[...document.querySelectorAll('a, button, select, audio, input, img')]
  .filter((one) => !(one.innerText?.trim() || one.getAttribute('aria-label') || one.alt))
  .filter((one) => !one.closest('label'))
  .map((one) => one.outerHTML)"""


def test_sorts_and_filters_are_in_the_address(small, browser):
    pages, _ = small
    with Opened(browser, pages) as at:
        at.open("ssl/task/task0")
        at.follow(lambda: at.page.select_option("section select", "response"))
        assert at.page.url.endswith("#/ssl/task/task0?sort=response")
        shown = [float(one) for one in at.page.locator("tbody tr td:nth-child(4)").all_inner_texts()]
        assert shown == sorted(shown, reverse=True)
        assert len(shown) == 12
        at.follow(".strip a >> nth=1")
        assert at.page.url.endswith("?sort=response&layer=1")
        assert all(one.startswith("1:") for one in at.page.locator("tbody th").all_inner_texts())
        assert at.follow(lambda: at.page.select_option("#model", "random")) == "Task 0"
        assert "#/random/task/task0?sort=response&layer=1" in at.page.url


def test_the_keyboard_alone_leads_to_a_card(small, browser):
    pages, _ = small
    with Opened(browser, pages) as at:
        at.open("ssl/task/task0/class1")
        for _ in range(60):
            at.page.keyboard.press("Tab")
            if at.page.evaluate("document.activeElement.matches('tbody th a')"):
                break
        assert at.follow(lambda: at.page.keyboard.press("Enter")).startswith("Layer ")
        assert at.page.evaluate("document.activeElement.tagName") == "H1"


def test_another_at_random_is_of_a_class_and_numbers_are_copied(small, browser):
    pages, _ = small
    with Opened(browser, pages, permissions=["clipboard-read", "clipboard-write"]) as at:
        at.open("ssl")
        told = at.follow("nav button")
        at.page.click("text=copy as CSV")
        at.page.wait_for_selector("text=copied")
        lines = at.page.evaluate("navigator.clipboard.readText()").splitlines()
        assert len(lines) == 1 + 4 * 2
        assert any(line.split(",")[5] == "true" for line in lines), told


def test_what_is_not_there_is_told(small, browser, tmp_path):
    pages, _ = small
    with Opened(browser, pages) as at:
        for address in (
            "none",
            "ssl/9/1",
            "ssl/task/nothing",
            "ssl/task/task0/nothing",
            "ssl/sound/sounds/none",
        ):
            assert at.open(address).page.inner_text("h1") == "Not found"
            assert "'" in at.page.inner_text("main p") or "layers are 0 to 2" in at.page.inner_text("main p")
    private, _ = built(tmp_path, passed_on=False)
    _, layer, unit = number_of(private)
    shutil.rmtree(tmp_path / paths.ATLAS_LOCAL)
    at = Opened(browser, tmp_path / "results/atlas").open(f"ssl/{layer}/{unit}", "pages/index.html")
    at.page.wait_for_selector("text=The sounds of Sounds are not passed on (licence: CC0).")
    at.page.context.close()


def test_a_card_of_a_model_of_36864_neurons_loads_one_part_of_its_data(large, browser):
    number = index_of(large)["of"]["ssl"]["chosen"][0][-1]
    with Opened(browser, large) as at:
        asked = []
        at.page.on("request", lambda request: asked.append(request.url))
        at.open(f"ssl/{number // 3072}/{number % 3072}")
        assert at.page.locator("article.clip").count() == sum(atlas_tables.OF.values())
        parts = [url for url in asked if "/neurons-" in url]
        assert len(parts) == 1
        files = [Path(url.removeprefix("file://")) for url in asked if url.endswith(".js")]
        assert sum(file.stat().st_size for file in files) < 1_000_000
