"""Each public class shows how it is used, by an example that runs as it stands."""

import inspect
import re
import textwrap

import pytest

import glow_tf

CLASSES = {
    name: value
    for module in (glow_tf, glow_tf.bijectors, glow_tf.optimizers, glow_tf.networks)
    for name, value in vars(module).items()
    if inspect.isclass(value) and value.__module__.startswith("glow_tf") and not name.startswith("_")
} | {"GlowModel": glow_tf.training.GlowModel}
EXAMPLE = re.compile(r"^Example:\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", CLASSES)
def test_example(name):
    (code,) = EXAMPLE.findall(inspect.getdoc(CLASSES[name])) or pytest.fail(f"{name} has no Example")
    exec(compile(textwrap.dedent(code), name, "exec"), {})
