import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.tiny import tiny_model
from training.data.messages import MessageTree, TreeConfig
from training.data.packed_batch import PackedBatch, collate, packed_mask, read_packed
from training.data.packed_stream import Row, Sample
from training.data.packing import PackConfig, Packer, pack_row
from training.data.readers.synthetic import Synthetic, SyntheticSource
from training.data.sequences import SequenceEncoder
from training.data.trees import build_tree
from training.model.patch_heads import IGNORED
from training.tokenizer import load_tokenizer

ENCODER = SequenceEncoder(load_tokenizer(), (2, 2))
SLOTS = 6


def samples(index: int = 0, clip_every: int = 0) -> list[Sample]:
    from tracevlm_ros.core.drops import Drops

    source = SyntheticSource(count=9, size_hw=(64, 64), clip_every=clip_every, frames=2)
    record = Synthetic(source).read(index)
    assert record is not None
    config = TreeConfig(image_size=64, max_keypoints=SLOTS, max_branches=100)
    tree: MessageTree = build_tree(record, config, np.random.default_rng(1), Drops())
    return [
        Sample(index, number, tree, branch, ENCODER.encode(branch, len(tree.images)))
        for number, branch in enumerate(tree.branches)
    ]


def one_of_each_task(index: int = 0, clip_every: int = 0) -> list[Sample]:
    found = {sample.branch.task: sample for sample in samples(index, clip_every)}
    return list(found.values())


def batch_of(rows: list[list[Sample]]) -> PackedBatch:
    length = max(sum(len(s.sequence.ids) for s in row) for row in rows) + 3
    return collate([Row(tuple(row), {}) for row in rows], length, 0, SLOTS, 16)


def logits_of(batch: PackedBatch) -> torch.Tensor:
    """Batch norms by their running statistics, as the stages on packed rows keep them."""
    model = tiny_model().eval()
    with torch.no_grad():
        return model.model.logits(read_packed(model, batch).hidden)


def spans(row: list[Sample]) -> list[slice]:
    ends = np.cumsum([len(sample.sequence.ids) for sample in row]).tolist()
    return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


@pytest.mark.parametrize("clip_every", [0, 1])
def test_a_packed_sample_gives_the_logits_that_it_gives_alone(clip_every: int) -> None:
    row = one_of_each_task(clip_every=clip_every)
    assert len(row) >= 8
    packed = logits_of(batch_of([row]))[0]
    for sample, span in zip(row, spans(row), strict=True):
        alone = logits_of(batch_of([[sample]]))[0, : len(sample.sequence.ids)]
        assert (packed[span] - alone).abs().max() < 1e-4


def gaps(row: list[Sample], changed: int, replacement: Sample) -> list[float]:
    """Greatest change of each sample's logits when one of them is replaced by another."""
    mixed = [*row[:changed], replacement, *row[changed + 1 :]]
    apart = (logits_of(batch_of([mixed]))[0] - logits_of(batch_of([row]))[0]).abs()
    return [float(apart[span].max()) for span in spans(row)]


def test_changing_one_packed_samples_words_leaves_the_others_logits_unchanged() -> None:
    row = one_of_each_task()
    for changed in range(len(row)):
        found = gaps(row, changed, _other_words(row[changed]))
        assert found.pop(changed) > 1e-3
        assert set(found) == {0.0}


def test_changing_a_packed_samples_picture_and_trace_leaves_the_others_logits_unchanged() -> None:
    row, others = one_of_each_task(), samples(1)
    pairs = [
        (place, other)
        for place, sample in enumerate(row)
        for other in others
        if len(other.sequence.ids) == len(sample.sequence.ids)
    ]
    assert len({place for place, _ in pairs}) >= 3
    for place, other in pairs[::4]:
        found = gaps(row, place, other)
        assert found.pop(place) > 1e-3
        assert max(found) < 1e-5


def _other_words(sample: Sample) -> Sample:
    ids = sample.sequence.ids.copy()
    ids[sample.sequence.learned] = ids[sample.sequence.learned][::-1] + 1
    return sample._replace(sequence=sample.sequence._replace(ids=ids))


def test_without_the_mask_samples_would_see_each_other() -> None:
    """The isolation tests can fail: plain causal attention over the row does leak."""
    row = one_of_each_task()
    batch = batch_of([row])
    open_row = batch._replace(segment_ids=torch.ones_like(batch.segment_ids))
    last = spans(row)[-1]
    assert (logits_of(batch)[0, last] - logits_of(open_row)[0, last]).abs().max() > 1e-2


def test_rope_ids_start_anew_for_each_sample_on_all_axes() -> None:
    row = one_of_each_task(clip_every=1)
    packed = pack_row([s.sequence for s in row], 4096, 0)
    for sample, span in zip(row, spans(row), strict=True):
        assert np.array_equal(packed.position_ids[:, span], sample.sequence.position_ids)
    image = row[0].sequence.image
    assert len(np.unique(packed.position_ids[:, image].reshape(3, -1), axis=1).T) == image.size


def test_targets_are_the_next_tokens_of_answers_and_never_cross_samples() -> None:
    row = one_of_each_task()
    packed = pack_row([s.sequence for s in row], 4096, 0)
    for sample, span in zip(row, spans(row), strict=True):
        targets = packed.targets[span]
        wanted = [
            int(sample.sequence.ids[i + 1])
            if i + 1 < len(targets) and sample.sequence.learned[i + 1]
            else IGNORED
            for i in range(len(targets))
        ]
        assert targets.tolist() == wanted
    used = spans(row)[-1].stop
    assert (packed.targets[used:] == IGNORED).all()
    assert (packed.segment_ids[used:] == 0).all()


def test_the_mask_lets_a_token_see_its_own_sample_up_to_itself() -> None:
    segments = torch.tensor([[1, 1, 2, 2, 2, 0]])
    mask = packed_mask(segments)[0, 0]
    for query in range(6):
        for key in range(6):
            seen = key <= query and segments[0, key] == segments[0, query]
            assert (mask[query, key] == 0) == bool(seen)


def test_pictures_shared_by_samples_are_encoded_once() -> None:
    found = samples()
    batch = batch_of([found[:3], found[3:6]])
    assert len(batch.image) == 1
    assert batch.view_image.tolist() == [0] * 6
    assert batch.view_row.tolist() == [0, 0, 0, 1, 1, 1]


def test_views_without_a_trace_pass_tvp_by_bit_for_bit() -> None:
    row = one_of_each_task(clip_every=1)
    batch, model = batch_of([row]), tiny_model()
    with torch.no_grad():
        tokens = model.encode(batch.image).tokens[batch.view_image]
        enhanced = read_packed(model, batch).grounded.enhanced
    touched = batch.trace.valid.any(dim=1)
    assert touched.any()
    assert torch.equal(enhanced[~touched], tokens[~touched])
    assert not torch.equal(enhanced[touched], tokens[touched])


def test_masks_belong_to_the_codebook_tokens_of_their_sample() -> None:
    row = [s for s in one_of_each_task(clip_every=1) if s.branch.masks]
    batch = batch_of([row])
    expected = [len({picture for picture, _ in s.branch.masks}) for s in row]
    assert len(batch.masks) == sum(expected)
    ids = batch.ids[batch.view_row[batch.mask_view][:, None], batch.codebook_columns]
    book = [load_tokenizer().token_to_id(f"<|seg_{i}|>") for i in range(6)]
    assert (ids == torch.tensor(book)).all()
    assert (batch.masks.flatten(1).max(dim=1).values > 0).all()


@given(st.lists(st.integers(1, 30), max_size=60), st.integers(1, 5))
def test_the_packer_keeps_every_item_within_length(sizes: list[int], open_rows: int) -> None:
    packer: Packer[int] = Packer(PackConfig(length=30, open_rows=open_rows))
    closed = [row for i, size in enumerate(sizes) if (row := packer.add(size, i)) is not None]
    rows = [*closed, *([item for _, item in row] for row in packer.rows)]
    assert sorted(item for row in rows for item in row) == list(range(len(sizes)))
    assert all(sum(sizes[item] for item in row) <= 30 for row in rows)
    assert len(packer.rows) <= open_rows


def test_no_item_waits_longer_than_the_open_rows_behind_it() -> None:
    """A row that nothing fits into comes out when its turn has come, however empty it is."""
    packer: Packer[int] = Packer(PackConfig(length=10, open_rows=3))
    closed = [packer.add(size, number) for number, size in enumerate([6, 9, 8, 7, 9])]
    assert closed == [None, None, None, [0], [1]]


def test_a_gap_is_filled_by_what_comes_later() -> None:
    packer: Packer[int] = Packer(PackConfig(length=10, open_rows=3))
    closed = [packer.add(size, number) for number, size in enumerate([6, 6, 6, 4, 4, 4, 10])]
    assert closed[:-1] == [None] * 6
    assert closed[-1] == [0, 3]


def test_items_that_do_not_fit_are_refused() -> None:
    packer: Packer[int] = Packer(PackConfig(length=8))
    assert not packer.fits(9)
    with pytest.raises(ValueError, match="9 tokens"):
        packer.add(9, 0)
    sequence = samples()[0].sequence
    with pytest.raises(ValueError, match="do not fit"):
        pack_row([sequence], len(sequence.ids) - 1, 0)
