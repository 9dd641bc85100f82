"""Execute the cells of docs/tutorial.md and write what they print below them.

    python tools/tutorial.py            writes the page
    python tools/tutorial.py --check    only says whether the page has what its cells print, as its test does

A cell is a block fenced as ``python``; what it prints, and the value of its last line, is the block fenced as ``text``
that follows.  Decimals differ a little between kinds of processors, so the check allows for that, and cog, which the
generated pages use, does not suit.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import io
import math
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
CELL = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[+-]?\d+\.\d+(?:e[+-]?\d+)?")


def executed(page: str) -> str:
    """``page`` with each cell's output as it is now; cells share their names, and a folder that is new."""
    names: dict[str, Any] = {"__name__": "tutorial"}

    def cell(found: re.Match[str]) -> str:
        output = _run(found["code"], names)
        return f"```python\n{found['code']}```\n" + (f"\n```text\n{output}```\n" if output else "")

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return CELL.sub(cell, page)


def _run(code: str, names: dict[str, Any]) -> str:
    """What a cell prints, and the value of its last expression unless that is None."""
    body = ast.parse(code).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(ast.Module(body, []), str(PAGE), "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), str(PAGE), "eval"), names)  # noqa: S307 (our own page)
            if value is not None:
                print(value if isinstance(value, str) else repr(value))
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    return "".join(f"{line}\n" for line in lines)


def alike(one: str, other: str) -> bool:
    """Whether two pages are the same but for decimals, which may differ by a fiftieth, or by 0.02."""
    words = [re.sub("[─═]+", "─", NUMBER.sub("", page)).split() for page in (one, other)]  # lines of tables, any length
    if words[0] != words[1]:
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.02, abs_tol=0.02) for a, b in pairs)


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    check = parser.parse_args().check
    os.environ.setdefault("COLUMNS", "100")
    before = PAGE.read_text(encoding="utf-8")
    now = executed(before)
    if not check:
        PAGE.write_text(now, encoding="utf-8")
    elif not alike(before, now):
        sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), now.splitlines(True), "page", "now"))
        sys.exit("fix: python tools/tutorial.py")


if __name__ == "__main__":
    main()
