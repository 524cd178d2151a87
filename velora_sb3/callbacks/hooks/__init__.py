"""``EpisodeCallback`` and ``LambdaCallback``: hooks for episodes, iterations and evaluations."""
