"""Videos: writing, reading, and recording an episode. They need the extra ``video``."""

from velora_sb3.video.reader import read_video, still_frames
from velora_sb3.video.record_episode import record_episode
from velora_sb3.video.writer import VideoWriter

__all__ = ["VideoWriter", "read_video", "record_episode", "still_frames"]
