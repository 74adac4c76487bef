"""Where a person chooses an image: a slider through the test set, or an upload."""

import dataclasses
import pathlib

import gradio as gr
import numpy as np

from experiments.demo import answers, drawing, uploads
from experiments.demo.exhibits import Exhibits
from experiments.demo.served_model import ServedModel

_FORGET_SECONDS = 3600


@dataclasses.dataclass(frozen=True)
class Picked:
    """The image that a person has chosen.

    Attributes:
        image: uint8 [H, W, C].
        label: int, its own; for an upload the one that the model finds likeliest, None where it knows none.
        name: str, of the image.
    """

    image: np.ndarray
    label: int | None
    name: str


class Picker:
    """The components of one choice, made in the current block of the page."""

    def __init__(self, model: ServedModel, exhibits: Exhibits, start: int, title: str = ""):
        """Makes them; image number `start` is chosen, and `title` says which of several choices this is."""
        self._model, self._exhibits = model, exhibits
        prefix = f"{title}: " if title else ""
        last = len(exhibits.images) - 1
        self.start = self.numbered(min(start, last))
        with gr.Group():
            self.picture = gr.HTML(self.draw(self.start), elem_classes="framed")
            self._number = gr.Slider(
                0, last, min(start, last), step=1, label=f"{prefix}test image".capitalize(), buttons=[]
            )
            self._upload = gr.UploadButton(
                f"{prefix}upload a picture".capitalize(), file_types=["image"], size="sm"
            )
        self._note = gr.HTML(drawing.note(""))
        self.picked = gr.State(self.start, time_to_live=_FORGET_SECONDS)

    def numbered(self, number: int) -> Picked:
        """Returns an image of the test set."""
        label = int(self._exhibits.labels[number])
        return Picked(self._exhibits.images[number], label, f"test image {number}")

    def uploaded(self, path) -> tuple[Picked, str]:
        """Returns an image that was uploaded, and a sentence about it; raises BadUpload for a bad one."""
        try:
            image, sentence = uploads.read(path, self._model.image_shape)
        finally:
            # What is kept is the small image; the file would lie there until the page is closed.
            pathlib.Path(path).unlink(missing_ok=True)
        label = self._model.likeliest_label(image)
        if label is not None:
            sentence += f" The model takes it for a {label}."
        return Picked(image, label, "your picture"), sentence

    def draw(self, picked: Picked) -> str:
        """Returns the chosen image as HTML."""
        label = "" if picked.label is None else f", label {picked.label}"
        return drawing.shown(drawing.figure(picked.image, picked.name, f"{picked.name}{label}"))

    def _outputs(self):
        return [self.picked, self.picture, self._note]


def connect(pickers: list[Picker], view, inputs: list, outputs: list) -> None:
    """Shows a view anew when an image is chosen.

    Args:
        pickers: of the view.
        view: callable, the Picked of each and the values of `inputs` -> the values of `outputs`, a tuple.
        inputs: other components.
        outputs: components.
    """
    for position, picker in enumerate(pickers):
        _connect_one(pickers, position, picker, view, inputs, outputs)


def _connect_one(pickers, position, picker, view, inputs, outputs):
    n = len(pickers)

    def shown(picked, sentence, values):
        values = list(values)
        values[position] = picked
        return picked, picker.draw(picked), drawing.note(sentence), *view(*values)

    def number_changed(number, *values):
        return shown(picker.numbered(int(number)), "", values)

    def file_uploaded(path, *values):
        try:
            picked, sentence = picker.uploaded(path)
        except uploads.BadUpload as error:
            unchanged = [gr.skip()] * (2 + len(outputs))
            return *unchanged[:2], drawing.note(str(error), bad=True), *unchanged[2:]
        return shown(picked, sentence, values)

    assert n == len({id(p) for p in pickers})
    others = [p.picked for p in pickers] + inputs
    outputs = picker._outputs() + outputs
    answers.on(picker._number.input, number_changed, [picker._number, *others], outputs)
    answers.on(picker._upload.upload, file_uploaded, [picker._upload, *others], outputs)
