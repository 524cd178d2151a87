"""Names of files and runs: the environment's, and numbers in short."""

from __future__ import annotations

import re

from stable_baselines3.common.vec_env import VecEnv


def env_name(env: VecEnv) -> str:
    """What an environment is called: its spec's name, or its class's if it has no spec.

    Args:
        env: The vectorized environments; the first is asked.

    Returns:
        The name without namespace and version, such as ``Pendulum``; fit for a file's name.
    """
    spec = env.get_attr("spec", 0)[0]
    if spec is not None:
        return _for_a_file(spec.name)
    # Wrappers print what they wrap, also in another process, from where a class could not always be sent.
    printed = str(env.env_method("__str__", indices=0)[0])
    innermost = re.findall(r"<(\w+) instance>", printed)
    return innermost[-1] if innermost else _for_a_file(printed)


def short_number(number: int) -> str:
    """A number in few characters: 100, 1.5K, 2M.

    Args:
        number: A whole number, at least 0.

    Returns:
        The number, with up to two decimals of thousands, millions or billions.
    """
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= size:
            return f"{number / size:.2f}".rstrip("0").rstrip(".") + letter
    return str(number)


def _for_a_file(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_") or "Env"
