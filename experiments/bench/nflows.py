"""nflows (PyTorch): Glow put together from its transforms."""

import torch
from nflows import distributions, flows, transforms
from torch import nn

from experiments import bench


class _Network(nn.Sequential):
    def __init__(self, in_channels, out_channels, width):
        super().__init__(
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, out_channels, 3, padding=1),
        )
        nn.init.zeros_(self[-1].weight)
        nn.init.zeros_(self[-1].bias)

    def forward(self, x, context=None):  # nflows passes a context.
        return super().forward(x)


def _step(channels, width):
    mask = torch.ones(channels)
    mask[: channels // 2] = -1
    network = lambda in_channels, out_channels: _Network(in_channels, out_channels, width)
    return [
        transforms.ActNorm(channels),
        transforms.OneByOneConvolution(channels),
        transforms.AffineCouplingTransform(mask, network),
    ]


def build(spec) -> bench.Built:
    """Returns the task, with torch's Adam."""
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(0)
    multi_scale = transforms.MultiscaleCompositeTransform(bench.LEVELS)
    for size, channels in bench.level_shapes():
        steps = [t for _ in range(spec["depth"]) for t in _step(channels, spec["width"])]
        level = transforms.CompositeTransform([transforms.SqueezeTransform(), *steps])
        multi_scale.add_transform(level, (channels, size, size))
    model = flows.Flow(multi_scale, distributions.StandardNormal([bench.CHANNELS * bench.SIZE**2]))
    x = torch.from_numpy(bench.dequantized(spec["batch"])).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        model.log_prob(x)  # Data-dependent initialisation.
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)

    def train():
        optimizer.zero_grad()
        loss = -model.log_prob(x).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    tasks = dict(
        train=train,
        log_prob=torch.no_grad()(lambda: model.log_prob(x).numpy()),
        sample=torch.no_grad()(lambda: model.sample(spec["batch"]).numpy()),
    )
    n_parameters = sum(p.numel() for p in model.parameters())
    return bench.Built(tasks[spec["task"]], n_parameters, f"torch {torch.__version__}")
