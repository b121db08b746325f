"""The exception tree of the project. Every message names the value, the limit and the remedy.

TraceVLMError
├── ConfigError        a setting is unknown, of the wrong type or out of range
├── InputError         a file, bag, topic or stream cannot be read as what it should be
└── EngineError
    ├── EngineMismatch the model directory and its manifest, or the caller, disagree
    └── BackendError   the inference back end is missing or failed at run time
"""


class TraceVLMError(Exception):
    """Base class of every error that this package raises on purpose."""


class ConfigError(TraceVLMError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class InputError(TraceVLMError):
    """A file, bag, topic or stream cannot be read as what it should be."""


class EngineError(TraceVLMError):
    """The engine cannot be loaded or run."""


class EngineMismatch(EngineError):
    """The model directory, its manifest and the caller do not agree."""


class BackendError(EngineError):
    """The inference back end is missing or failed at run time.

    ``is_out_of_memory`` tells the one failure that may pass.
    """

    def __init__(self, message: str, is_out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.is_out_of_memory = is_out_of_memory
