"""A page where people play with the latent space of a trained Glow, in a browser.

    python -m experiments.demo --logdir logs/digits
    python -m experiments.demo --export_dir served/glow
    python -m experiments.demo --server localhost:8500 --export_dir served/glow

Four tabs: draw samples, mix two images, move an image along attribute directions, and explain an image by
its bits per dimension and its levels. Only the signatures of an export are called: in this process, or,
with --server, of a TensorFlow Serving. A run (--logdir) or a checkpoint (--openai_checkpoint) is exported
first, to a temporary folder.

The data set, whose images are shown and whose classes make the directions, is the one that the run or the
export names; with --server alone, --problem and the flags it was trained with say it. Needs
requirements-demo.txt. Models that are conditioned on a context aren't taken.
"""

import dataclasses
import json
import pathlib
import tempfile

from absl import flags

import glow_tf
from experiments import cli, runs, served, settings
from experiments.cli import UsageError
from experiments.demo import page_data
from experiments.demo.served_model import ServedModel
from experiments.settings import hps_json

FLAGS = flags.FLAGS


def define_flags():
    runs.define_inference_flags()
    flags.DEFINE_string("export_dir", None, "What experiments.export wrote: the newest version is taken.")
    flags.DEFINE_string("server", None, "host:port (gRPC) or http://host:port (REST) of TensorFlow Serving.")
    flags.DEFINE_string("model", "glow", "The model's name on the --server.")
    flags.DEFINE_string("directions", None, "What experiments.manipulate saved, instead of class directions.")
    flags.DEFINE_integer(
        "n_images",
        2000,
        "Images, at most, of the test set (to show, and for the histogram) and of the training set (for "
        "the directions).",
        lower_bound=2,
    )
    flags.DEFINE_float("time_limit", 20.0, "Seconds that one answer may take.", lower_bound=0.1)
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 is every one.")
    flags.DEFINE_integer("port", 7860, "Port to listen on.", lower_bound=1, upper_bound=65535)


def newest_version(directory) -> pathlib.Path:
    """Returns the folder of the newest version of an export; raises a UsageError if there is none."""
    try:
        versions = glow_tf.serving.versions(directory)
    except OSError as error:
        raise UsageError(f"There is no export in {directory}: {error}") from error
    folders = [number for number, path in versions.items() if path.is_dir()]
    if not folders:
        raise UsageError(f"There is no export in {directory}: no folder named by a number.")
    return versions[max(folders)]


def exported_metadata(version: pathlib.Path) -> dict:
    """Returns what an export says of itself, glow.json; raises a UsageError if it says nothing."""
    file = version / "assets" / "glow.json"
    try:
        metadata = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{version} is no export of this package: {file} can't be read: {error}") from error
    if not isinstance(metadata, dict):
        raise UsageError(f"{version} is no export of this package: {file} holds no JSON object.")
    return metadata


def exported_hyperparameters(metadata: dict) -> settings.Hyperparameters:
    """Returns the hyperparameters that an export names; those of the flags where it names none."""
    given = settings.given_flags()
    values = metadata.get("hyperparameters")
    if values is None:
        return settings.resolve(given)
    exported = hps_json.from_json(values, "The export's glow.json: hyperparameters")
    reading = {name: given[name] for name in ("data_dir", "n_test") if given[name] is not None}
    return dataclasses.replace(exported, **reading)


def find_model(temporary) -> tuple:
    """Returns what predicts, the model's hyperparameters, and its fingerprint, None where nothing tells it.

    Args:
        temporary: a folder for an export.
    """
    trained = FLAGS.logdir or FLAGS.openai_checkpoint
    if bool(trained) + bool(FLAGS.export_dir or FLAGS.server) != 1:
        raise UsageError(
            "Give --logdir (a run) or --openai_checkpoint (a prefix), or --export_dir (an export) or "
            "--server (host:port)."
        )
    if trained:
        run = runs.load_for_inference()
        _require_no_context(run.glow.config.context_shape)
        version = glow_tf.serving.export(run.glow, temporary)
        fingerprint = glow_tf.serving.fingerprint(run.glow)
        return served.InProcess(version, FLAGS.time_limit), run.hyperparameters, fingerprint
    if not FLAGS.export_dir:
        hyperparameters = settings.resolve(settings.given_flags())
        return served.connect(FLAGS.server, FLAGS.model, FLAGS.time_limit), hyperparameters, None
    version = newest_version(FLAGS.export_dir)
    metadata = exported_metadata(version)
    config = metadata.get("config")
    _require_no_context(config.get("context_shape") if isinstance(config, dict) else None)
    hyperparameters, fingerprint = exported_hyperparameters(metadata), metadata.get("fingerprint")
    if FLAGS.server:
        return served.connect(FLAGS.server, FLAGS.model, FLAGS.time_limit), hyperparameters, fingerprint
    return served.InProcess(version, FLAGS.time_limit), hyperparameters, fingerprint


def _require_no_context(shape):
    if shape:
        raise UsageError(
            f"The page takes no model that is conditioned on a context, of the shape {shape} here. "
            "Use experiments.sample or experiments.client."
        )


def main(argv):
    del argv
    try:
        from experiments.demo import page
    except ModuleNotFoundError as error:
        raise UsageError(f"{error}. The page needs `pip install -r requirements-demo.txt`.") from error
    cli.end_as_by_ctrl_c()
    with tempfile.TemporaryDirectory() as temporary:
        server, hyperparameters, fingerprint = find_model(temporary)
        model = ServedModel(server, hyperparameters)
        data = page_data.load(model, hyperparameters, FLAGS.n_images, FLAGS.directions, fingerprint)
        built = page.build(model, data, hyperparameters.problem)
        try:
            address = page.launch(built, FLAGS.host, FLAGS.port)
        except OSError as error:
            raise UsageError(f"Can't listen on {FLAGS.host}:{FLAGS.port}: {error}") from error
        print(f"Open {address}", flush=True)
        built.block_thread()


if __name__ == "__main__":
    define_flags()
    cli.run(main, first="logdir export_dir server model host port directions polyak")
