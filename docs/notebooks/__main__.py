"""The notebooks of the tutorial and two examples: made from their pages, and run.

`python -m docs.notebooks` makes all; `python -m docs.notebooks tutorial` one. The pages are what is edited.
"""

import os
import pathlib
import re
import sys
import tempfile
import textwrap

import nbformat
from nbclient import NotebookClient

HERE = pathlib.Path(__file__).parent
PAGES = {
    "tutorial": HERE.parent / "tutorial.md",
    "class_mixture": HERE.parent / "examples" / "class_mixture.md",
    "chains": HERE.parent / "examples" / "chains.md",
}
# An example is shorter here: its page has the numbers of the whole one, which takes minutes.
_STEPS = 300

_INSTALL = """\
# Installs what is missing, in Colab for instance.
import importlib.util

if importlib.util.find_spec("glow_tf") is None:
    %pip install -q glow-tf scikit-learn matplotlib"""
_SHARED = "from docs.examples import digits"
_BLOCK = re.compile(r"^```(?P<fence>.*?)\n(?P<code>.*?)^```\n", re.MULTILINE | re.DOTALL)
_INCLUDE = re.compile(r'--8<-- "(.*)"')


def make(name: str) -> nbformat.NotebookNode:
    """Returns the notebook of a page, not yet run: its text, and each Python block as a cell."""
    page = PAGES[name].read_text()
    cells = [nbformat.v4.new_code_cell(_INSTALL)]
    end = 0
    for block in _BLOCK.finditer(page):
        cells += _text(page[end : block.start()], name)
        end = block.end()
        if included := _INCLUDE.search(block["code"]):
            cells += _example(name, included[1])
        else:
            assert block["fence"] == "python", block["fence"]
            cells.append(nbformat.v4.new_code_cell(block["code"].strip()))
    cells += _text(page[end:], name)
    for number, cell in enumerate(cells):
        cell.id = f"{name}-{number}"  # The same each time: only what has changed is a difference.
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
    return notebook


def execute(notebook: nbformat.NotebookNode, folder: pathlib.Path) -> nbformat.NotebookNode:
    """Runs a notebook's cells in a folder, and returns it with what they print and draw.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    client = NotebookClient(
        notebook,
        timeout=600,
        coalesce_streams=True,
        resources=dict(metadata=dict(path=str(folder))),
        record_timing=False,
        store_widget_state=False,
    )
    drawn = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # Whatever the caller draws with.
    client.execute(env=os.environ | drawn | {"PYTHONPATH": str(HERE.parents[1]), "TF_CPP_MIN_LOG_LEVEL": "2"})
    for cell in notebook.cells:
        # What libraries say of the machine while they start is no output of the cell.
        for output in cell.pop("outputs", []):
            if output.get("name") != "stderr":
                cell.setdefault("outputs", []).append(output)
        if cell.cell_type == "code":
            cell.setdefault("outputs", [])
    notebook.metadata.pop("language_info", None)
    return notebook


def _example(name, path):
    """Returns an example's cells: its definitions, and a shorter run that shows its picture."""
    code, _, _ = (HERE.parents[1] / path).read_text().partition('\n\nif __name__ == "__main__":')
    cells = []
    if _SHARED in code:  # A file of its own, beside the notebook.
        shared = (HERE.parent / "examples" / "digits.py").read_text()
        cells.append(nbformat.v4.new_code_cell(f"%%writefile digits.py\n{shared.strip()}"))
        code = code.replace(_SHARED, "import digits")
    shown = textwrap.dedent(f"""\
        from IPython.display import Image

        main(pathlib.Path("."), steps={_STEPS})
        Image("{name}.png")""")
    said = f"{_STEPS} steps, for a minute's look; the numbers above are of the whole run."
    return [
        *cells,
        nbformat.v4.new_code_cell(code.strip()),
        nbformat.v4.new_markdown_cell(said),
        nbformat.v4.new_code_cell(shown),
    ]


def _text(text, name):
    """Returns a page's text as a notebook writes it, if there is any: formulas, notes, links."""
    text = re.sub(r"\\\[\n(.*?)\n\\\]", r"$$\1$$", text, flags=re.DOTALL)
    text = re.sub(r"\\\((.*?)\\\)", lambda match: f"${match[1].strip()}$", text)
    text = re.sub(r'^!!! note "(.*)"\n\n?((?:    .*\n|\n)+)', _note, text, flags=re.MULTILINE)
    text = re.sub(r"^!\[.*\n", "", text, flags=re.MULTILINE)  # The notebook draws it.
    text = re.sub(r"^Run it, in a clone.*", "", text, flags=re.MULTILINE | re.DOTALL)
    folder = "../examples/" if PAGES[name].parent.name == "examples" else "../"
    text = re.sub(r"\]\((?!https?:|#)", f"]({folder}", text).strip()
    return [nbformat.v4.new_markdown_cell(text)] if text else []


def _note(match):
    quoted = textwrap.indent(f"**{match[1]}.** {textwrap.dedent(match[2]).strip()}", "> ")
    return f"{quoted}\n\n"


if __name__ == "__main__":
    for chosen in sys.argv[1:] or PAGES:
        if chosen not in PAGES:
            sys.exit(f"There is no notebook {chosen!r}; there are {', '.join(PAGES)}.")
        with tempfile.TemporaryDirectory() as scratch:
            nbformat.write(execute(make(chosen), scratch), HERE / f"{chosen}.ipynb")
        print(f"Wrote {HERE / chosen}.ipynb.")
