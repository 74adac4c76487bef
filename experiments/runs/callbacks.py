"""What happens at the end of an epoch: evaluation, sample grids, logs."""

import math
import time

import numpy as np
import tensorflow as tf
import tf_keras

from experiments import pictures
from experiments.data import contexts
from experiments.runs import Run, invertibility
from experiments.runs.logs import Log
from glow_tf.training import STATISTICS, NotFiniteError

TEMPERATURES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # The original's.


def evaluate_both(run: Run, dataset, steps: int | None = None, callbacks=()) -> dict:
    """Returns the test statistics of the raw weights and of their Polyak average.

    Args:
        run: what is evaluated.
        dataset: of batches that `GlowModel` takes.
        steps: int, how many batches there are, for a distributed dataset.
        callbacks: of Keras, which see each batch's end.
    """
    evaluate = lambda: run.model.evaluate(
        dataset, steps=steps, verbose=0, return_dict=True, callbacks=list(callbacks)
    )
    raw = evaluate()
    with run.optimizer.averaged_weights(run.model.trainable_variables):
        return {"raw": raw, "polyak": evaluate()}


def finite_or_null(statistics: dict) -> dict:
    """Returns statistics for JSON, which has no NaN and no infinity."""
    return {name: value if math.isfinite(value) else None for name, value in statistics.items()}


class EndOfEpoch(tf_keras.callbacks.Callback):
    """Evaluates, draws and logs; `end` is also called for an epoch whose end was cut.

    Attributes:
        epochs_done: how many epochs have been ended.
    """

    def __init__(self, run: Run, test_data, steps: int, fixed_batch, during_evaluation=()):
        """The logs go on where the run does.

        Args:
            run: what is trained.
            test_data: distributed batches of test images.
            steps: int, how many of them.
            fixed_batch: (images, labels, noise), for the error of the inverse, and for what samples are
                conditioned on, if that is images.
            during_evaluation: callbacks that see each test batch's end.
        """
        super().__init__()
        self._run = run
        self._test = test_data, steps, during_evaluation
        self._invertibility = invertibility.Monitor(run, fixed_batch)
        self._train_log = Log(run, "train.txt", ("train_time",))
        self._test_log = Log(run, "test.txt", ("loss",))
        self._polyak_log = Log(run, "test_polyak.txt")
        self._grids = SampleGrids(run, *fixed_batch[:2])
        self._board = Summaries(run, "tensorboard/train")

    @property
    def epochs_done(self) -> int:
        """How many epochs have been ended: the row of train.txt comes last."""
        return self._train_log.rows[-1]["epoch"] if self._train_log.rows else 0

    def on_epoch_begin(self, epoch, logs=None):
        """The clock starts."""
        self._start, self._first_step = time.perf_counter(), self._run.step
        self._train_time = 0.0

    def on_train_batch_end(self, batch, logs=None):
        """Reads the clock: the time of the evaluation isn't the training's."""
        self._train_time = time.perf_counter() - self._start

    def on_epoch_end(self, epoch, logs=None):
        """Ends the epoch."""
        images = (self._run.step - self._first_step) * self._run.batch_size
        self.end(epoch + 1, logs, images, self._train_time)

    def end(self, epoch: int, statistics: dict, images: int = 0, seconds: float = 0.0) -> None:
        """Does all that comes at the end of an epoch.

        Args:
            epoch: int, how many epochs have been trained.
            statistics: their means over the epoch.
            images: int, how many this process has trained on in the epoch.
            seconds: float, how long that took.
        """
        run, hyperparameters = self._run, self._run.hyperparameters
        logged = {name: statistics[name] for name in STATISTICS}
        rate = f", {images / seconds:.0f} images/s" if seconds else ""
        run.tell(f"epoch {epoch}: train {logged['bits_x']:.4f} bits/dim{rate}")
        if epoch % hyperparameters.epochs_full_valid == 0 or epoch == hyperparameters.epochs:
            logged |= self._evaluate(epoch)
        if epoch in (1, 10, hyperparameters.epochs) or epoch % hyperparameters.epochs_full_sample == 0:
            self._grids.draw(epoch)
        if seconds:
            logged["images_per_second"] = images / seconds
        logged["learning_rate"] = float(tf.convert_to_tensor(run.optimizer.learning_rate))
        self._board.scalars(epoch - 1, {f"epoch_{name}": value for name, value in logged.items()})
        before = self._train_log.rows[-1]["train_time"] if self._train_log.rows else 0
        self._log(self._train_log, epoch, statistics, train_time=round(before + seconds, 1))

    def _evaluate(self, epoch) -> dict:
        """Writes test.txt and test_polyak.txt, keeps the best; returns what TensorBoard shows of it."""
        run = self._run
        results = evaluate_both(run, *self._test)
        raw, polyak = results["raw"], results["polyak"]
        if not math.isfinite(raw["loss"]):
            raise NotFiniteError(f"The loss on the test images became {raw['loss']} in epoch {epoch}.")
        measured = self._invertibility.measure()
        best = raw["loss"] < min(
            (r["loss"] for r in self._test_log.rows if r["epoch"] < epoch), default=math.inf
        )
        if best:
            run.save("best")
        self._log(self._test_log, epoch, raw, **measured)
        self._log(self._polyak_log, epoch, polyak)
        run.tell(
            f"epoch {epoch}: test {raw['bits_x']:.4f} bits/dim (raw weights), "
            f"{polyak['bits_x']:.4f} (Polyak average){' *' if best else ''}"
        )
        shown = {f"test_{name}": value for name, value in (raw | measured).items()}
        return shown | {f"test_polyak_{name}": value for name, value in polyak.items()}

    def _log(self, log, epoch, statistics, **columns):
        """Adds a row with the original's columns, and further ones."""
        run = self._run
        run.mend()
        row = dict(epoch=epoch, n_processed=run.n_processed, n_images=run.n_images)
        row |= finite_or_null({name: round(statistics[name], 4) for name in STATISTICS} | columns)
        log.add(row)


class Summaries:
    """A folder of TensorBoard's in the logdir, which is made again if it was removed."""

    def __init__(self, run: Run, name: str):
        """`name` is the folder's, in the logdir; only the chief writes there."""
        self._run, self._folder = run, run.logdir / name
        self._writer = None

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes numbers."""
        self._write(step, lambda: [tf.summary.scalar(name, value) for name, value in values.items()])

    def image(self, step: int, name: str, picture) -> None:
        """Writes a picture, uint8 [H, W, C]."""
        self._write(step, lambda: tf.summary.image(name, picture[None]))

    def _write(self, step, write):
        if not self._run.is_chief:
            return
        self._run.mend()
        if self._writer is None or not any(self._folder.glob("events*")):
            self._writer = tf.summary.create_file_writer(str(self._folder))
        with self._writer.as_default(step=step):
            write()
        self._writer.flush()


class SampleGrids:
    """Sample grids at the original's temperatures, as PNG and for TensorBoard."""

    def __init__(self, run: Run, images, labels):
        """Nothing is drawn yet.

        Args:
            run: what is trained.
            images: uint8 [N, H, W, C], of the test set: what columns are conditioned on, if that is images.
            labels: int [N], theirs.
        """
        self._run, self._test = run, (images, labels)
        self._board = Summaries(run, "samples")

        @tf.function(autograph=False)
        def sample(n, given, temperature):
            return run.glow.sample(n, temperature=temperature, seed=[run.hyperparameters.seed, 0], **given)

        self._sample = sample

    def draw(self, epoch: int) -> None:
        """Writes epoch_EPOCH_sample_I.png, I the index of the temperature.

        A column has one label, or the context of one test image.
        """
        run = self._run
        if not run.is_chief:
            return
        columns = 10 if run.hyperparameters.image_size <= 64 else 4
        column = np.tile(np.arange(columns), columns)
        if isinstance(run.context, contexts.LowResolution):
            given = run.conditions(*(tf.gather(x, column % len(x)) for x in self._test))
        else:
            given = run.conditions(None, tf.constant(column % run.hyperparameters.n_y))
        for i, temperature in enumerate(TEMPERATURES):
            images = self._sample(len(column), given, tf.constant(temperature)).numpy()
            run.mend()
            pictures.save_grid(images, columns, run.logdir / f"epoch_{epoch}_sample_{i}.png")
            self._board.image(epoch, f"temperature {temperature}", pictures.grid(images, columns))
