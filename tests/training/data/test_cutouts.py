import numpy as np

from training.data.cutouts import paste
from training.data.sample import Instance, Sample

SIDE = 64


def _sample(value: int, *boxes: tuple[int, int, int, int]) -> Sample:
    """A plain picture whose objects are the boxes (x0, y0, x1, y1), 100 brighter."""
    image = np.full((SIDE, SIDE, 3), value, np.uint8)
    instances = []
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        mask = np.zeros((SIDE, SIDE), np.bool_)
        mask[y0:y1, x0:x1] = True
        image[mask] = value + 100
        instances.append(Instance(mask, {"category": number}, ((None, f"thing {number}"),)))
    return Sample(image, tuple(instances), False)


def test_a_pasted_object_brings_its_pixels_mask_and_words() -> None:
    source = _sample(100, (20, 20, 44, 44))
    for seed in range(20):
        pasted = paste(_sample(20, (0, 0, 4, 4)), source, 0, np.random.default_rng(seed))
        new = pasted.instances[-1]
        assert new.answers == source.instances[0].answers
        inside = pasted.image_rgb[new.mask].mean()
        outside = pasted.image_rgb[~new.mask & ~pasted.instances[0].mask].mean()
        assert inside > 150
        assert outside < 40


def test_what_the_pasted_object_hides_is_no_longer_part_of_the_others() -> None:
    source = _sample(100, (8, 8, 56, 56))
    beneath = _sample(20, (0, 0, SIDE, SIDE))
    hidden = 0
    for seed in range(30):
        pasted = paste(beneath, source, 0, np.random.default_rng(seed))
        new = pasted.instances[-1].mask
        for other in pasted.instances[:-1]:
            hidden += 1
            assert not (other.mask & new).any()
            assert (other.mask | new).all()
    assert hidden


def test_an_object_that_is_covered_for_the_most_part_is_not_pointed_at() -> None:
    source = _sample(100, (0, 0, SIDE, SIDE))
    small = _sample(20, (30, 30, 34, 34))
    counts = {
        len(paste(small, source, 0, np.random.default_rng(seed)).instances) for seed in range(40)
    }
    assert counts == {1, 2}
