"""What happens at the end of an epoch: evaluation, logs, sample grids, checkpoints."""

import json
import time

import tensorflow as tf
import tf_keras

from experiments import pictures
from experiments.runs import Run
from glow_tf.training import STATISTICS

TEMPERATURES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # The original's.


def evaluate_both(run: Run, dataset) -> dict:
    """Returns the test statistics of the raw weights and of their Polyak average."""
    evaluate = lambda: run.model.evaluate(dataset, verbose=0, return_dict=True)
    raw = evaluate()
    with run.optimizer.averaged_weights(run.model.trainable_variables):
        return {"raw": raw, "polyak": evaluate()}


class Log:
    """A file of JSON lines; the first one holds the hyperparameters, as in the original."""

    def __init__(self, path, hps: dict):
        """Opens the file, which a resumed run goes on with."""
        self._path = path
        if not path.exists():
            self._write(hps)

    def _write(self, row):
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def log(self, run: Run, epoch: int, statistics: dict, **columns):
        """Adds a row with the original's columns."""
        row = dict(epoch=epoch, n_processed=run.n_processed, n_images=run.n_images, **columns)
        self._write(row | {name: round(statistics[name], 4) for name in STATISTICS})


class TrainLog(tf_keras.callbacks.Callback):
    """Writes train.txt, a row an epoch, and prints one."""

    def __init__(self, run: Run):
        """Makes the callback of a run."""
        super().__init__()
        self._run = run
        self._log = Log(run.logdir / "train.txt", run.hps)
        self._train_time = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Writes the row."""
        seconds = time.perf_counter() - self._start
        self._train_time += seconds
        self._log.log(self._run, epoch + 1, logs, train_time=int(self._train_time))
        rate = self.params["steps"] * self._run.batch_size / seconds
        logs["images_per_second"] = rate
        print(f"epoch {epoch + 1}: train {logs['bits_x']:.4f} bits/dim, {rate:.0f} images/s", flush=True)


class Evaluation(tf_keras.callbacks.Callback):
    """Evaluates on the test set every `epochs_full_valid` epochs; writes test.txt; keeps the best."""

    def __init__(self, run: Run, test_data):
        """Makes the callback of a run for batches of test images."""
        super().__init__()
        self._run = run
        self._test_data = test_data
        path = run.logdir / "test.txt"
        self._log = Log(path, run.hps)
        self._polyak_log = Log(run.logdir / "test_polyak.txt", run.hps)
        rows = [json.loads(line) for line in path.read_text().splitlines()[1:]]
        self._best = min((row["loss"] for row in rows), default=float("inf"))

    def on_epoch_end(self, epoch, logs=None):
        """Evaluates, if it is time or the last epoch."""
        epoch += 1
        if epoch % self._run.hps["epochs_full_valid"] and epoch != self.params["epochs"]:
            return
        results = evaluate_both(self._run, self._test_data)
        raw, polyak = results["raw"], results["polyak"]
        self._log.log(self._run, epoch, raw)
        self._polyak_log.log(self._run, epoch, polyak)
        logs |= {f"test_{k}": v for k, v in raw.items()}
        logs |= {f"test_polyak_{k}": v for k, v in polyak.items()}
        best = raw["loss"] < self._best
        if best:
            self._best = raw["loss"]
            self._run.epoch.assign(epoch)
            self._run.save("best")
        print(
            f"epoch {epoch}: test {raw['bits_x']:.4f} bits/dim (raw weights), "
            f"{polyak['bits_x']:.4f} (Polyak average){' *' if best else ''}",
            flush=True,
        )


class SampleGrids(tf_keras.callbacks.Callback):
    """Writes sample grids at the original's temperatures and epochs, for TensorBoard too."""

    def __init__(self, run: Run):
        """Makes the callback of a run."""
        super().__init__()
        self._run = run
        self._writer = tf.summary.create_file_writer(str(run.logdir / "samples"))
        self._sample = tf.function(
            lambda y, temperature: run.glow.sample(
                len(y), y if run.hps["ycond"] else None, temperature, seed=[run.hps["seed"], 0]
            )
        )

    def on_epoch_end(self, epoch, logs=None):
        """Draws, in the first, the tenth and every `epochs_full_sample`th epoch, and the last."""
        epoch += 1
        if epoch in (1, 10, self.params["epochs"]) or not epoch % self._run.hps["epochs_full_sample"]:
            self.draw(epoch)

    def draw(self, epoch: int):
        """Writes epoch_EPOCH_sample_I.png, I the index of the temperature; a column has one label."""
        columns = 10 if self._run.hps["image_size"] <= 64 else 4
        y = tf.tile(tf.range(columns) % self._run.hps["n_y"], [columns])
        for i, temperature in enumerate(TEMPERATURES):
            images = self._sample(y, tf.constant(temperature)).numpy()
            pictures.save_grid(images, columns, self._run.logdir / f"epoch_{epoch}_sample_{i}.png")
            with self._writer.as_default(step=epoch):
                picture = pictures.grid(images, columns)[None]
                tf.summary.image(f"temperature {temperature}", picture)


class LastCheckpoint(tf_keras.callbacks.Callback):
    """Saves the checkpoint `last` at the end of every epoch, which a restarted run goes on from."""

    def __init__(self, run: Run):
        """Makes the callback of a run."""
        super().__init__()
        self._run = run

    def on_epoch_end(self, epoch, logs=None):
        """Saves."""
        self._run.epoch.assign(epoch + 1)
        self._run.save("last")
