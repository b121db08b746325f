"""The network of a checkpoint."""

from training.checkpoint import Checkpoint
from training.data.sample import PATCH_CLASSES
from training.model.tracevlm import TraceVLM
from training.settings import TrainConfig

_WORD_MAP = "word_map."


def trained_model(checkpoint: Checkpoint) -> TraceVLM:
    """For evaluation; without its word map where the run did not teach that."""
    model = TraceVLM(TrainConfig.of_mapping(checkpoint.config).model_config(), PATCH_CLASSES)
    weights = dict(checkpoint.weights)
    if not checkpoint.maps_words:
        model.word_map = None
        weights = {name: w for name, w in weights.items() if not name.startswith(_WORD_MAP)}
    model.load_state_dict(weights)
    return model.eval()
