"""What branches are called, wherever a person reads it."""

from collections.abc import Sequence


def kernel_name(kernel: float | tuple[int, ...], axes: int = 2) -> str:
    """Name an effective kernel, such as ``5×5``; of several numbers, height first.

    One number is that of each of so many axes: 1 of a sound, 3 of a volume.
    """
    sides = kernel if isinstance(kernel, tuple) else (kernel,) * axes
    return "×".join(f"{side:.0f}" for side in sides)


def branch_names(kernels: Sequence[float | tuple[int, ...] | None], axes: int = 2) -> list[str]:
    """Name branches by their kernels, with the index where a kernel is not one branch's alone.

    Parameters
    ----------
    kernels
        Of each branch; None or NaN where it is unknown.
    axes
        Along how many axes a kernel of one number runs.
    """
    known = [None if kernel != kernel else kernel for kernel in kernels]
    return [
        f"branch {index}" if kernel is None
        else kernel_name(kernel, axes) if known.count(kernel) == 1
        else f"branch {index} ({kernel_name(kernel, axes)})"
        for index, kernel in enumerate(known)
    ]  # fmt: skip
