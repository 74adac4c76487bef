"""A page where people play with the latent space: see `experiments.demo.__main__`."""

import os

# Gradio looks at them when it is imported. With analytics off it still keeps a record of events.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "100"
