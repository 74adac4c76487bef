"""The documentation's pages: their Python runs, and what says "every" is complete."""

import pathlib
import re

import tensorflow as tf

import glow_tf
from experiments import configs

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def run_python_of(page, **names):
    """Runs the Python blocks of a page, one after the other; returns their names."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks
    exec("\n".join(blocks), names)
    return names


def test_tutorial(tmp_path):
    names = run_python_of("tutorial.md", directory=str(tmp_path), __name__="tutorial")
    assert names["loss"] < 10
    assert tf.saved_model.contains_saved_model(str(tmp_path))


def test_home():
    names = run_python_of("index.md")
    assert names["x"].shape == [5, 8, 8, 1]


def test_every_flag_of_the_original_is_mapped():
    page = (DOCS / "from_openai.md").read_text()
    missing = [name for name in configs.DEFAULTS if f"`--{name}`" not in page]
    assert not missing


def test_every_public_name_is_in_the_api():
    pages = "".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    names = [f"glow_tf.bijectors.{name}" for name in glow_tf.bijectors.__all__]
    names += ["glow_tf.Glow", "glow_tf.GlowConfig", "glow_tf.optimizers", "glow_tf.openai_checkpoint.restore"]
    assert not [name for name in names if f"::: {name}\n" not in pages]


def test_every_example_has_a_page_with_its_picture_and_code():
    scripts = {path.stem for path in (DOCS / "examples").glob("*.py")} - {"__main__", "digits"}
    runner = (DOCS / "examples" / "__main__.py").read_text()
    for name in scripts:
        page = (DOCS / "examples" / f"{name}.md").read_text()
        assert f"docs/examples/{name}.py" in page and f"pictures/{name}.png" in page
        assert (DOCS / "pictures" / f"{name}.png").exists() and f'"{name}"' in runner
        assert f"examples/{name}.md" in (ROOT / "mkdocs.yml").read_text()
