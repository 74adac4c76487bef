"""A run: its model, its checkpoints and logs, what interrupts it, and the devices that make it."""

from experiments.runs.loading import define_flags, define_inference_flags, load, load_for_inference
from experiments.runs.memory import require_memory
from experiments.runs.run import Run

__all__ = ["Run", "define_flags", "define_inference_flags", "load", "load_for_inference", "require_memory"]
