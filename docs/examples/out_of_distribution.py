"""Bits per dimension as a score of what is out of distribution, and where that fails.

Nalisnick et al., Do Deep Generative Models Know What They Don't Know?, 2019: a model can find images that it
has never seen, if they are smooth, more likely than those it was trained on. So a threshold on the likelihood
is no detector; here are a direction in which it works and one in which it does not.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score

from docs.examples import digits


def patches(n, size=32, seed=0):
    """Returns random patches of scikit-learn's two photographs as 8x8 grey images, uint8 [n, 8, 8, 1].

    A patch of 32x32 pixels is averaged over blocks of 4x4.
    """
    rng = np.random.default_rng(seed)
    photographs = [photograph.mean(-1) for photograph in load_sample_images().images]
    result = np.empty((n, 8, 8, 1), np.uint8)
    for i in range(n):
        grey = photographs[i % 2]
        row, column = (rng.integers(0, extent - size) for extent in grey.shape)
        patch = grey[row : row + size, column : column + size]
        result[i, ..., 0] = patch.reshape(8, size // 8, 8, size // 8).mean((1, 3))
    return result


def main(out=pathlib.Path("docs/pictures"), steps=700):
    """Trains on digits and on patches; draws histograms, returns how well the bits tell one from the other.

    The number is the area under the ROC curve for "the other data have more bits": 1 is a perfect detector,
    0.5 is guessing, and less means that the other data are found more likely than the model's own.
    """
    train_digits, _, test_digits, _ = digits.load()
    train = {"digits": train_digits, "patches": patches(1437, seed=0)}
    test = {
        "digits": test_digits,
        "patches": patches(360, seed=1),
        "smooth": np.repeat(np.linspace(40, 215, 360), 64).reshape(360, 8, 8, 1).astype(np.uint8),
    }
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
    results = {}
    for ax, (own, images) in zip(axes, train.items(), strict=True):
        model = digits.train(images, steps=steps)
        bits = {name: model.bits_per_dim(x, seed=0).numpy() for name, x in test.items()}
        for name, values in bits.items():
            shown = np.clip(values, -1, 12)
            ax.hist(shown, bins=np.linspace(-1, 12, 60), alpha=0.6, label=f"{name}: {np.median(values):.2f}")
        for other in test:
            if other != own:
                truth = np.repeat([0, 1], [len(bits[own]), len(bits[other])])
                auc = roc_auc_score(truth, np.concatenate([bits[own], bits[other]]))
                results[f"{own} against {other}"] = float(auc)
                print(f"trained on {own}: AUC {auc:.3f} against {other}")
        ax.set(title=f"trained on {own}", xlabel="bits per dimension (12: or more)", yticks=[])
        ax.legend(title="median")
    figure.savefig(out / "out_of_distribution.png", dpi=110)
    plt.close(figure)
    return results


if __name__ == "__main__":
    main()
