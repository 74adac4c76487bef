"""normflows (PyTorch): its `MultiscaleFlow` of `GlowBlock`s."""

import normflows as nf
import torch

from experiments import bench


def build(spec) -> bench.Built:
    """Returns the task, with torch's Adam."""
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(0)
    image_size = spec.get("size", bench.SIZE)
    bases, flows, merges = [], [], []
    for level in reversed(range(bench.LEVELS)):  # From the deepest to the image.
        size, channels = bench.level_shapes(image_size)[level]
        blocks = [
            nf.flows.GlowBlock(channels, spec["width"], split_mode="channel", scale=True)
            for _ in range(spec["depth"])
        ]
        flows.append([*blocks, nf.flows.Squeeze()])
        last = level == bench.LEVELS - 1
        if not last:
            merges.append(nf.flows.Merge())
        bases.append(nf.distributions.GlowBase((channels if last else channels // 2, size, size)))
    model = nf.MultiscaleFlow(bases, flows, merges, class_cond=False)
    x = torch.from_numpy(bench.dequantized(spec["batch"], image_size)).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        model.log_prob(x, None)  # Data-dependent initialisation.
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)

    def train():
        optimizer.zero_grad()
        loss = -model.log_prob(x, None).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    tasks = dict(
        train=train,
        log_prob=torch.no_grad()(lambda: model.log_prob(x, None).numpy()),
        sample=torch.no_grad()(lambda: model.sample(spec["batch"])[0].numpy()),
    )
    n_parameters = sum(p.numel() for p in model.parameters())
    return bench.Built(tasks[spec["task"]], n_parameters, f"torch {torch.__version__}")
