"""A page where people play with the latent space: see `experiments.demo.__main__`."""
