"""A report in a browser: it loads nothing, reads well in both themes and widths, and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sslrec_core.cli import main

pytest.importorskip("vl_convert", reason="the extra report is not installed")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--no-first-run")  # fmt: skip
HOSTILE = (
    '<img src="https://example.org/x.png" onerror="document.title=1">', "</script><script>document.title=1</script>",
    "\u202eright to left\u202c", "&lt;b&gt; \"quoted\" 'twice'", "音楽 🎵", "very long " * 60,
)  # fmt: skip


def command(*arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    assert not end.value.code


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a graph model and a baseline, on items with names of all kinds."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLREC_CACHE", str(folder / "cache"))
        for model, epochs in (("cf/lightgcn", 3), ("popularity", 1)):
            command(
                "train", model, "-d", "cf/demo", "-q", "-o", str(folder / model.rpartition("/")[2]),
                "--set", f"train.epochs={epochs}", "--set", "run.callbacks=[]", "--set", "eval.diagnostics=true",
                "--set", "scenario.name=cf",
            )  # fmt: skip
        from sslrec_core.running import Run

        items = Run.open(folder / "lightgcn").data.items
        names = folder / "names.csv"
        raw = items.raw(range(len(items))).tolist()
        pl.DataFrame({"item": raw, "name": [HOSTILE[place % len(HOSTILE)] for place in range(len(raw))]}).write_csv(
            names
        )
        runs = (str(folder / "lightgcn"), str(folder / "popularity"))
        command("report", *runs, "-q", "--names", str(names), "-o", str(folder / "page.html"))
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(SWITCHES))
        yield started
        started.close()


@contextmanager
def opened(browser: Any, page: Path, width: int = 1440, scheme: str = "light", **options: Any) -> Iterator[Any]:
    """The page in a window; nothing may be asked of the network, and nothing complained about."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
    tab = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(page.as_uri())
    yield tab
    context.close()
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert said == []


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_well(browser: Any, page: Path, width: int, scheme: str) -> None:
    with opened(browser, page, width, scheme, bypass_csp=True) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.locator("figure svg").count() >= 10
        smallest = tab.evaluate(
            "Math.min(...[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect().height))"
        )
        assert smallest > 7
        found = axe.Axe().run(tab)
        assert found.violations_count == 0, found.generate_report()


def test_a_name_makes_no_element(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        assert tab.title().endswith("on cf/demo")
        assert tab.locator("img").count() == 0 and tab.locator("script").count() == 1
        shown = tab.locator("bdi").all_text_contents()
        assert set(HOSTILE[:5]) <= set(shown)
        assert max(map(len, shown)) == 161


def test_it_is_read_by_keyboard(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.className") == "skip"
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.id") == "theme"
        paper = "getComputedStyle(document.body).backgroundColor"
        before = tab.evaluate(paper)
        tab.keyboard.press("Enter")
        assert tab.evaluate(paper) != before
        assert tab.locator("#theme").get_attribute("aria-pressed") == "true"
        tab.reload()
        assert tab.evaluate(paper) != before
        tab.keyboard.press("Tab")
        for _ in range(100):
            if tab.evaluate("document.activeElement.tagName") == "SUMMARY":
                break
            tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        assert tab.evaluate("document.activeElement.parentElement.open") is True
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.getAttribute('role')") == "region"
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_it_needs_no_script(browser: Any, page: Path) -> None:
    with opened(browser, page, java_script_enabled=False) as tab:
        assert tab.locator("figure svg").first.is_visible()
        assert not tab.locator("#theme").is_visible()


def test_printed_it_is_black_on_white(browser: Any, page: Path) -> None:
    with opened(browser, page, scheme="dark") as tab:
        tab.emulate_media(media="print")
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
