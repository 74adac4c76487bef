"""The documents: what they tell a reader to run runs, and what says "every" is complete."""

import functools
import importlib.util
import pkgutil
import re

import pytest
import tensorflow as tf

import glow_tf
from experiments.settings.flags import _NOT_HERE
from experiments.settings.hyperparameters import GIVEN
from tests.support import commands, documents
from tests.support.documents import DOCS, PAGES, ROOT

TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
# `python -m experiments.NAME` and its flags, in a block (with its continued lines) or in a sentence.
COMMAND = re.compile(r"python3? -m experiments\.([a-z_]+)((?:\\\n|[^\n`|;)])*)")


@pytest.mark.parametrize("name", [name for name in TEXTS if documents.runnable(ROOT / name, slow=False)])
def test_page(name, tmp_path):
    if name == "docs/tutorial.md" and importlib.util.find_spec("nbclient"):
        pytest.skip("its notebook is run, by notebooks_test")
    documents.run(ROOT / name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TEXTS if documents.has_slow(ROOT / name)])
def test_whole_page(name, tmp_path):
    documents.run(ROOT / name, tmp_path, slow=True)


def test_a_block_is_run_or_says_why_not():
    """A block whose language is misspelt, or whose fence isn't seen, would be run by nobody."""
    for page in PAGES:
        blocks = documents.blocks_of(page)
        assert 2 * len(blocks) == page.read_text().count("```"), page
        for block in blocks:
            included = block.language in documents.INCLUDED and "--8<--" in block.code
            assert block.language in documents.LANGUAGES or included, (page, block)


def test_commands_have_the_flags_that_are_written():
    """Also those that take hours, Docker or several machines, and are run nowhere here."""
    taken = functools.cache(commands.flags_of)
    unknown = [
        f"{page}: {command} --{flag}"
        for page, text in TEXTS.items()
        for command, arguments in COMMAND.findall(text)
        for flag in re.findall(r"--(\w+)", arguments.replace(" -- ", " "))
        if flag != "help"
        and not _is_taken(flag, taken(command))
        # After ` -- ` come the flags of the training that `reproduce` starts.
        and not (command == "reproduce" and flag in taken("train"))
    ]
    assert not unknown


def _is_taken(flag, flags):
    """Whether it is a flag, one with "no" before it, or a unique beginning, as the original's --n_level."""
    return not {flag, flag.removeprefix("no")}.isdisjoint(flags) or (
        sum(name.startswith(flag) for name in flags) == 1
    )


def test_every_command_is_in_the_table():
    modules = [path for path in (ROOT / "experiments").glob("*.py") if "__main__" in path.read_text()]
    commands = {path.stem for path in modules} | {"demo"}
    page = TEXTS["docs/commands.md"]
    assert not [name for name in commands if f"`python -m experiments.{name}" not in page]


def test_links_lead_somewhere():
    """Of the files that mkdocs doesn't look at; it looks at the pages' own."""
    for name in ("README.md", "CONTRIBUTING.md"):
        links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXTS[name])
        assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_the_version_is_one():
    version = glow_tf.__version__
    assert f'version = "{version}"' in (ROOT / "MODULE.bazel").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_flag_of_the_original_is_mapped():
    """And those that aren't needed here, in the list of what is answered too."""
    page = TEXTS["docs/from_openai.md"]
    names = [name for name, entry in GIVEN.items() if not entry.own] + list(_NOT_HERE)
    assert not [name for name in names if f"`--{name}`" not in page]
    assert not [name for name in _NOT_HERE if f"`--{name}`" not in TEXTS["docs/commands.md"]]


def test_names_that_the_originals_are_mapped_to_exist():
    parts = {"bijectors", "layers", "networks", "openai_checkpoint", "optimizers", "quantization", "training"}
    for name in re.findall(r"`((?:\w+\.)+\w+)", TEXTS["docs/from_openai.md"].partition("## Functions")[2]):
        first = name.partition(".")[0]
        if first == "experiments":
            pkgutil.resolve_name(name)
        elif first in parts or first == "Glow":
            pkgutil.resolve_name(f"glow_tf.{name}")
        # Others are the original's.


def test_every_public_name_is_in_the_api():
    pages = "".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    names = [f"glow_tf.bijectors.{name}" for name in glow_tf.bijectors.__all__]
    names += ["glow_tf.Glow", "glow_tf.GlowConfig", "glow_tf.optimizers", "glow_tf.openai_checkpoint.restore"]
    names += ["glow_tf.training", "glow_tf.threads", "glow_tf.serving.export"]
    assert not [name for name in names if f"::: {name}\n" not in pages]


def test_every_example_has_a_page_with_its_picture_and_code():
    scripts = {path.stem for path in (DOCS / "examples").glob("*.py")} - {"__main__", "digits"}
    runner = (DOCS / "examples" / "__main__.py").read_text()
    for name in scripts:
        page = TEXTS[f"docs/examples/{name}.md"]
        assert f"docs/examples/{name}.py" in page and f"pictures/{name}.png" in page
        assert (DOCS / "pictures" / f"{name}.png").exists() and f'"{name}"' in runner
        assert f"examples/{name}.md" in (ROOT / "mkdocs.yml").read_text()


def test_a_checkpoint_of_a_loop_is_its_whole_state(tmp_path):
    """The tutorial's, section 4: the same gradients lead to the same bits after it as without a stop."""
    config = glow_tf.GlowConfig(image_size=4, n_channels=1, n_levels=2, depth=2, width=4, ycond=True)

    def start(seed):
        model = glow_tf.Glow(config, seed=seed)
        optimizer = glow_tf.optimizers.Adamax(1e-2, beta_2=0.9)
        optimizer.build(model.trainable_variables)
        return model, optimizer, tf.train.Checkpoint(model=model, optimizer=optimizer)

    def train(model, optimizer, steps):
        for step in steps:
            gradients = [tf.random.stateless_normal(v.shape, [0, step]) for v in model.trainable_variables]
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    uncut, optimizer, checkpoint = start(seed=0)
    train(uncut, optimizer, (0, 1))
    path = checkpoint.save(str(tmp_path / "ckpt"))
    train(uncut, optimizer, (2, 3))

    again, its_optimizer, checkpoint = start(seed=1)
    checkpoint.restore(path).assert_consumed()
    train(again, its_optimizer, (2, 3))
    for a, b in zip(uncut.trainable_variables, again.trainable_variables, strict=True):
        tf.debugging.assert_equal(a, b)
        tf.debugging.assert_equal(optimizer.polyak_average(a), its_optimizer.polyak_average(b))
