"""The original's hyperparameters as data: defaults, what each problem changes, and the paper's rows."""

# Every flag of the original's train.py that decides a result, with its default.
DEFAULTS = dict(
    problem="digits",
    category="",
    data_dir="",
    dal=1,
    n_train=50000,
    n_test=-1,
    n_batch_train=64,
    n_batch_test=50,
    n_batch_init=256,
    optimizer="adamax",
    lr=0.001,
    beta1=0.9,
    polyak_epochs=1.0,
    weight_decay=1.0,
    epochs=1000000,
    epochs_warmup=10.0,
    epochs_full_valid=50,
    gradient_checkpointing=1,
    image_size=-1,
    anchor_size=32,
    width=512,
    depth=32,
    weight_y=0.0,
    n_bits_x=8,
    n_levels=3,
    n_sample=1,
    epochs_full_sample=50,
    learntop=False,
    ycond=False,
    seed=0,
    flow_permutation=2,
    flow_coupling=0,
)

# This project's own, which decide a result too.
OWN_DEFAULTS = dict(
    dtype="float32",
    clip_norm=0.0,
    n_channels=-1,
)

ALL = -1  # --n_test: as many as there are.

# What a problem is, as in the original (digits, patches, folder: this project's own). With --ycond the n_y of
# folder is the number of its sub-folders.
PROBLEMS = {
    "digits": dict(image_size=8, n_channels=1, n_test=360, n_y=10),
    "patches": dict(image_size=32, n_channels=3, n_test=1000, n_y=1),
    "folder": dict(image_size=32, n_channels=3, n_test=ALL, n_y=1),
    "mnist": dict(image_size=32, n_channels=3, n_test=10000, n_y=10),
    "cifar10": dict(image_size=32, n_channels=3, n_test=10000, n_y=10),
    "imagenet-oord": dict(image_size=64, n_channels=3, n_test=50000, n_y=1000),
    "imagenet": dict(image_size=256, n_channels=3, n_test=50000, n_y=1000),
    "celeba": dict(image_size=256, n_channels=3, n_test=3000, n_y=1),
    "lsun_realnvp": dict(image_size=64, n_channels=3, n_test=300, n_y=1),
    "lsun": dict(image_size=256, n_channels=3, n_test=300, n_y=1),
}

# Those whose images can be gray, with --n_channels 1: what they are read from is the user's.
ANY_CHANNELS = ("folder", "imagenet", "celeba", "lsun_realnvp", "lsun")

# The embedded run: where a problem's defaults aren't the original's.
PROBLEM_DEFAULTS = {
    "digits": dict(
        dal=0,
        n_train=1437,
        anchor_size=8,
        n_batch_train=64,
        n_batch_init=1437,
        n_levels=2,
        depth=8,
        width=64,
        n_bits_x=4,
        learntop=True,
        ycond=True,
        weight_y=0.01,
        flow_coupling=1,
        epochs=30,
        epochs_warmup=2.0,
        epochs_full_valid=5,
    ),
    "patches": dict(n_train=10000, learntop=True, flow_coupling=1),
}

_COMMON = dict(flow_permutation=2, seed=0, learntop=True, lr=0.001)
_QUANTITATIVE = _COMMON | dict(flow_coupling=1, n_bits_x=8)
_QUALITATIVE = _COMMON | dict(flow_coupling=0, n_bits_x=5)
_CONDITIONAL = _QUALITATIVE | dict(image_size=32, n_levels=3, ycond=True, weight_y=0.01)
_LSUN64 = _QUANTITATIVE | dict(problem="lsun_realnvp", image_size=64, n_levels=3, depth=48)
_LSUN_HIGH = _QUALITATIVE | dict(problem="lsun", n_levels=5, depth=64)
_CIFAR10 = dict(problem="cifar10", image_size=32, n_levels=3, depth=32)

# A row: the flags of the original's command, and the paper's bits per dimension (Table 2) if it has one.
ROWS = {
    "cifar10": dict(flags=_QUANTITATIVE | _CIFAR10, bits_per_dim=3.35),
    "imagenet32": dict(
        flags=_QUANTITATIVE | dict(problem="imagenet-oord", image_size=32, n_levels=3, depth=48),
        bits_per_dim=4.09,
    ),
    "imagenet64": dict(
        flags=_QUANTITATIVE | dict(problem="imagenet-oord", image_size=64, n_levels=4, depth=48),
        bits_per_dim=3.81,
    ),
    "lsun_bedroom": dict(flags=_LSUN64 | dict(category="bedroom"), bits_per_dim=2.38),
    "lsun_tower": dict(flags=_LSUN64 | dict(category="tower"), bits_per_dim=2.46),
    "lsun_church_outdoor": dict(flags=_LSUN64 | dict(category="church_outdoor"), bits_per_dim=2.67),
    "celeba256": dict(
        flags=_QUALITATIVE | dict(problem="celeba", image_size=256, n_levels=6, depth=32),
        bits_per_dim=None,
    ),
    "lsun96_bedroom": dict(flags=_LSUN_HIGH | dict(category="bedroom", image_size=96), bits_per_dim=None),
    "lsun96_church_outdoor": dict(
        flags=_LSUN_HIGH | dict(category="church_outdoor", image_size=96), bits_per_dim=None
    ),
    "lsun96_tower": dict(flags=_LSUN_HIGH | dict(category="tower", image_size=96), bits_per_dim=None),
    "lsun128_bedroom": dict(flags=_LSUN_HIGH | dict(category="bedroom", image_size=128), bits_per_dim=None),
    "lsun128_church_outdoor": dict(
        flags=_LSUN_HIGH | dict(category="church_outdoor", image_size=128), bits_per_dim=None
    ),
    "lsun128_tower": dict(flags=_LSUN_HIGH | dict(category="tower", image_size=128), bits_per_dim=None),
    "cifar10_conditional": dict(flags=_CONDITIONAL | dict(problem="cifar10", depth=32), bits_per_dim=None),
    "imagenet32_conditional": dict(
        flags=_CONDITIONAL | dict(problem="imagenet", depth=48), bits_per_dim=None
    ),
    # Figure 3; the original's command leaves n_bits_x at 8.
    **{
        f"ablation_{permutation}_{coupling}": dict(
            flags=_COMMON | _CIFAR10 | dict(flow_permutation=p, flow_coupling=c), bits_per_dim=None
        )
        for p, permutation in enumerate(("reverse", "shuffle", "invconv"))
        for c, coupling in enumerate(("additive", "affine"))
    },
}
