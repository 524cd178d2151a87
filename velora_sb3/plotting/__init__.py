"""Pictures of runs: learning curves and videos. What they need is imported when they are made."""
