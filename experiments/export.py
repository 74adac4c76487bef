"""Exports a trained Glow as a SavedModel for TensorFlow Serving.

    python -m experiments.export --logdir logs/digits --export_dir served/glow
    python -m experiments.export --logdir logs/digits --export_dir served/glow --tflite
    python -m experiments.export --openai_checkpoint model_best_loss.ckpt --problem cifar10 ... \
        --export_dir served/glow

Writes export_dir/VERSION/, at once and whole, with the next number unless --version is given; a version is
never overwritten. With --tflite, export_dir/VERSION/glow.tflite is for LiteRT (TensorFlow Lite): the
signatures without random numbers and picture files, in one file. Then, for example:

    docker run -p 8500:8500 -p 8501:8501 -v "$PWD/served/glow:/models/glow" -e MODEL_NAME=glow \
        tensorflow/serving
"""

import tensorflow as tf
from absl import flags

import glow_tf
from experiments import cli, runs
from experiments.settings import hps_json
from glow_tf.serving import lite

FLAGS = flags.FLAGS


def define_flags():
    runs.define_inference_flags()
    flags.DEFINE_string("export_dir", None, "Folder of the served model; versions are its subfolders.")
    flags.DEFINE_integer(
        "version",
        None,
        "Version; the next number unless given.",
        lower_bound=0,
        upper_bound=glow_tf.serving.MOST_VERSION,
    )
    flags.DEFINE_bool("tflite", False, "Write glow.tflite too, beside the SavedModel, for LiteRT.")


def main(argv):
    del argv
    if not FLAGS.export_dir:
        raise cli.UsageError("Give --export_dir, the folder that gets the version.")
    cli.end_as_by_ctrl_c()
    run = runs.load_for_inference()
    metadata = {
        "weights": "polyak" if FLAGS.polyak else "raw",
        "source": FLAGS.openai_checkpoint or FLAGS.logdir,
        "hyperparameters": hps_json.to_json(run.hyperparameters),
    }
    try:
        path = glow_tf.serving.export(
            run.glow, FLAGS.export_dir, FLAGS.version, metadata=metadata, tflite=FLAGS.tflite
        )
    except (OSError, tf.errors.OpError) as error:  # A full disk is either.
        raise cli.UsageError(f"Can't export to {FLAGS.export_dir}: {error}") from error
    print(f"Wrote {path} ({metadata['weights']} weights).")
    if FLAGS.tflite:
        held = ", ".join(lite.SIGNATURES)
        print(f"Wrote {path / lite.FILE}: {held}. LiteRT has no random numbers and no picture files.")


if __name__ == "__main__":
    define_flags()
    cli.run(main, first="logdir export_dir version tflite checkpoint polyak openai_checkpoint")
