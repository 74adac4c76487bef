"""Arrays of an npz file that somebody else may have made."""

import pathlib
import zipfile

import numpy as np

from experiments.cli import UsageError

# Bytes when unpacked; more are taken only of a file that is itself large.
MOST_BYTES = 2**30
_MOST_TIMES = 50


def read(path, names, optional=()) -> dict[str, np.ndarray]:
    """Returns the arrays of an npz file by name; nothing pickled is read.

    Args:
        path: of the file.
        names: the arrays that must be there.
        optional: those that are read where they are.

    Raises:
        UsageError: if the file isn't that, or would be unpacked to gigabytes that it doesn't look like.
    """
    path = pathlib.Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
        missing = [name for name in names if f"{name}.npy" not in sizes]
        if missing:
            there = ", ".join(name.removesuffix(".npy") for name in sizes) or "nothing"
            raise UsageError(f"{path} has no array {missing[0]!r}; it has: {there[:200]}.")
        wanted = [*names, *(name for name in optional if f"{name}.npy" in sizes)]
        unpacked, packed = sum(sizes[f"{name}.npy"] for name in wanted), path.stat().st_size
        if unpacked > MOST_BYTES and unpacked > _MOST_TIMES * packed:
            raise UsageError(
                f"{path}, {packed} bytes, would be {unpacked} bytes when unpacked: more than "
                f"{MOST_BYTES} and {_MOST_TIMES} times its size, so it isn't."
            )
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in wanted}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # NumPy returns what is no array as bytes.
                raise UsageError(f"{path}: {name} is no array.")
        return arrays
    except UsageError:
        raise
    # Of bytes that are no npz, zipfile, zlib and NumPy raise whatever they run into.
    except Exception as error:
        raise UsageError(f"{path} can't be read as an npz file: {error or type(error).__name__}") from error
