"""Fully sharded data parallel training, for networks that do not fit into the memory of one device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from src.callbacks.ema import EMA
from src.errors import UserError

_OPTIMIZERS: dict[type[Optimizer], str] = {
    torch.optim.Adafactor: "torch does not support its factors of gradients that are sharded",
    torch.optim.LBFGS: "it views all gradients as one vector",
}


class FSDP(DDPStrategy):
    """DDP in which each process keeps only its shard of the weights, the gradients and the optimizer state, by torch's
    `fully_shard` (FSDP2).

    Each module of a Sequential or ModuleList with at least `min_parameters` is gathered for its own forward and
    backward pass and freed after it; what remains of the network is gathered as one. The computation is that of DDP.
    Checkpoints are the same complete files as without it, which any number of processes, and other strategies,
    resume; the first process holds one in the memory of its host while it is saved.
    """

    def __init__(
        self,
        min_parameters: int = 1_000_000,
        process_group_backend: str | None = None,
        timeout: timedelta = timedelta(minutes=30),
    ) -> None:
        """
        Args:
            min_parameters: of a module that is gathered on its own; smaller ones take more time and less memory.
            process_group_backend: null is NCCL on GPUs and gloo on CPUs.
            timeout: after which a process that hangs ends the others.

        Raises:
            ValueError: if `min_parameters` is out of range.
        """
        if min_parameters < 1:
            raise ValueError(f"min_parameters {min_parameters} must be at least 1")
        super().__init__(process_group_backend=process_group_backend, timeout=timeout)
        self.min_parameters = min_parameters

    def setup(self, trainer: Trainer) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._refuse(trainer)
            super().setup(trainer)
        else:  # DDP's would broadcast the weights, which are already sharded in the test after training
            assert self.accelerator and self.model
            self.accelerator.setup(trainer)
            self.precision_plugin.convert_module(self.model)
            self.model_to_device()
            self.configure_ddp()
            self.setup_precision_plugin()

    def _refuse(self, trainer: Trainer) -> None:
        """Raises UserError for what fails, or computes something else, with a sharded network."""
        module = self.lightning_module
        assert module
        if any(True for _ in module.parameters(recurse=False)):
            raise UserError("FSDP shards the submodules of a LightningModule; move its own parameters into one")
        if getattr(module, "compile_net", False):
            raise UserError(
                "model.compile true has no effect on a network that FSDP shards; set it to false, or use DDP"
            )
        for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
            if isinstance(callback, WeightAveraging) and not isinstance(callback, EMA):
                raise UserError(f"{type(callback).__name__} cannot average sharded weights; use src.callbacks.EMA")

    def setup_optimizers(self, trainer: Trainer) -> None:
        super().setup_optimizers(trainer)
        for optimizer in self.optimizers:
            if reason := _OPTIMIZERS.get(type(optimizer)):
                raise UserError(
                    f"{type(optimizer).__name__} cannot train a network that FSDP shards: {reason}; use DDP"
                )

    def configure_ddp(self) -> None:
        """Shards the network instead of wrapping it."""
        assert self.lightning_module
        self.shard(self.lightning_module)

    def shard(self, module: nn.Module) -> None:
        """Shards the children of a LightningModule, or of a copy of it, in place."""
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        for child in module.children():
            if not isinstance(child, FSDPModule) and any(True for _ in child.parameters()):
                _shard(child, mesh, self.min_parameters)

    @contextmanager
    def unsharded(self, module: nn.Module) -> Iterator[None]:
        """Gives a module its complete weights, to be changed in the same way by all processes."""
        sharded = [own for own in module.modules() if isinstance(own, FSDPModule)]
        for own in sharded:
            own.unshard()
        yield
        weights = {name: value.detach().clone() for name, value in module.named_parameters()}
        for own in sharded:
            own.reshard()
        module.load_state_dict(weights, strict=False)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            params = [param for group in optimizer.param_groups for param in group["params"]]
            state = {
                index: {name: _shard_like(params[index], value) for name, value in values.items()}
                for index, values in saved["state"].items()
            }
            optimizer.load_state_dict({**saved, "state": state})

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Gathers one tensor after the other on all processes; the first keeps them."""

        def gather(sharded: DTensor) -> Tensor | None:
            complete = sharded.full_tensor()
            return complete.cpu() if self.is_global_zero else None

        super().save_checkpoint(apply_to_collection(checkpoint, DTensor, gather), filepath, storage_options)


def _shard(net: nn.Module, mesh: DeviceMesh, min_parameters: int) -> None:
    net.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]  # fully_shard supports no other
    for value in (*net.parameters(), *net.buffers()):
        distributed.broadcast(value.detach(), src=0)
    blocks = [
        block
        for module in net.modules()
        if isinstance(module, nn.Sequential | nn.ModuleList)
        for block in module
        if not isinstance(block, nn.ModuleList | nn.ModuleDict)  # they have no forward
    ]
    for module in (*reversed(blocks), net):  # from the leaves to the root
        own = sum(param.numel() for param in module.parameters() if not isinstance(param, DTensor))
        if module is net or own >= min_parameters:
            # The root, too: callbacks change weights after the forward pass of a validation.
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
    net.register_load_state_dict_pre_hook(_shard_state)


def _shard_state(net: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Lets a sharded network load complete weights."""
    for name, param in net.named_parameters():
        if prefix + name in state:
            state[prefix + name] = _shard_like(param, state[prefix + name])


def _shard_like(param: Tensor, value: Any) -> Any:
    """This process's shard of a complete tensor, if it has the shape of a sharded parameter."""
    complete = isinstance(value, Tensor) and not isinstance(value, DTensor)
    if isinstance(param, DTensor) and complete and value.shape == param.shape:
        value = value.to(param.device)
        return distribute_tensor(value, param.device_mesh, param.placements, src_data_rank=None)
    return value
