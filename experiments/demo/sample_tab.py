"""The tab that draws new images."""

import gradio as gr
import numpy as np

from experiments.demo import drawing, events
from experiments.demo.served_model import ServedModel

MAX_SAMPLES = 60
MAX_SEED = 2**31 - 1
MAX_TEMPERATURE = 1.5
EACH_IN_TURN = "each in turn"


def build(model: ServedModel) -> None:
    """Temperature, label, number and seed, and the samples that they give."""

    def draw(temperature, label, seed, n):
        seeds = (int(seed or 0) + np.arange(int(n))) % (MAX_SEED + 1)
        labels = None
        if model.n_y:
            labels = np.arange(len(seeds)) % model.n_y
            if label != EACH_IN_TURN:
                labels[:] = int(label)
        images = model.sample(seeds, temperature, labels)
        about = [
            f"seed {s}" + ("" if labels is None else f", label {labels[i]}") for i, s in enumerate(seeds)
        ]
        figures = [
            drawing.figure(image, f"Sample with {text}") for image, text in zip(images, about, strict=True)
        ]
        return drawing.shown(drawing.tiles(figures, 84), drawing.save_link(images, "samples.png"))

    def next_seeds(temperature, label, seed, n):
        seed = (int(seed or 0) + int(n)) % (MAX_SEED + 1)
        return seed, draw(temperature, label, seed, n)

    start = (0.7, EACH_IN_TURN, 0, 30)
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            temperature = gr.Slider(
                0,
                MAX_TEMPERATURE,
                start[0],
                step=0.05,
                label="Temperature",
                info="0 is the likeliest; 1 is as the data varies.",
                buttons=[],
            )
            label = gr.Dropdown(
                [EACH_IN_TURN, *map(str, range(model.n_y))],
                value=start[1],
                label="Label",
                visible=bool(model.n_y),
                filterable=False,
            )
            n = gr.Slider(1, MAX_SAMPLES, start[3], step=1, label="How many", buttons=[])
            seed = gr.Number(
                start[2],
                label="Seed",
                info="The same seed is the same image, everywhere.",
                precision=0,
                minimum=0,
                maximum=MAX_SEED,
            )
            again = gr.Button("Again", variant="primary")
        with gr.Column(scale=3, min_width=320):
            grid = gr.HTML(draw(*start), elem_id="sample-grid")
    inputs = [temperature, label, seed, n]
    events.on([temperature.input, label.input, seed.input, n.input], draw, inputs, grid)
    events.on(again.click, next_seeds, inputs, [seed, grid])
