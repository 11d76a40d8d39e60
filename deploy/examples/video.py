"""Clips from prompts: digits that move, as animated pictures.

python deploy/examples/video.py
"""

import sys
import tempfile
from pathlib import Path

from genfarm import Farm

folder = Path(tempfile.mkdtemp(prefix="genfarm-video-"))
prompts = ["a handwritten seven moving left", "a three in blue ink growing"]
with Farm.local() as farm:
    for result in farm.submit_many("text-to-video", prompts, params={"fps": 8}).results():
        clip = result.video
        if clip is None:
            sys.exit(f"{result.params['prompt']!r} gave no clip")
        clip.save(folder / f"{result.index}.gif")
        print(f"{result.params['prompt']}: {len(clip.frames)} frames, {clip.fps} a second")
print(f"saved in {folder}")
