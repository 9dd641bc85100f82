"""The board of many runs: how long it takes to write, and how soon a browser shows its tables.

    python benchmarks/board.py RUN [--runs 2000] [--chromium /usr/bin/chromium]

RUN is any complete run; its small files are copied under other settings and seeds.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

import sslrec_core as sslrec
from sslrec_core.config import read_config, to_toml
from sslrec_core.records import CONFIG, ENVIRONMENT, METRICS, RESULT


def main() -> None:
    """Copy, write, open five times, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = read_config(given.run / CONFIG)
        for number in range(given.runs):
            setting, config["run"]["seed"] = divmod(number, 5)
            config["optim"]["learning_rate"] = 1e-3 * (1 + setting)
            copy = Path(folder, f"run-{number:05}")
            copy.mkdir()
            (copy / CONFIG).write_text(to_toml(config), encoding="utf-8")
            for name in (ENVIRONMENT, METRICS, RESULT):
                shutil.copy(given.run / name, copy)
        began = time.perf_counter()
        page = sslrec.board(folder)
        size = page.stat().st_size / 1e6
        print(f"{given.runs:,} runs: written in {time.perf_counter() - began:.1f} s, {size:.1f} MB")
        with sync_playwright() as browsers:
            browser = browsers.chromium.launch(executable_path=given.chromium, args=["--no-sandbox", "--disable-gpu"])
            for _ in range(5):
                shown = browser.new_page(viewport={"width": 1440, "height": 900})
                shown.goto(page.as_uri())
                shown.wait_for_selector("tbody tr")
                drawn = shown.evaluate("performance.getEntriesByName('board-drawn')[0].startTime")
                print(f"tables drawn after {drawn / 1000:.2f} s")
                shown.close()
            browser.close()


if __name__ == "__main__":
    main()
