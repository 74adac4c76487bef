"""The README: its length, its commands, and that its numbers are those of the pages it links."""

import re

from tests.support.documents import DOCS, ROOT

TEXT = (ROOT / "README.md").read_text()
CELLS = re.compile(r"\d[\d,]*\.?\d*(?:e-?\d+)?")


def section(title: str) -> str:
    """Returns the text under a heading."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)[1]


def table(title: str) -> list[str]:
    """Returns the rows of a section's first table, without its head."""
    return [line for line in section(title).splitlines() if line.startswith("| ")][2:]


def test_a_page_not_a_manual():
    lines = TEXT.splitlines()
    assert len(lines) <= 160
    assert not [line for line in lines if len(line) > 120]


def test_ci_runs_the_readmes_test_command():
    command = next(line for line in TEXT.splitlines() if "pytest" in line and line.startswith("python3"))
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_numbers_are_those_of_the_pages():
    exact, fast = ((DOCS / name).read_text() for name in ("exact.md", "fast.md"))
    rows = table("How exact")
    assert len(rows) == 4 and not [row for row in rows if row not in exact.splitlines()]
    rows = table("How fast")
    assert len(rows) == 6
    known = set(CELLS.findall(fast))
    for row in rows:
        numbers = CELLS.findall(row.partition(" | ")[2])
        assert numbers and not [n for n in numbers if n.replace(",", "") not in known and n not in known], row
