"""Training on torch's `meta` device, which stands in for a GPU: what is copied to it, and what waits for it.

Tensors of `meta` have no values, but a device of their own: an operation on a tensor of the CPU and one of `meta` fails
as it does on a GPU, and a tensor that is created from Python numbers, moved or read is seen by the dispatcher.
"""

import traceback
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from src.classifier import Classifier
from src.data import ImageDataModule
from tests import toys

aten = torch.ops.aten
META = torch.device("meta")
# The size of their result, or a Python number, depends on values: a GPU has to compute them first.
WAITING = {aten._local_scalar_dense, aten.equal, aten.nonzero, aten.masked_select, aten.bincount, aten._unique2}


class MetaAccelerator(CPUAccelerator):
    """Lets Lightning train on `meta`."""

    def setup_device(self, device: torch.device) -> None: ...


class DeviceTraffic(TorchDispatchMode):
    """Records copies to and from `meta`, and operations that wait for it, while `recording`.

    Attributes:
        steps: how many are recorded.
        copies: operations that copy to `meta`, each with the line of this project that calls it.
        waits: operations that wait until `meta` has computed; a copy from `meta` and a blocking one to it do, too.
        created: tensors that are created on the CPU.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.recording = False
        self.copies: list[str] = []
        self.waits: list[str] = []
        self.created: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        inputs = {leaf.device for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        packet = func.overloadpacket
        if META in inputs and _waits(packet, args):
            self._record(self.waits, func)
            return _with_values(func, args)
        if packet is aten._to_copy and inputs == {META} and kwargs.get("device", META) != META:
            self._record(self.waits, func)
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype", args[0].dtype))
        if packet is aten.copy_ and len(inputs) == 2:
            self._record(self.waits, func)
            if args[0].device == META:
                self._record(self.copies, func)
            return args[0]
        output = func(*args, **kwargs)
        # `lift_fresh` is what torch.tensor and new_tensor end with: they copy numbers of Python, and wait.
        from_numbers = packet is aten.lift_fresh
        if (from_numbers or (packet is aten._to_copy and META not in inputs)) and output.device == META:
            self._record(self.copies, func)
            if from_numbers or not kwargs.get("non_blocking"):
                self._record(self.waits, func)
        if not inputs and isinstance(output, Tensor) and output.device.type == "cpu":
            self._record(self.created, func)
        return output

    def _record(self, records: list[str], func: Any) -> None:
        if self.recording:
            frames = traceback.extract_stack()[:-2]
            names = [f"{Path(one.filename).name}:{one.lineno}" for one in frames if "/torch/" not in one.filename]
            records.append(f"{func} from {' < '.join(reversed(names[-3:]))}")


def _waits(packet: Any, args: Any) -> bool:
    by_mask = packet in (aten.index, aten.index_put_) and any(
        isinstance(leaf, Tensor) and leaf.dtype == torch.bool for leaf in tree_leaves(args[1])
    )
    return packet in WAITING or by_mask


def _with_values(func: Any, args: Any) -> Any:
    """The result for values that `meta` does not have: ones, and false for comparisons, as with zero."""
    result = func(
        *tree_map_only(Tensor, lambda one: torch.full(one.shape, one.dtype != torch.bool).to(one.dtype), args)
    )
    return result.to(META) if isinstance(result, Tensor) else result


class RecordSteps(Callback):
    """Records after step `first` up to the end of step `last` of an epoch: from the loader to the optimizer, with all
    callbacks."""

    def __init__(self, traffic: DeviceTraffic, first: int, last: int) -> None:
        self.traffic, self.first, self.last = traffic, first, last

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.traffic.recording = self.first == 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.traffic.recording = self.first <= batch_idx + 1 < self.last


def trainer_on_meta(directory: Path, **kwargs: Any) -> toys.Trainer:
    strategy = SingleDeviceStrategy(META, MetaAccelerator())
    return toys.trainer(directory, accelerator="auto", strategy=strategy, enable_model_summary=False, **kwargs)


def fit_on_meta(
    directory: Path, model: Classifier, data: ImageDataModule, first: int = 2, last: int = 4, **kwargs: Any
) -> DeviceTraffic:
    """Trains on `meta`, and returns the traffic of the steps after `first` up to `last`; `kwargs` are the trainer's."""
    traffic = DeviceTraffic(steps=last - first)
    callbacks = [*kwargs.pop("callbacks", []), RecordSteps(traffic, first, last)]
    fitted = trainer_on_meta(directory, callbacks=callbacks, limit_train_batches=last, **kwargs)
    with traffic:
        fitted.fit(model, datamodule=data, test_after_fit=False)
    return traffic
