"""A mixture of ten Glows, one per class: `tfd.MixtureSameFamily`, and Bayes' rule for the class.

The ten share their flow and differ in the top prior, so the densities of an image under all ten cost one
pass of the flow: the label is a batch dimension of the distribution.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from docs.examples import digits

tfd = tfp.distributions


def main(out=pathlib.Path("docs/pictures"), steps=1000):
    """Trains, classifies the held-out digits, draws samples; returns accuracy and bits per dimension."""
    images, labels, test_images, test_labels = digits.load()
    model = digits.train(images, labels, steps=steps)
    classes = tfd.Categorical(probs=(np.bincount(labels) / len(labels)).astype(np.float32))
    components = model.distribution(y=np.arange(10))  # Batch shape [10].
    mixture = tfd.MixtureSameFamily(classes, components)

    x = model.dequantize(test_images, seed=0)
    log_joint = components.log_prob(x[:, None]) + classes.log_prob(np.arange(10))  # [360, 10]
    posterior = tf.nn.softmax(log_joint).numpy()
    accuracy = float(np.mean(posterior.argmax(-1) == test_labels))
    bits = float(tf.reduce_mean(model.config.n_bits_x - mixture.log_prob(x) / (64 * np.log(2))))
    print(f"Bayes' rule names {accuracy:.1%} of the held-out digits; the mixture has {bits:.3f} bits/dim")

    unsure = np.argsort(posterior.max(-1))[:5]
    figure, axes = plt.subplots(5, 11, figsize=(11, 4.6), layout="constrained", width_ratios=[1] * 10 + [2.4])
    samples = components.sample(5, seed=1)
    for row in range(5):
        for label in range(10):
            axes[row, label].imshow(samples[row, label, ..., 0], cmap="gray", vmin=-0.5, vmax=0.5)
            axes[row, label].axis("off")
        axes[row, 10].bar(range(10), posterior[unsure[row]])
        axes[row, 10].set(xticks=range(10), yticks=[], ylim=(0, 1), ylabel=f"a {test_labels[unsure[row]]}")
    axes[0, 10].set_title("p(class) of the five\nleast certain")
    figure.suptitle("Samples of the ten components, and Bayes' rule")
    figure.savefig(out / "class_mixture.png", dpi=110)
    plt.close(figure)
    return {"accuracy": accuracy, "bits_per_dim": bits}


if __name__ == "__main__":
    main()
