import itertools

import pytest

from tracevlm_ros.core.errors import ConfigError
from training.data.sharding import ShardConfig, ShardedOrder

SIZES = (5, 0, 7, 1)


def met(config: ShardConfig, count: int) -> list[tuple[int, int]]:
    order = ShardedOrder(SIZES, config)
    return [order.address(taken)[1:] for taken in range(count)]


def test_an_epoch_meets_every_record_of_every_reader_once() -> None:
    everything = [(r, i) for r, size in enumerate(SIZES) for i in range(size)]
    found = met(ShardConfig(seed=4), 39)
    for epoch in range(3):
        part = found[13 * epoch : 13 * epoch + 13]
        assert sorted(part) == everything
    assert found[:13] != found[13:26]
    assert met(ShardConfig(shuffle=False), 13) == everything


@pytest.mark.parametrize(("world", "workers"), [(1, 1), (2, 1), (3, 2), (5, 4)])
def test_shards_share_the_endless_order_without_loss_or_double(world: int, workers: int) -> None:
    shards = world * workers
    single = met(ShardConfig(seed=1), 4 * shards)
    parts = {
        (rank, worker): met(
            ShardConfig(seed=1, rank=rank, world=world, worker=worker, workers=workers), 4
        )
        for rank, worker in itertools.product(range(world), range(workers))
    }
    for place, address in enumerate(single):
        taken, shard = divmod(place, shards)
        assert parts[divmod(shard, workers)][taken] == address


def test_the_order_depends_on_the_seed_alone() -> None:
    assert met(ShardConfig(seed=2), 30) == met(ShardConfig(seed=2), 30)
    assert met(ShardConfig(seed=2), 30) != met(ShardConfig(seed=3), 30)
    order = ShardedOrder(SIZES, ShardConfig(seed=2))
    backwards = [order.address(taken)[1:] for taken in reversed(range(30))]
    assert backwards[::-1] == met(ShardConfig(seed=2), 30)


def test_shards_that_do_not_exist_and_empty_data_are_refused() -> None:
    with pytest.raises(ConfigError, match="rank"):
        ShardConfig(rank=2, world=2)
    with pytest.raises(ConfigError, match="no record"):
        ShardedOrder([0, 0], ShardConfig())
