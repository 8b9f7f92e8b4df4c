"""The contact sheet in a real browser: sorted, opened by keys, in light and dark, and deaf to what is written
into it.
"""

from __future__ import annotations

import comfyui_page
import pytest
from comfyui_checkouts import chromium
from PIL import Image

from rational_rewards.models.judgement import Dimension, Judgement
from rational_rewards.ranking.judging import thumbnail
from rational_rewards.ranking.sheet import Entry, write_sheet

pytestmark = pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT)
HOSTILE = """"><script>document.title='run'</script><img src=x onerror="document.title='run'">"""
NAMES = {"text_faithfulness": "Text Faithfulness", "physical_quality": HOSTILE}


def entry(rank, name, faithful, quality, **more):
    dimensions = {
        "text_faithfulness": Dimension("Text Faithfulness", faithful, faithful is not None, HOSTILE),
        "physical_quality": Dimension(HOSTILE, quality, justification="It is clean."),
    }
    given = {"prompt": f"{HOSTILE} {name}", "source": "ComfyUI", "quality_alone": False, **more}
    image = thumbnail(Image.new("RGB", (300, 200), "teal"))
    judgement = Judgement(dimensions, summary=HOSTILE, notes=[HOSTILE]).to_dict()
    return Entry(rank, name, "./../" + name, image, judgement=judgement, **given)


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    """Four images: two judged, one for quality alone, one failed."""
    file = tmp_path_factory.mktemp("sheet") / "sheet.html"
    entries = [
        entry(1, "image10.png", 4.0, 3.5),
        entry(2, "image9.png", 3.0, 4.0),
        entry(1, f"{HOSTILE}.png", None, 2.0, prompt="", source="", quality_alone=True),
        Entry(None, "bad.png", "", "", "", "", False, {}, f"{HOSTILE} cannot be read."),
    ]
    write_sheet(file, HOSTILE, {HOSTILE: HOSTILE}, NAMES, entries)
    return file


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=list(comfyui_page.OPTIONS))
        yield running
        running.close()


@pytest.fixture
def page(browser, sheet):
    """The sheet, and in `page.asked` and `page.said` what it asked the network for and complained of."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.asked, page.said = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(sheet.as_uri())
    yield page
    page.close()


def order(page):
    """The first letters of the names, from top to bottom."""
    return [text.strip()[:7] for text in page.locator("tbody th").all_inner_texts()]


def test_any_column_sorts_and_what_is_missing_comes_last(page):
    ranked, hostile = ["image10", "image9."], HOSTILE[:7]
    assert order(page) == [*ranked, hostile, "bad.png"]
    head = page.get_by_role("button", name="Text Faithfulness")
    head.click()
    assert order(page)[:2] == ranked
    head.click()
    assert order(page) == ["image9.", "image10", hostile, "bad.png"]
    cell = page.locator("thead th", has=head)
    assert cell.get_attribute("aria-sort") == "ascending"
    assert page.locator("thead [aria-sort]").count() == 1
    assert page.get_by_role("status").inner_text() == "Sorted by Text Faithfulness, lowest first."
    # An arrow is for the eye: it is no part of the name.
    page.get_by_role("button", name="Image", exact=True).click()
    assert order(page) == [hostile, "bad.png", "image9.", "image10"], "9 before 10"
    page.get_by_role("button", name="Rank").click()
    assert order(page) == [*ranked, hostile, "bad.png"]
    page.get_by_role("button", name="Rank").click()
    assert order(page) == [hostile, "image9.", "image10", "bad.png"]


def test_it_is_used_by_keys_alone(page):
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 3
    assert page.get_by_text("It is clean.").first.is_visible()
    page.keyboard.press("Space")
    assert page.locator("details[open]").count() == 0
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.get_by_role("status").inner_text() == "Sorted by Score, highest first."
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1


def test_what_is_written_into_it_is_text(page):
    assert page.title() == HOSTILE
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("script").count() == 1
    assert page.asked == [page.url, *[one for one in page.asked if one.startswith("data:")]]
    assert page.said == []
    assert page.locator("tbody th img").first.evaluate("image => image.naturalWidth") == 192
    # The policy holds where escaping would not.
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.run = 1\">')")
    page.wait_for_timeout(100)
    assert page.evaluate("window.run") is None


def test_quality_alone_and_failures_say_so(page):
    assert page.get_by_text("quality alone", exact=True).count() == 1
    assert page.get_by_text("no prompt", exact=True).is_visible()
    assert page.get_by_text("cannot be read").is_visible()


def luminance(colour):
    """WCAG's relative luminance of "rgb(1, 2, 3)"."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_be_read(page, scheme):
    page.emulate_media(color_scheme=scheme)
    paper = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper > 0.5) == (scheme == "light")
    for place in ("h1", "td.prompt", "thead th", ".error", ".tools"):
        ink = luminance(page.locator(place).last.evaluate("one => getComputedStyle(one).color"))
        high, low = max(paper, ink), min(paper, ink)
        assert (high + 0.05) / (low + 0.05) >= 4.5, place
