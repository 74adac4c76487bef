"""Where a person chooses an image: a slider through the test set, or an upload."""

import dataclasses
import pathlib

import gradio as gr
import numpy as np

from experiments.demo import drawing, events, uploads
from experiments.demo.page_data import PageData
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

    def __init__(self, model: ServedModel, data: PageData, start: int, title: str = ""):
        """Image number `start` is chosen at first; `title` says which of several choices this is."""
        self._model, self._data = model, data
        prefix = f"{title}: " if title else ""
        last = len(data.images) - 1
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
        label = int(self._data.labels[number])
        return Picked(self._data.images[number], label, f"test image {number}")

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

    def on_pick(self, view, inputs: list, outputs: list) -> None:
        """Shows a view anew when another image is chosen.

        Args:
            view: callable, the Picked and the values of `inputs` -> the values of `outputs`, a tuple.
            inputs: other components.
            outputs: components.
        """
        unchanged = [gr.skip()] * len(outputs)

        def shown(picked, sentence, values):
            return picked, self.draw(picked), drawing.note(sentence), *view(picked, *values)

        def number_changed(number, *values):
            return shown(self.numbered(int(number)), "", values)

        def file_uploaded(path, *values):
            try:
                picked, sentence = self.uploaded(path)
            except uploads.BadUpload as error:
                return gr.skip(), gr.skip(), drawing.note(str(error), bad=True), *unchanged
            return shown(picked, sentence, values)

        outputs = [self.picked, self.picture, self._note, *outputs]
        events.on(self._number.input, number_changed, [self._number, *inputs], outputs)
        events.on(self._upload.upload, file_uploaded, [self._upload, *inputs], outputs)
