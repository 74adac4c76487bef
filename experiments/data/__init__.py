"""The problems' datasets: from files and TFDS to batches of images, labels and noise."""
