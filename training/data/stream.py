"""The endless stream of training batches: batch ``step`` is a pure function of (seed, step).

So resuming needs no sampler state but the step, and held-out data is another seed.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.prompt import PromptLayout
from tracevlm_ros.core.settings import require_range
from training.data.batch import (
    Batch,
    Room,
    WordBatch,
    assemble,
    image_batch,
    label_batch,
    shrink,
)
from training.data.captioned_photos import CaptionedPhotos
from training.data.categories import CATEGORIES
from training.data.cutouts import paste
from training.data.photos import InstancePhotos, PhotoConfig
from training.data.priors import draw_prior
from training.data.prompt_rows import Pointed, Told
from training.data.sample import Sample
from training.data.synthetic import SyntheticConfig, SyntheticScenes
from training.data.told import tell
from training.data.traces import draw_trace, simplify_trace, slip
from training.data.worded import token_rows, word_samples
from training.model.config import ModelConfig
from training.tokenizer import encode_words


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """``photos`` is a folder in COCO form, or empty for synthetic scenes alone; ``captions`` a
    folder with COCO captions, maybe of other photos, or empty.

    ``photo_share`` of the images of a batch are photos, on ``paste_share`` of which objects of
    other photos are laid; ``bare_share`` of the photos are such that have captions and no outlines,
    and ``close_share`` of the others windows round an object.
    ``spoken_share`` of the traces of an image come with words, at least
    one; of the others only the mask is asked for, by a decoder that reads strokes.
    ``question_share`` of those with words come with a question in place of the caption task. About
    ``told_share`` of the images something is asked without a trace (``told``).
    ``room_tokens`` above 0 pads every batch to the same sizes, sequences to that many tokens.
    """

    photos: str = ""
    captions: str = ""
    photo_share: float = 0.4
    paste_share: float = 0.5
    question_share: float = 0.15
    spoken_share: float = 0.5
    bare_share: float = 0.0
    close_share: float = 0.0
    told_share: float = 0.0
    room_tokens: int = 0
    images: int = 8
    traces_per_image: int = 4

    def __post_init__(self) -> None:
        for name in ("photo", "paste", "spoken", "question", "bare", "close", "told"):
            require_range(f"{name}_share", getattr(self, f"{name}_share"), 0.0, 1.0)
        if self.bare_share and not (self.photos and self.captions):
            raise ConfigError("bare_share needs photos and captions; give both, or set it to 0")
        require_range("room_tokens", self.room_tokens, 0, 4096)
        require_range("images", self.images, 1, 4096)
        require_range("traces_per_image", self.traces_per_image, 1, 64)


class Stream:
    def __init__(
        self,
        config: DataConfig,
        model: ModelConfig,
        tokenizer: Tokenizer,
        layout: PromptLayout,
        seed: int,
    ) -> None:
        self._config, self._model = config, model
        self._tokenizer, self._layout = tokenizer, layout
        self._seed = seed
        share = config.spoken_share if model.decoder.cues else 1.0
        self._spoken = max(1, round(share * config.traces_per_image))
        size = model.vision.image_size
        captioned = CaptionedPhotos(Path(config.captions), size) if config.captions else None
        self.captioned = captioned
        self.photos = (
            InstancePhotos(
                Path(config.photos),
                size,
                PhotoConfig(close_share=config.close_share),
                captioned=captioned,
            )
            if config.photos
            else None
        )
        self.scenes = SyntheticScenes(SyntheticConfig(), size, self.photos)

    def joint(self, step: int) -> Batch:
        """Images with traces, words and masks."""
        samples, pointed, told = [], [], []
        for slot in range(self._config.images):
            rng = np.random.default_rng((self._seed, step, slot))
            sample, is_photo = self._sample(rng)
            samples.append(sample)
            pointed += self._point(sample, is_photo, slot, rng)
            if slot < round(self._config.told_share * self._config.images):
                told.append(Told(slot, tell(sample, rng)))
        grid = self._model.vision.grid
        room = Room(self._model.tvp.max_keypoints, self._config.room_tokens)
        return assemble(samples, pointed, told, self._tokenizer, self._layout, grid, room)

    def words(self, step: int) -> WordBatch:
        """Images with texts and what they describe, ``traces_per_image`` texts an image."""
        rng = np.random.default_rng((self._seed, step))
        samples = [
            self._sample(np.random.default_rng((self._seed, step, slot)))[0]
            for slot in range(self._config.images)
        ]
        worded = word_samples(samples, self._config.traces_per_image, rng)
        rows = [encode_words(self._tokenizer, one.text) for one in worded]
        ids, valid = token_rows(rows, self._model.words.most_words)
        side = 2 * self._model.vision.grid
        return WordBatch(
            image_batch(samples),
            torch.tensor([one.image for one in worded]),
            torch.from_numpy(ids),
            torch.from_numpy(valid),
            torch.from_numpy(np.stack([shrink(one.mask, side) for one in worded])),
        )

    def vision(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Images with labels per patch."""
        samples = [
            self._sample(np.random.default_rng((self._seed, step, slot)))[0]
            for slot in range(self._config.images)
        ]
        return image_batch(samples), label_batch(samples, self._model.vision.grid)

    def category_weights(self) -> Tensor:
        """Weight of each category in the patch loss, count ** -0.5 with mean about 1."""
        counts = {} if self.photos is None else self.photos.category_counts
        weights = torch.tensor([counts.get(name, 1) ** -0.5 for name in CATEGORIES])
        shares = torch.tensor([float(counts.get(name, 1)) for name in CATEGORIES])
        return weights / (weights * shares).sum() * shares.sum()

    def _sample(self, rng: np.random.Generator) -> tuple[Sample, bool]:
        if self.photos is not None and rng.random() < self._config.photo_share:
            return self._pasted(self.photos, rng), True
        return self.scenes.sample(rng), False

    def _pasted(self, photos: InstancePhotos, rng: np.random.Generator) -> Sample:
        """A photo, sometimes with one to three objects of other photos over it, always on one of
        which no object is known."""
        share = self._config.bare_share
        bare = self.captioned if self.captioned and rng.random() < share else None
        sample = photos.sample(rng) if bare is None else bare.sample(rng)
        if sample.instances and rng.random() >= self._config.paste_share:
            return sample
        wanted = int(rng.integers(1, 4))
        while wanted > 0 or not sample.instances:
            source = photos.sample(rng)
            sample = paste(sample, source, photos.choose_instance(rng, source.instances), rng)
            wanted -= 1
        return sample

    def _point(
        self, sample: Sample, is_photo: bool, image: int, rng: np.random.Generator
    ) -> list[Pointed]:
        """``traces_per_image`` traces: every instance once before one comes twice."""
        size = self._model.vision.image_size
        order: list[int] = []
        while len(order) < self._config.traces_per_image:
            if is_photo and self.photos is not None and len(sample.instances) > 4:
                order.append(self.photos.choose_instance(rng, sample.instances))
            else:
                order += rng.permutation(len(sample.instances)).tolist()
        pointed: list[Pointed] = []
        for index in order[: self._config.traces_per_image]:
            item = sample.instances[index]
            trace = draw_trace(item.mask, rng)
            drift = rng.normal(0.0, 0.004, 2) if rng.random() < 0.5 else 0.0
            prompt = simplify_trace(
                trace, (size, size), rng.uniform(0.2, 1.0), self._model.tvp.max_keypoints, drift
            )
            asks = rng.random() < self._config.question_share
            choice = int(rng.integers(1, len(item.answers))) if asks else 0
            question, answer = item.answers[choice]
            others = [o.mask for at, o in enumerate(sample.instances) if at != index]
            prior = draw_prior(item.mask, others, rng, 2 * self._model.vision.grid)
            if prior.any():
                prompt = slip(prompt, item.mask, rng)
            is_spoken = len(pointed) < self._spoken
            pointed.append(
                Pointed(image, index, prompt, question, answer if is_spoken else None, prior)
            )
        return pointed
