"""The page: its tabs, its look, and its limits."""

import pathlib

import gradio as gr

from experiments.demo import explain_tab, manipulate_tab, mix_tab, sample_tab, uploads
from experiments.demo.page_data import PageData
from experiments.demo.served_model import ServedModel

AT_ONCE = 2  # Answers of one kind that are worked on at a time; the others queue.
QUEUE = 200  # A person beyond these is asked to come back.
SESSIONS = 200  # Whose images are kept.
_DELETE_EVERY, _DELETE_OLDER = 300, 300  # Seconds; files of uploads that were broken off.

_STYLE = pathlib.Path(__file__).with_name("style.css")


def build(model: ServedModel, data: PageData, name: str) -> gr.Blocks:
    """Returns the page.

    Args:
        model: that is played with.
        data: of its data set.
        name: what the model was trained on.
    """
    height, width, channels = model.image_shape
    size = f"{height}\N{MULTIPLICATION SIGN}{width}" + (
        "" if channels == 1 else f"\N{MULTIPLICATION SIGN}{channels}"
    )
    with gr.Blocks(
        title="Glow: play with the latent space",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(_DELETE_EVERY, _DELETE_OLDER),
    ) as page:
        gr.HTML(
            "<h1>Play with the latent space of Glow</h1>"
            f"<p>A normalizing flow, trained on {name}: every {size} image is {height * width * channels} "
            "numbers that are normally distributed, and back.</p>",
            elem_id="heading",
        )
        with gr.Tab("Sample"):
            sample_tab.build(model)
        with gr.Tab("Mix"):
            mix_tab.build(model, data)
        with gr.Tab("Manipulate"):
            manipulate_tab.build(model, data)
        with gr.Tab("Explain"):
            explain_tab.build(model, data)
    page.queue(max_size=QUEUE, default_concurrency_limit=AT_ONCE)
    return page


def launch(page: gr.Blocks, host: str, port: int) -> str:
    """Serves the page from threads of its own, and returns its address."""
    # Fonts of the system: Gradio's own themes may name fonts that a browser fetches from elsewhere.
    theme = gr.themes.Default(
        primary_hue="indigo",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    ).set(body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300")
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
        max_file_size=uploads.MAX_BYTES,
        state_session_capacity=SESSIONS,
        theme=theme,
        css_paths=_STYLE,
    )
    return address
