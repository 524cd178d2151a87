"""The mixin that makes a policy class of SB3 a liquid one."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import torch
from stable_baselines3.common.policies import BasePolicy

from velora_sb3._validation import check_integer, check_number, suggestion
from velora_sb3.cells import LiquidCell
from velora_sb3.memory import ExtractorConfig, LiquidExtractor
from velora_sb3.memory.actions import check_action_start
from velora_sb3.memory.frames import TIMESPANS_KEY
from velora_sb3.policies.algorithm_check import building_algorithm, check_action_range, check_algorithm, check_replay
from velora_sb3.policies.normalization_check import check_normalization

# The settings that a policy takes as keyword arguments and passes on to its LiquidExtractor.
LIQUID_ARGUMENTS = tuple(field.name for field in fields(ExtractorConfig))

# The setting that scales updates of the cells' weights: it belongs to the policy, which has the optimizers.
MULTIPLIER = "cell_lr_multiplier"

# SB3's own arguments that count networks or outputs.
COUNTS = {"n_critics", "n_quantiles"}


class LiquidPolicyMixin:
    """A mixin for SB3's policy classes that replaces the features extractor.

    Actors, critics, target networks, heads, distributions and saving stay SB3's.
    """

    defaults: dict[str, Any] = {"net_arch": [64], MULTIPLIER: 1.0}
    liquid_arguments: tuple[str, ...] = LIQUID_ARGUMENTS
    reactive_initialization: str | None = None  # of a cell that takes a single step

    def __init__(self, observation_space: Any, action_space: Any, *args: Any, **kwargs: Any) -> None:
        algorithm = building_algorithm(self)  # type: ignore[arg-type]
        if algorithm is not None:
            check_algorithm(algorithm, bool(kwargs.get("recurrent", False)))
            check_replay(algorithm, observation_space)
            check_action_range(algorithm, action_space)
        check_action_start(action_space)
        accepted = self._accepted_arguments()
        choices = sorted(accepted - {"lr_schedule", "recurrent"})  # which the algorithm passes
        for name in kwargs:
            if name not in accepted:
                hint = suggestion(name, choices)
                raise TypeError(f"{type(self).__name__} has no argument {name!r}; {hint}it takes {', '.join(choices)}")
        # None leaves one of SB3's arguments at its default, but is a value of a liquid one: no encoder, for example.
        chosen = {n: value for n, value in kwargs.items() if value is not None or n in self.liquid_arguments}
        for name in COUNTS & set(chosen):  # with 0 SB3 fails in training, or learns NaN
            check_integer(name, chosen[name])
        self._chosen = set(chosen)
        self._given = {**self.defaults, **chosen}
        if algorithm is not None:
            extractor_kwargs = self._given.get("features_extractor_kwargs", {})
            settings = {"timespans_key": TIMESPANS_KEY, **extractor_kwargs, **self._given}
            check_normalization(algorithm, settings["timespans_key"])
        self._multiplier = check_number(MULTIPLIER, self._given.get(MULTIPLIER, 1.0), above=0)
        arguments = self._to_sb3({name: value for name, value in self._given.items() if name != MULTIPLIER})
        super().__init__(observation_space, action_space, *args, **arguments)  # type: ignore[call-arg]
        self._finish_optimizers()

    def _finish_optimizers(self) -> None:
        """What changes optimizers that SB3 has built."""
        use_fused_adam(self)  # type: ignore[arg-type]
        scale_cell_updates(self, self._multiplier)  # type: ignore[arg-type]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy or an unpickled policy: PyTorch copies an optimizer without its hooks."""
        super().__setstate__(state)  # type: ignore[misc]
        scale_cell_updates(self, self._multiplier)  # type: ignore[arg-type]

    @classmethod
    def _accepted_arguments(cls) -> set[str]:
        """Keyword arguments of the SB3 policy class behind the mixin, and the mixin's own."""
        base = next(parent for parent in cls.__mro__ if not issubclass(parent, LiquidPolicyMixin))
        of_sb3 = set(inspect.signature(base.__init__).parameters) - {"self", "observation_space", "action_space"}
        return {*of_sb3, *cls.liquid_arguments, MULTIPLIER}

    def _to_sb3(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments of the SB3 class: those of the liquid network move to the features extractor."""
        extractor_class = arguments.pop("features_extractor_class", LiquidExtractor)
        extractor_kwargs = dict(arguments.pop("features_extractor_kwargs", {}))
        if not issubclass(extractor_class, LiquidExtractor):  # a user's class encodes the cell's input
            extractor_kwargs = {"encoder_class": extractor_class, "encoder_kwargs": extractor_kwargs}
            extractor_class = LiquidExtractor
        pass_on_to_encoder(extractor_class, extractor_kwargs)
        if self.reactive_initialization is not None and takes(extractor_class, "reactive_initialization"):
            extractor_kwargs.setdefault("reactive_initialization", self.reactive_initialization)
        for name in LIQUID_ARGUMENTS:
            if name in arguments:
                value = arguments.pop(name)
                if name not in extractor_kwargs or name in self._chosen:
                    extractor_kwargs[name] = value
        if arguments.get("normalize_images") is False:
            extractor_kwargs["normalized_image"] = True
        return {
            **arguments,
            "features_extractor_class": extractor_class,
            "features_extractor_kwargs": extractor_kwargs,
        }

    def _get_constructor_parameters(self) -> dict[str, Any]:
        """What ``policy.load`` needs; SB3's list lacks some (a separate features extractor, LSTM sizes)."""
        parameters: dict[str, Any] = super()._get_constructor_parameters()  # type: ignore[misc]
        return {**self._given, **parameters}


class LiquidOnPolicyMixin(LiquidPolicyMixin):
    """The mixin for on-policy algorithms without memory; docs/decisions.md has the measurements behind both values."""

    defaults = {**LiquidPolicyMixin.defaults, MULTIPLIER: 3.0}
    reactive_initialization = "orthogonal_inputs"


def pass_on_to_encoder(extractor_class: type, extractor_kwargs: dict[str, Any]) -> None:
    """Move arguments that the extractor does not take, such as NatureCNN's ``features_dim``, to its encoder."""
    has_own_constructor = extractor_class.__init__ is not LiquidExtractor.__init__  # type: ignore[misc]
    names = [
        name
        for name in extractor_kwargs
        if name not in LIQUID_ARGUMENTS and not takes(extractor_class, name, has_own_constructor)
    ]
    unknown = {name: extractor_kwargs.pop(name) for name in names}
    if unknown:
        extractor_kwargs["encoder_kwargs"] = {**(extractor_kwargs.get("encoder_kwargs") or {}), **unknown}


def takes(extractor_class: type, name: str, any_name: bool = True) -> bool:
    """Whether a class takes an argument of this name, or any (``**kwargs``)."""
    parameters = inspect.signature(extractor_class).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return name in parameters or (any_name and takes_any)


def use_fused_adam(policy: BasePolicy) -> None:
    """Switch every Adam optimizer of a policy to its fused kernel: the same numbers, much less overhead.

    This happens after construction, because SB3 chooses some of Adam's settings only where the user passes none.

    Args:
        policy: A policy whose optimizers exist.
    """
    for module in policy.modules():
        optimizer: torch.optim.Optimizer | None = getattr(module, "optimizer", None)
        if optimizer is not None and type(optimizer) in (torch.optim.Adam, torch.optim.AdamW):
            for group in optimizer.param_groups:
                if group.get("fused") is None and not group.get("foreach") and not group.get("capturable"):
                    group["fused"] = True


def scale_cell_updates(policy: BasePolicy, multiplier: float) -> None:
    """Multiply every update of the cells' weights: with Adam the same as a learning rate of their own.

    A parameter group of their own would not do: SB3 sets one learning rate for all groups before each update.

    Args:
        policy: A policy whose optimizers exist.
        multiplier: The factor.
    """
    if multiplier == 1:
        return
    cells = [module for module in policy.modules() if isinstance(module, LiquidCell)]
    own = {id(parameter) for cell in cells for parameter in cell.parameters()}
    for module in policy.modules():
        optimizer: torch.optim.Optimizer | None = getattr(module, "optimizer", None)
        if optimizer is not None:
            weights = [one for group in optimizer.param_groups for one in group["params"] if id(one) in own]
            if weights:
                _scale_updates(optimizer, weights, multiplier)


def _scale_updates(optimizer: torch.optim.Optimizer, weights: list[torch.Tensor], multiplier: float) -> None:
    before: list[torch.Tensor] = []

    def remember(*_: Any) -> None:
        before[:] = [weight.detach().clone() for weight in weights]

    @torch.no_grad()
    def scale(*_: Any) -> None:
        torch._foreach_lerp_(weights, before, 1 - multiplier)

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(scale)
