"""The README's Python, run as it stands."""

import pathlib
import re

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


def test_python_blocks():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    names = {}
    exec("import tensorflow_probability as tfp\n" + "\n".join(blocks), names)
    assert names["model"].sample(2).shape == (2, 8, 8, 1)
