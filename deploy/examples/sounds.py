"""Sounds from prompts: one piece of music on two instruments, and a sentence.

    python deploy/examples/sounds.py

The starter model of speech has random weights: what it says is noise. Name a trained
one of the registry, such as `mms-tts-eng`, and the same lines speak.
"""

import sys
import tempfile
from pathlib import Path

from genfarm import Farm

folder = Path(tempfile.mkdtemp(prefix="genfarm-sounds-"))
pieces = [f"a slow rising scale of {timbre} tones" for timbre in ("flute", "organ")]
with Farm.local() as farm:
    music = farm.submit_many("text-to-audio", pieces, model="music", params={"seconds": 2.0})
    speech = farm.submit_many("text-to-audio", ["hello"], model="speech", params={"voice": 1})
    for job in (music, speech):
        for result in job.results():
            sound = result.audio
            if sound is None:
                sys.exit(f"{result.params['prompt']!r} gave no sound")
            sound.save(folder / f"{job.model}-{result.index}.wav")
            print(f"{result.params['prompt']}: {sound.seconds:.2f} s at {sound.rate} Hz")
print(f"saved in {folder}")
