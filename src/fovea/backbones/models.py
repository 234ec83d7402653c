"""The models that ``--models`` names, each loaded once, when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from fovea.backbones.sources import resolve_models
from fovea.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from fovea.backbones.alpha_clip import AlphaEncoder
    from fovea.backbones.captioner import AlphaCaptioner
    from fovea.backbones.clip import ClipEncoder
    from fovea.backbones.diffusion import StableDiffusion
    from fovea.backbones.host import Host
    from fovea.backbones.matching import MatchingModel
    from fovea.backbones.region_spot import RegionSpotModel
    from fovea.backbones.sam import SamSegmenter
    from fovea.proposers.mask2former import Mask2Former
    from fovea.tellers.hosted import HostTeller

_DTYPES = ("float32", "bfloat16", "float16")


class Models:
    """Models on a device. Several grounders and threads may share them.

    Args:
        models: ``mini`` (embedded), ``photo``, ``photo-small``, or directories and hub names of a CLIP and a SAM.
        device: a torch device; ``auto`` takes a GPU where there is one.
        dtype: ``float32``, ``bfloat16`` or ``float16``.

    Raises:
        CheckpointError: nothing is named, or there is no such device or type.
    """

    def __init__(self, models: str = "mini", *, device: str = "auto", dtype: str = "float32") -> None:
        self.sources = resolve_models(models)
        self.device, self.dtype = _device(device), _dtype(dtype)
        self._loaded: dict[Hashable, Any] = {}
        self._loading = threading.RLock()

    @property
    def name(self) -> str:
        """How results name them together."""
        return self.sources.name

    @property
    def clips(self) -> tuple[ClipEncoder, ...]:
        """The CLIPs, whose scores are summed."""
        from fovea.backbones.clip import load_clip

        return tuple(
            self._once(source, lambda source=source: load_clip(source, self.device, self.dtype))  # type: ignore[misc]
            for source in self.sources.clips
        )

    @property
    def alphas(self) -> tuple[AlphaEncoder, ...]:
        """The CLIPs with an alpha plane, whose scores are summed.

        Raises:
            CheckpointError: none is named, or one cannot be loaded.
        """
        from fovea.backbones.alpha_clip import load_alpha_clip

        if not self.sources.alphas:
            raise CheckpointError(
                f"the models {self.name!r} hold no CLIP with an alpha plane",
                "name one with --models: a directory that fovea convert or fovea train has written",
            )
        return tuple(
            self._once(("alpha", source), lambda source=source: load_alpha_clip(source, self.device, self.dtype))  # type: ignore[misc]
            for source in self.sources.alphas
        )

    @property
    def segmenter(self) -> SamSegmenter:
        """The segmenter."""
        from fovea.backbones.sam import load_sam

        return self._once(self.sources.sam, lambda: load_sam(self.sources.sam, self.device, self.dtype))

    @property
    def matcher(self) -> MatchingModel:
        """The matching model.

        Raises:
            CheckpointError: none is named, or it cannot be loaded.
        """
        from fovea.backbones.matching_loading import load_matching

        source = self.sources.matcher
        if not source:
            raise CheckpointError(
                f"the models {self.name!r} hold no matching model", "name an ALBEF or a BLIP with --models"
            )
        return self._once(("matcher", source), lambda: load_matching(source, self.device, self.dtype))

    @property
    def mask2former(self) -> Mask2Former:
        """What proposes masks where SAM's grid is not to."""
        from fovea.proposers.mask2former import load_mask2former

        source = self.sources.mask2former
        return self._once(("mask2former", source), lambda: load_mask2former(source, self.device, self.dtype))

    @property
    def captioner(self) -> AlphaCaptioner:
        """What writes captions."""
        return self._captioner()

    @property
    def region_captioner(self) -> AlphaCaptioner:
        """What describes regions: the captioner, through the picture tower of an Alpha-CLIP where one is named.

        Raises:
            CheckpointError: it cannot be loaded, or that CLIP is another one than its own.
        """
        # The embedded ones come without being named.
        return self._captioner(*() if self.sources.embedded else self.sources.alphas[:1])

    def _captioner(self, *eyes: str) -> AlphaCaptioner:
        from fovea.backbones.captioner import load_captioner

        source = self.sources.captioner

        def load() -> AlphaCaptioner:
            captioner = load_captioner(source, self.device, self.dtype)
            if eyes:
                captioner.take_tower(self.alphas[0].model)
            return captioner

        return self._once(("captioner", source, eyes), load)

    @property
    def diffusion(self) -> StableDiffusion:
        """What draws pictures from texts, for where it looks.

        Raises:
            MissingExtraError: its package is not installed.
        """
        from fovea.backbones.diffusion import load_diffusion

        source = self.sources.diffusion
        return self._once(("diffusion", source), lambda: load_diffusion(source, self.device, self.dtype))

    @property
    def region_spot(self) -> RegionSpotModel:
        """A head of RegionSpot between the CLIP and the SAM.

        Raises:
            CheckpointError: none is named, it cannot be loaded, or it belongs to other models.
        """
        from fovea.backbones.region_spot import load_region_spot

        source, clips, sam = self.sources.region_spot, self.sources.clips, self.sources.sam
        if not source:
            raise CheckpointError(f"the models {self.name!r} hold no RegionSpot", "name one with --models")
        if len(clips) != 1:
            raise CheckpointError("RegionSpot takes one CLIP", "name the one that it was trained with")

        def load() -> RegionSpotModel:
            return load_region_spot(source, self.clips[0], self.segmenter, clip=clips[0], sam=sam, device=self.device)

        return self._once(("region-spot", source), load)

    @property
    def host(self) -> Host:
        """The captioner that is asked where things are."""
        from fovea.backbones.host import load_host

        (source,) = self.sources.of("vlm")
        return self._once(("vlm", source), lambda: load_host(source, self.device, self.dtype))

    @property
    def teller(self) -> HostTeller:
        """The same, joined by what was trained beside it.

        Raises:
            CheckpointError: nothing is named, or it belongs to another captioner.
        """
        from fovea.backbones.peers import load_peer
        from fovea.tellers.hosted import HostTeller

        source = self.sources.peer
        if not source:
            raise CheckpointError(
                f"the models {self.name!r} hold nothing that teaches a captioner to say boxes",
                "name a captioner and its peer with --models, as fovea train pin writes it",
            )
        return self._once(("peer", source), lambda: HostTeller(self.host, load_peer(source, self.host)))

    def _once(self, source: Hashable, load: Callable[[], Any]) -> Any:
        with self._loading:
            if source not in self._loaded:
                self._loaded[source] = load()
            return self._loaded[source]


def _dtype(name: str) -> torch.dtype:
    import torch

    if name not in _DTYPES:
        raise CheckpointError(f"there is no dtype called {name!r}", f"known are {', '.join(_DTYPES)}")
    found: torch.dtype = getattr(torch, name)
    return found


def _device(name: str) -> str:
    import torch

    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"the device {name!r} is not there", "use --device cpu") from error
    return wanted
