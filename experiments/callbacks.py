"""What happens at the end of an epoch: evaluation, logs, sample grids."""

import json
import time

import tensorflow as tf
import tf_keras

from experiments import health, pictures
from experiments.runs import Run
from glow_tf.training import STATISTICS

TEMPERATURES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # The original's.


def evaluate_both(run: Run, dataset, steps: int | None = None) -> dict:
    """Returns the test statistics of the raw weights and of their Polyak average.

    Args:
        run: what is evaluated.
        dataset: of batches that `GlowModel` takes.
        steps: int, how many batches there are, for a distributed dataset.
    """
    evaluate = lambda: run.model.evaluate(dataset, steps=steps, verbose=0, return_dict=True)
    raw = evaluate()
    with run.optimizer.averaged_weights(run.model.trainable_variables):
        return {"raw": raw, "polyak": evaluate()}


class Log:
    """A file of JSON lines in the logdir; the first one holds the hyperparameters, as in the original.

    Rows of later steps than the run's, which it is going to make again, are removed when it is opened.

    Attributes:
        rows: the rows but for the first.
    """

    def __init__(self, run: Run, name: str):
        """Opens the file, which a resumed run goes on with."""
        self._run = run
        self._path = run.logdir / name
        lines = self._path.read_text().split("\n")[:-1] if self._path.exists() else []
        self.rows = [json.loads(line) for line in lines[1:]]
        kept = [row for row in self.rows if row["n_processed"] <= run.n_processed]
        if run.is_chief and (not lines or len(kept) < len(self.rows)):
            new = self._path.with_suffix(".new")
            new.write_text("".join(json.dumps(row) + "\n" for row in [run.hps, *kept]))
            new.replace(self._path)
        self.rows = kept

    def log(self, epoch: int, statistics: dict, **columns):
        """Adds a row with the original's columns, and further ones."""
        run = self._run
        row = dict(epoch=epoch, n_processed=run.n_processed, n_images=run.n_images)
        row |= {name: round(statistics[name], 4) for name in STATISTICS} | columns
        self.rows.append(row)
        if run.is_chief:
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")


class Rate(tf_keras.callbacks.Callback):
    """Prints a line an epoch, and gives the callbacks after it `images_per_second`."""

    def __init__(self, run: Run):
        """Makes the callback of a run."""
        super().__init__()
        self._run = run

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._start, self._first_step = time.perf_counter(), self._run.step

    def on_epoch_end(self, epoch, logs=None):
        """Prints."""
        seconds = time.perf_counter() - self._start
        rate = (self._run.step - self._first_step) * self._run.batch_size / seconds
        logs["images_per_second"] = rate
        self._run.tell(f"epoch {epoch + 1}: train {logs['bits_x']:.4f} bits/dim, {rate:.0f} images/s")


class TrainLog(tf_keras.callbacks.Callback):
    """Writes train.txt, a row an epoch; comes last: a row says that all of the epoch is done."""

    def __init__(self, run: Run):
        """Makes the callback of a run."""
        super().__init__()
        self._log = Log(run, "train.txt")
        self._train_time = 0.0

    @property
    def epochs_done(self) -> int:
        """How many epochs have been ended."""
        return self._log.rows[-1]["epoch"] if self._log.rows else 0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Reads the clock: the time of the evaluation isn't the training's."""
        self._train_time = time.perf_counter() - self._start

    def on_epoch_end(self, epoch, logs=None):
        """Writes the row."""
        before = self._log.rows[-1]["train_time"] if self._log.rows else 0
        self._log.log(epoch + 1, logs, train_time=round(before + self._train_time, 1))


class Evaluation(tf_keras.callbacks.Callback):
    """Evaluates on the test set every `epochs_full_valid` epochs; writes test.txt; keeps the best."""

    def __init__(self, run: Run, test_data, steps: int, fixed_batch):
        """Makes the callback.

        Args:
            run: what is evaluated.
            test_data: distributed batches of test images.
            steps: int, how many of them.
            fixed_batch: (images, labels, noise), for the error of the inverse.
        """
        super().__init__()
        self._run = run
        self._test_data, self._steps = test_data, steps
        self._health = health.Health(run, fixed_batch)
        self._log = Log(run, "test.txt")
        self._polyak_log = Log(run, "test_polyak.txt")
        self._best = min((row["loss"] for row in self._log.rows), default=float("inf"))

    def on_epoch_end(self, epoch, logs=None):
        """Evaluates, if it is time or the last epoch."""
        epoch += 1
        hps = self._run.hps
        if epoch % hps["epochs_full_valid"] and epoch != hps["epochs"]:
            return
        results = evaluate_both(self._run, self._test_data, self._steps)
        raw, polyak = results["raw"], results["polyak"]
        measured = self._health.measure()
        best = raw["loss"] < self._best
        if best:
            self._best = raw["loss"]
            self._run.save("best")
        self._log.log(epoch, raw, **measured)
        self._polyak_log.log(epoch, polyak)
        logs |= {f"test_{k}": v for k, v in (raw | measured).items()}
        logs |= {f"test_polyak_{k}": v for k, v in polyak.items()}
        self._run.tell(
            f"epoch {epoch}: test {raw['bits_x']:.4f} bits/dim (raw weights), "
            f"{polyak['bits_x']:.4f} (Polyak average){' *' if best else ''}"
        )


class SampleGrids(tf_keras.callbacks.Callback):
    """Writes sample grids at the original's temperatures and epochs, for TensorBoard too."""

    def __init__(self, run: Run):
        """Makes the callback of a run."""
        super().__init__()
        self._run = run
        if run.is_chief:
            self._writer = tf.summary.create_file_writer(str(run.logdir / "samples"))
        self._sample = tf.function(
            lambda y, temperature: run.glow.sample(
                len(y), y if run.hps["ycond"] else None, temperature, seed=[run.hps["seed"], 0]
            )
        )

    def on_epoch_end(self, epoch, logs=None):
        """Draws, in the first, the tenth and every `epochs_full_sample`th epoch, and the last."""
        if not self._run.is_chief:
            return
        epoch += 1
        if epoch in (1, 10, self._run.hps["epochs"]) or not epoch % self._run.hps["epochs_full_sample"]:
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
