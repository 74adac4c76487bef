"""Records written in shards, of which each is whole or not there; a later call writes what is missing."""

import concurrent.futures
import functools
import itertools
import json
import math
import os
import pathlib

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from experiments.cli import UsageError
from experiments.data import tfrecords
from experiments.data.records_sources import warn


def write(source, folder: pathlib.Path, plan: dict, skip_corrupt: bool = False) -> int:
    """Writes the shards that are missing.

    Args:
        source: has a length and `examples(first, last)`.
        folder: of the split.
        plan: what is written, which a later call must repeat to go on; has image_size and shard_size, and
            gets `images`, how many there are.
        skip_corrupt: whether images that can't be used are left out, with a warning.

    Returns:
        How many images are there, all together, but for those that this call left out.

    Raises:
        UsageError: if the folder holds other records, or all of these already; or an image can't be used.
    """
    n, size = len(source), plan["shard_size"]
    n_shards = math.ceil(n / size)
    # The name in the original's files is the split's.
    file_name = lambda shard: tfrecords.file_name(folder.name, plan["image_size"], shard, n_shards)
    paths = [folder / file_name(shard) for shard in range(n_shards)]
    _check_plan(folder, plan | dict(images=n), paths)
    written = [path.exists() for path in paths]
    counts = [min(size, n - shard * size) for shard in range(n_shards)]
    left_out, make = 0, functools.partial(_made, skip_corrupt=skip_corrupt)
    bar = tqdm(
        total=n, initial=sum(itertools.compress(counts, written)), desc=str(folder), unit="img", leave=False
    )
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool, bar:
        for shard in np.flatnonzero(~np.array(written)):
            part = paths[shard].with_suffix(".part")
            with tf.io.TFRecordWriter(str(part)) as writer:
                examples = source.examples(shard * size, shard * size + counts[shard])
                # A bounded number at a time, so that memory doesn't grow with the shard.
                while some := list(itertools.islice(examples, 256)):
                    for example in pool.map(make, some):
                        bar.update()
                        if example is None:
                            left_out += 1
                        else:
                            writer.write(example)
            part.replace(paths[shard])
    return n - left_out


def _made(make, skip_corrupt):
    """Returns an example; with `skip_corrupt` None for an image that can't be used."""
    try:
        return make()
    except UsageError as error:
        if not skip_corrupt:
            raise
        warn(error)
        return None


def _check_plan(folder, plan, paths):
    file = folder / f"{tfrecords.resolution(plan['image_size'])}.json"
    others = sorted(set(folder.glob(f"*-{file.stem}-s-*.tfrecords")) - set(paths))
    if file.exists():
        old = _read_plan(file)
        # Plans of earlier versions have no `folder`.
        if old != {key: value for key, value in plan.items() if key in old or key != "folder"}:
            raise UsageError(
                f"{folder} holds records of {old}, not of {plan}. Give another --data_dir; nothing is "
                "overwritten."
            )
        if all(path.exists() for path in paths):
            raise UsageError(f"{folder} holds all {plan['images']} of these images already.")
    elif others or any(path.exists() for path in paths):
        raise UsageError(f"{folder} holds other records. Give another --data_dir; nothing is overwritten.")
    folder.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(plan, indent=2) + "\n")
    new.replace(file)


def _read_plan(file):
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(plan, dict):
            raise ValueError(f"it holds no JSON object, but {type(plan).__name__}")
        return plan
    except (ValueError, RecursionError) as error:  # No UTF-8 and no JSON are ValueErrors.
        raise UsageError(
            f"{file}, which says what the records beside it are, is damaged: {error}. Put back a copy, or "
            "give another --data_dir."
        ) from error
