"""How CLIP's pixels are normalised, on the scale 0..1, where a model states nothing else."""

from __future__ import annotations

#: Mean of red, green and blue.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
#: Their deviation.
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
