"""The board as a browser shows it: fast, by keyboard alone, in both themes, on a telephone, and while a run trains."""

from __future__ import annotations

import functools
import itertools
import json
import operator
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sslrec_core.toml import to_toml

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="Playwright drives the browser, and comes with the dev extra"
)
pytest.importorskip("vl_convert", reason="the charts' library comes with the report extra")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
SMALL = ("--set", "model.embedding_dim=8", "--quiet")

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

Page = Any


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("board")


def command(place: Path, *words: str | Path) -> tuple[list[str], dict[str, str]]:
    """A command line and its environment."""
    environment = {"PATH": "/usr/bin:/bin", "SSLREC_CACHE": str(place), "HOME": str(place), "OMP_NUM_THREADS": "1"}
    return [sys.executable, "-m", "sslrec_core.cli", *map(str, words)], environment


def sslrec(place: Path, *words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    line, environment = command(place, *words)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, cwd=place)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def original(place: Path) -> Path:
    """A run to make others of."""
    words = [
        "train",
        "lightgcn",
        "-d",
        "cf/demo",
        "-o",
        place / "original",
        "--set",
        "train.epochs=3",
        "--set",
        "train.every=1",
        *SMALL,
    ]
    sslrec(place, *words)
    return place / "original"


def another(
    original: Path, directory: Path, options: dict[str, Any] | None = None, gain: float = 0.0, finished: bool = True
) -> None:
    """A run like ``original`` with other ``options``, and with other figures by ``gain``."""
    directory.mkdir(parents=True)
    config = tomllib.loads((original / "config.toml").read_text())
    for key, value in (options or {}).items():
        section, _, leaf = key.rpartition(".")
        functools.reduce(operator.getitem, section.split("."), config)[leaf] = value
    (directory / "config.toml").write_text(to_toml(config))
    for name in ("environment.json", "metrics.jsonl"):
        shutil.copy(original / name, directory)
    if finished:
        result = json.loads((original / "result.json").read_text())
        for metrics in (result["metrics"], result["selection"]):
            metrics.update({name: value + gain for name, value in metrics.items()})
        (directory / "result.json").write_text(json.dumps(result))


EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def runs(place: Path, original: Path) -> Path:
    """Ten runs: two settings with three seeds, one selected on test, one unfinished, one oddly named, one broken."""
    folder = place / "runs"
    for rate, seed in itertools.product((0.001, 0.01), (1, 2, 3)):
        options = {"optim.learning_rate": rate, "run.seed": seed}
        another(original, folder / f"rate-{rate}-{seed}", options, gain=rate * seed)
    (folder / "rate-0.01-1" / "report.html").write_text("<!doctype html><title>A report</title>")
    another(original, folder / "on-test", {"train.select_on": "test"})
    another(original, folder / "unfinished", {"model.embedding_dim": 4}, finished=False)
    another(original, folder / "odd", {"optim.name": EVIL}, gain=-0.001)
    another(original, folder / "broken")
    (folder / "broken" / "result.json").write_text('{"metrics": {')
    return folder


@pytest.fixture(scope="module")
def static(place: Path, runs: Path) -> str:
    """The address of the board of ``runs``."""
    said = sslrec(place, "board", runs, "-o", place / "page").stdout
    assert "10 runs, 1 unreadable" in said and said.startswith("board ")
    return (place / "page" / "index.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        yield opened
        opened.close()


@contextmanager
def visit(browser: Any, address: str, width: int = 1440, theme: str = "light") -> Iterator[Page]:
    """A page at ``address``; afterwards it must have neither complained nor asked anybody else."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("tbody tr")
    yield page
    origin = address.partition("#")[0]
    assert complaints == []
    assert [url for url in asked if not (url.startswith(origin) or url.startswith("data:"))] == []
    context.close()


def names(page: Page) -> list[str]:
    """The first cell of each row of the first table, without what stands below the name."""
    texts = page.locator(".board:not([hidden])").first.locator("tbody th").all_inner_texts()
    return [" ".join(text.split()) for text in texts]


def press_until(page: Page, key: str, what: str) -> None:
    """Press Tab until the element whose data-key is ``what`` has the focus."""
    for _ in range(200):
        if page.evaluate("document.activeElement.dataset.key ?? document.activeElement.name ?? ''") == what:
            return
        page.keyboard.press(key)
    raise AssertionError(f"{what} is never reached")


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.dataset.key ?? ''"))


# ---- what it shows ----------------------------------------------------------------------------------------------


def test_seeds_fold_and_the_best_comes_first(browser: Any, static: str) -> None:
    with visit(browser, static) as page:
        headings = [" ".join(text.split()) for text in page.locator(".board h2").all_inner_texts()]
        assert len(headings) == 2 and "cf/demo · standard" in headings[0]
        assert "selected on test" in headings[1]
        assert "selected on test" in page.locator(".board").nth(1).locator("tbody th").inner_text()
        rows = names(page)
        assert "learning_rate=0.01" in rows[0] and len(rows) == 4
        assert "±" in page.locator(".board").first.locator("tbody tr").first.inner_text()
        assert "interrupted 2/3" in page.locator(".board").first.inner_text()
        assert (
            "broken" in page.locator("#unreadable").inner_text()
            and "result.json" in page.locator("#unreadable").inner_text()
        )


def test_a_name_that_is_html_is_text(browser: Any, static: str) -> None:
    with visit(browser, static) as page:
        assert EVIL in page.locator("#tables").inner_text()
        assert page.locator("img").count() == 0


def test_sorting_says_what_it_does_and_keeps_the_place(browser: Any, static: str) -> None:
    with visit(browser, static) as page:
        table = page.locator(".board").first
        button = table.locator("thead button", has_text="Time")
        button.focus()
        page.keyboard.press("Enter")
        head = table.locator("thead th", has_text="Time")
        assert head.get_attribute("aria-sort") == "descending"
        assert focused(page).endswith("seconds")
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        table.locator("thead button", has_text="Model").click()
        assert names(page) == sorted(names(page))
        page.reload()
        page.wait_for_selector("tbody tr")
        assert table.locator("[aria-sort=ascending]").inner_text().startswith("Model")


def test_filters_narrow_and_stay_in_the_address(browser: Any, static: str) -> None:
    with visit(browser, static) as page:
        page.fill("[name=q]", "learning_rate=0.01 rate-0.01-2")
        assert len(names(page)) == 1 and page.locator(".board:not([hidden])").count() == 1
        assert "q=learning_rate" in page.url
        page.fill("[name=q]", "no such run")
        assert "None passes" in page.locator("#counts").inner_text()
        page.fill("[name=q]", "")
        page.select_option("[name=state]", "interrupted")
        assert len(names(page)) == 1
        address = page.url
    with visit(browser, address) as page:
        assert len(names(page)) == 1 and page.input_value("[name=state]") == "interrupted"


def test_metrics_are_chosen(browser: Any, static: str) -> None:
    with visit(browser, static) as page:
        page.locator("#columns summary").click()
        page.locator("#columns").get_by_label("mrr@10", exact=True).check()
        heads = page.locator(".board").first.locator("thead button").all_inner_texts()
        assert "mrr@10" in heads and "ndcg@20" in heads
        page.locator("#columns").get_by_label("ndcg@20", exact=True).uncheck()
        assert "ndcg@20" not in page.locator(".board").first.locator("thead button").all_inner_texts()


def test_seeds_unfold_and_reports_are_linked(browser: Any, static: str, runs: Path) -> None:
    with visit(browser, static) as page:
        button = page.locator("tbody button.seeds").first
        button.focus()
        page.keyboard.press("Enter")
        assert page.locator("tr.run").count() == 3 and focused(page).startswith("open ")
        assert page.locator("tbody button.seeds").first.get_attribute("aria-expanded") == "true"
        link = page.locator("tr.run a")
        assert link.count() == 1 and link.get_attribute("aria-label") == "Report of rate-0.01-1"
        assert link.evaluate("link => link.href") == (runs / "rate-0.01-1" / "report.html").as_uri()


def test_rows_are_compared_by_keyboard_alone(browser: Any, static: str) -> None:
    with visit(browser, static) as page:
        boxes = page.locator("tbody input").evaluate_all("boxes => boxes.map(box => box.dataset.key)")
        for key in boxes[:2]:
            press_until(page, "Tab", key)
            page.keyboard.press("Space")
            assert focused(page) == key
        press_until(page, "Tab", "compare")
        page.keyboard.press("Enter")
        assert focused(page) == "compared"
        page.wait_for_selector("#drawn-judged svg[role=img]")
        page.wait_for_selector("#drawn-lost svg[role=img]")
        assert page.locator("#drawn-judged path.mark-line, #drawn-judged .mark-line path").count() >= 6
        assert "optim.learning_rate" in page.locator("#comparison").inner_text()
        judge = page.locator("#comparison tr", has_text="ndcg@20")
        assert "(−" in judge.inner_text()
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        assert "base=" in page.url and "(+" in judge.inner_text()
        press_until(page, "Tab", "figures judged")
        page.keyboard.press("Enter")
        assert page.locator("#figures-judged tbody tr").count() == 18
        address = page.url
        press_until(page, "Shift+Tab", "close")
        page.keyboard.press("Enter")
        assert page.locator("#comparison").is_hidden() and focused(page) == "compare"
    with visit(browser, address) as page:
        page.wait_for_selector("#drawn-lost svg[role=img]")


def test_rows_of_different_protocols_have_no_differences(browser: Any, static: str) -> None:
    with visit(browser, static) as page:
        page.locator(".board").first.locator("tbody input").first.check()
        page.locator(".board").nth(1).locator("tbody input").first.check()
        page.get_by_role("button", name="Compare", exact=True).click()
        shown = page.locator("#comparison").inner_text()
        assert "No differences are shown" in shown and "selected on test" in shown and "%" not in shown
        page.wait_for_selector("#drawn-lost svg[role=img]")


# ---- how it looks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_is_accessible_and_fits(browser: Any, static: str, width: int, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe comes with the dev extra").Axe()
    with visit(browser, static, width, theme) as page:
        for box in range(2):
            page.locator("tbody input").nth(box).check()
        page.locator("tbody button.seeds").first.click()
        page.locator("#columns summary").click()
        page.get_by_role("button", name="Compare", exact=True).click()
        page.wait_for_selector("#drawn-lost svg[role=img]")
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert focused(page) == "compared"


def opening(page: Page) -> float:
    """Milliseconds from asking for the page to its tables."""
    page.reload()
    page.wait_for_selector("tbody tr")
    return float(page.evaluate("performance.getEntriesByName('board-drawn')[0].startTime"))


def test_two_thousand_runs_open_in_under_a_second(browser: Any, place: Path, original: Path) -> None:
    folder = place / "many"
    for number in range(2000):
        study, seed = divmod(number, 4)
        options = {"optim.learning_rate": 1e-4 * (1 + study), "run.seed": seed}
        another(original, folder / f"sweep-{number % 10}" / f"{number:04d}", options, gain=number * 1e-6)
    assert "2000 runs" in sslrec(place, "board", folder, "-o", place / "many-page").stdout
    with visit(browser, (place / "many-page" / "index.html").as_uri()) as page:
        drawn = min(opening(page) for _ in range(3))
        assert "2,000 runs" in page.locator("#counts").inner_text()
        assert page.locator("tbody tr").count() <= 150 and drawn < 1000
        page.fill("[name=q]", "sweep-7/0457")
        assert len(names(page)) == 1


# ---- mistakes ---------------------------------------------------------------------------------------------------


def test_a_folder_without_runs_is_a_mistake(place: Path) -> None:
    (place / "empty").mkdir()
    assert "there are no runs in" in sslrec(place, "board", place / "empty", code=2).stderr
    assert not (place / "empty" / "board").exists()
    assert "is not a folder" in sslrec(place, "board", place / "nowhere", code=2).stderr
    assert "--serve writes no files" in sslrec(place, "board", place, "--serve", "-o", place / "x", code=2).stderr


# ---- live -------------------------------------------------------------------------------------------------------


@contextmanager
def served(place: Path, folder: Path) -> Iterator[str]:
    """The address of the live board of ``folder``; Ctrl-C must end it cleanly."""
    pytest.importorskip("uvicorn", reason="the server comes with the serve extra")
    line, environment = command(place, "board", folder, "--serve", "--port", "0")
    with subprocess.Popen(
        line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert found is not None, process.stderr.read()
        try:
            yield found.group()
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        assert (process.returncode, said) == (0, "")


def status(address: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_server_gives_reports_and_nothing_else(place: Path, runs: Path) -> None:
    with served(place, runs) as address:
        assert status(f"{address}runs/rate-0.01-1/report.html") == 200
        for path in (
            "runs/rate-0.001-1/report.html",
            "runs/rate-0.01-1/config.toml",
            "runs/../original/report.html",
            "runs/%2e%2e/original/report.html",
            "runs/rate-0.01-1/../../../etc/passwd",
            f"runs/{runs}/rate-0.01-1/report.html",
            "docs",
        ):
            assert status(address + path) == 404, path
        assert status(address, Host="example.org") == 400
        with urllib.request.urlopen(f"{address}curves?path=../original&path=odd", timeout=30) as answer:
            assert sorted(json.load(answer)) == ["odd"]
        port = address.rstrip("/").rpartition(":")[2]
        said = sslrec(place, "board", runs, "--serve", "--port", port, code=2).stderr
        assert f"cannot serve on 127.0.0.1:{port}" in said and "Traceback" not in said


def epoch_of(text: str) -> int:
    """7 of ``running 7/100``."""
    return int(text.split()[1].partition("/")[0])


def test_a_live_board_follows_a_run_that_trains(browser: Any, place: Path, runs: Path) -> None:
    folder = place / "live"
    shutil.copytree(runs, folder)
    line, environment = command(
        place, "train", "lightgcn", "-d", "cf/demo", "-o", folder / "now", "--set", "train.epochs=100000",
        "--set", "train.patience=none", "--set", "train.every=1", "--set", "optim.weight_decay=0.001", *SMALL,
    )  # fmt: skip
    with served(place, folder) as address, visit(browser, address) as page:
        page.locator(".board").first.locator("thead button", has_text="Model").click()
        page.locator("tbody input").first.check()
        page.locator("tbody button.seeds").first.focus()
        held = focused(page)
        with subprocess.Popen(line, env=environment, cwd=place, stderr=subprocess.DEVNULL) as training:
            try:
                running = page.locator("#tables .running")
                sync_api.expect(running).to_have_text(re.compile(r"running \d+/100000"), timeout=90_000)
                first = running.inner_text()
                sync_api.expect(running).not_to_have_text(first, timeout=30_000)
                second = running.inner_text()
            finally:
                training.send_signal(signal.SIGTERM)
        assert epoch_of(first) < epoch_of(second)
        assert focused(page) == held
        assert page.locator("tbody input").evaluate_all("boxes => boxes.filter(box => box.checked).length") == 1
        assert page.locator(".board").first.locator("[aria-sort=ascending]").inner_text().startswith("Model")
        sync_api.expect(running).to_have_count(0, timeout=60_000)
        assert (folder / "now" / "last.safetensors").exists()
