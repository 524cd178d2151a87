"""The state of gymnasium's MuJoCo environments; their own ``set_state`` sets only positions and velocities."""

from __future__ import annotations

from typing import Any

import numpy as np

# Attributes that reset() chooses: the goals of Reacher and Pusher.
GOALS = ("goal", "goal_pos", "cylinder_pos")


def is_mujoco(env: Any) -> bool:
    """Whether an environment is one of gymnasium's on MuJoCo."""
    module = type(env).__module__
    return module.startswith("gymnasium.envs.mujoco.") and hasattr(env, "model") and hasattr(env, "data")


def mujoco_state(env: Any) -> dict[str, Any]:
    """The full state of the simulation.

    MuJoCo computes the next step from its integration state. The rewards of some environments also read derived
    quantities, which the last step left one substep behind the positions, so these are stored too.
    """
    import mujoco

    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    integration = np.empty(mujoco.mj_stateSize(env.model, kind))
    mujoco.mj_getState(env.model, env.data, integration, kind)
    quantities = {name: array.copy() for name, array in _quantities(env.data).items()}
    goals = {name: vars(env)[name] for name in GOALS if name in vars(env)}
    return {"integration": integration, "quantities": quantities, "goals": goals}


def restore_mujoco(env: Any, state: dict[str, Any]) -> None:
    """Restore the state of the simulation."""
    import mujoco

    mujoco.mj_setState(env.model, env.data, state["integration"], mujoco.mjtState.mjSTATE_INTEGRATION)
    present = _quantities(env.data)
    for name, saved in state["quantities"].items():
        # Arrays of contacts vary in size; they are computed again.
        if name in present and present[name].shape == saved.shape:
            present[name][...] = saved
    for name in GOALS:
        if name in state["goals"]:
            setattr(env, name, state["goals"][name])


def _quantities(data: Any) -> dict[str, np.ndarray]:
    found = {name: getattr(data, name, None) for name in dir(data) if not name.startswith("_")}
    return {name: array for name, array in found.items() if isinstance(array, np.ndarray) and array.dtype == np.float64}
