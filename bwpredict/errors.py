"""Every error a user can cause. The message is one sentence that names the thing, says what was
expected, and what to do; the command line prints it without a stack trace and exits with `exit_code`.
"""


class BwPredictError(Exception):
    """Base of all errors a user can cause or must act on."""

    exit_code = 2


class ConfigError(BwPredictError):
    """A parameter, setting or policy that cannot be used."""


class DivergedError(ConfigError):
    """A training whose loss is no longer finite: its learning rate is too large."""


class RankError(BwPredictError):
    """A process of a training over several ranks that died; the others were stopped."""


class StudyError(BwPredictError):
    """A search for hyperparameters that is another one than asked for, or that is not finished."""


class TelemetryError(BwPredictError):
    """Telemetry that is missing, unreadable, of the wrong shape, or too short."""


class SnapshotError(TelemetryError):
    """A pinned telemetry object has changed or gone, or a snapshot document does not fit."""


class ModelError(BwPredictError):
    """A model file that cannot be loaded, or does not keep the contract."""


class ContractChangedError(ModelError):
    """A model made for another input, output or horizon than the consumer was built for; it must not be served."""


class InputError(BwPredictError):
    """Windows that a model was not made for: shape, order, units, calendar, or samples that are too old."""


class SignatureError(BwPredictError):
    """A version without a valid signature by a trusted key, where one is required."""


class DocumentError(BwPredictError):
    """A JSON document that cannot be read or does not match its schema."""


class StoreError(BwPredictError):
    """An object store that refused or failed an operation; nothing was changed."""


class StoreUnreachableError(StoreError):
    """The store did not answer, or refused the credentials or the bucket."""


class ObjectMissingError(StoreError):
    """The named object is not in the store."""


class ObjectCorruptError(StoreError):
    """The bytes of the named object are not those that were written."""


class ConflictError(StoreError):
    """A conditional write surely lost: another writer came first. Read again before deciding."""


class AlreadyPublishedError(ConflictError):
    """Production serves a model of the same month that another run published; nothing was published."""


class OvertakenError(StoreError):
    """Another machine changed the same files of a work area meanwhile; nothing was sent, and another try may do."""


class UnknownOutcomeError(StoreError):
    """The answer to a write was lost: it may or may not have landed. Read before deciding."""


class PushError(BwPredictError):
    """Another tool's registry did not take a published version; production is as it was."""


class PredictionError(BwPredictError):
    """Forecasts that cannot be written."""


class Verdict(BwPredictError):  # noqa: N818 - a verdict, not an error of the program
    """A negative verdict: the software worked, the data or the model did not pass."""

    exit_code = 1


class ValidationFailed(Verdict):
    """Telemetry did not meet its expectations; training must not start."""


class GateRejected(Verdict):
    """The challenger did not pass the gate; nothing was published."""


class WorkAreaError(BwPredictError):
    """A file of a run's work area is missing, or is not the one that the step before wrote."""
