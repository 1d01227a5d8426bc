"""Use of a GPU kernel where it gives what plain code gives, and of plain code elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from audio_neurons.running.runtime import tell

OTHER = "gives other numbers here; please report that"


def attempt(kernel: Callable[..., object], *given: object) -> str:
    """Call a kernel, and return why it failed; empty if it did not."""
    try:
        kernel(*given)
    except Exception as error:  # of whatever Triton, its compiler or the driver raise
        reason = str(error).strip().partition("\n")[0]
        return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return ""


class Trusted:
    """A kernel that is compared with plain code before it replaces it.

    Where the kernel fails, or gives other numbers, that is told once, and plain code does all further work.

    Parameters
    ----------
    name
        What the kernel does, for the message.
    kernel
        Called with the outputs, which it changes in place, and the inputs. It imports what it needs.
    """

    def __init__(self, name: str, kernel: Callable[..., object]):
        self._name, self._kernel = name, kernel
        self._compared: set[Hashable] = set()
        self._refused = False

    def __call__(
        self,
        variant: tuple[Hashable, ...],
        outputs: Sequence[Tensor],
        inputs: Sequence[object],
        plain: Callable[[], object],
    ) -> None:
        """Change ``outputs`` in place by the kernel, or as ``plain`` does.

        The first call of a ``variant`` (what the kernel is compiled for) on a device runs both.
        """
        key = (outputs[0].device, *variant)
        if self._refused:
            plain()
        elif key in self._compared:
            self._kernel(*outputs, *inputs)
        else:
            problem = self._compare(outputs, inputs, plain)
            if problem:
                self._refused = True
                tell(f"{self._name}: by slower code, with the same numbers ({problem})")
            else:
                self._compared.add(key)

    def _compare(
        self, outputs: Sequence[Tensor], inputs: Sequence[object], plain: Callable[[], object]
    ) -> str:
        """Do the work by plain code, and return what speaks against the kernel."""
        copies = [output.clone() for output in outputs]
        problem = attempt(self._kernel, *copies, *inputs)
        plain()
        if not problem and not all(map(torch.equal, copies, outputs)):
            problem = f"the GPU's kernel {OTHER}"
        return problem
