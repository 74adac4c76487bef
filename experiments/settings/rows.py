"""The paper's rows: the commands of the original's README, and the paper's numbers."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """A model of the paper.

    Attributes:
        flags: of the original's command; world_size is the N of its `mpiexec -n N`.
        bits_per_dim: the paper's, Table 2; None where it has none.
    """

    flags: dict
    bits_per_dim: float | None = None


_COMMON = dict(flow_permutation=2, seed=0, learntop=True, lr=0.001, world_size=8)
_QUANTITATIVE = _COMMON | dict(flow_coupling=1, n_bits_x=8)
_QUALITATIVE = _COMMON | dict(flow_coupling=0, n_bits_x=5)
_CONDITIONAL = _QUALITATIVE | dict(image_size=32, n_levels=3, ycond=True, weight_y=0.01)
_LSUN64 = _QUANTITATIVE | dict(problem="lsun_realnvp", image_size=64, n_levels=3, depth=48)
_LSUN_HIGH = _QUALITATIVE | dict(problem="lsun", n_levels=5, depth=64, world_size=40)
_CIFAR10 = dict(problem="cifar10", image_size=32, n_levels=3, depth=32)

# Figure 3's. There may be others by now.
ABLATED_PERMUTATIONS = ("reverse", "shuffle", "invconv")
ABLATED_COUPLINGS = ("additive", "affine")

ROWS = {
    "cifar10": Row(_QUANTITATIVE | _CIFAR10, bits_per_dim=3.35),
    "imagenet32": Row(
        _QUANTITATIVE | dict(problem="imagenet-oord", image_size=32, n_levels=3, depth=48),
        bits_per_dim=4.09,
    ),
    "imagenet64": Row(
        _QUANTITATIVE | dict(problem="imagenet-oord", image_size=64, n_levels=4, depth=48),
        bits_per_dim=3.81,
    ),
    "lsun_bedroom": Row(_LSUN64 | dict(category="bedroom"), bits_per_dim=2.38),
    "lsun_tower": Row(_LSUN64 | dict(category="tower"), bits_per_dim=2.46),
    "lsun_church_outdoor": Row(_LSUN64 | dict(category="church_outdoor"), bits_per_dim=2.67),
    "celeba256": Row(
        _QUALITATIVE | dict(problem="celeba", image_size=256, n_levels=6, depth=32, world_size=40),
    ),
    "lsun96_bedroom": Row(_LSUN_HIGH | dict(category="bedroom", image_size=96)),
    "lsun96_church_outdoor": Row(_LSUN_HIGH | dict(category="church_outdoor", image_size=96)),
    "lsun96_tower": Row(_LSUN_HIGH | dict(category="tower", image_size=96)),
    "lsun128_bedroom": Row(_LSUN_HIGH | dict(category="bedroom", image_size=128)),
    "lsun128_church_outdoor": Row(_LSUN_HIGH | dict(category="church_outdoor", image_size=128)),
    "lsun128_tower": Row(_LSUN_HIGH | dict(category="tower", image_size=128)),
    "cifar10_conditional": Row(_CONDITIONAL | dict(problem="cifar10", depth=32)),
    "imagenet32_conditional": Row(_CONDITIONAL | dict(problem="imagenet", depth=48)),
    # Figure 3; the original's command leaves n_bits_x at 8.
    **{
        f"ablation_{permutation}_{coupling}": Row(
            _COMMON | _CIFAR10 | dict(flow_permutation=p, flow_coupling=c)
        )
        for p, permutation in enumerate(ABLATED_PERMUTATIONS)
        for c, coupling in enumerate(ABLATED_COUPLINGS)
    },
}
