"""Every error of Polyseme in one tree: each a sentence and a stable code.

`service/http/problems.py` gives the status.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Detail:
    """One thing that is wrong, and where.

    `pointer` is an RFC 6901 JSON pointer into the request, "" for the whole.
    """

    pointer: str
    detail: str


class PolysemeError(Exception):
    """Root of the tree. `code` is stable and meant for programs, the message for people."""

    code = "error"

    def __init__(
        self, message: str, *, pointer: str | None = None, details: tuple[Detail, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        if pointer is not None:
            details = (Detail(pointer, message), *details)
        self.details = details


# What the client got wrong


class MalformedRequest(PolysemeError):
    """The bytes are no request: broken JSON, a bad header, a bad cursor."""

    code = "malformed_request"


class InvalidRequest(PolysemeError):
    """Well-formed, but a value is not allowed."""

    code = "invalid_request"


class InvalidSelection(InvalidRequest):
    code = "invalid_selection"


class UnknownSite(InvalidRequest):
    code = "unknown_site"


class UnknownLayer(InvalidRequest):
    code = "unknown_layer"


class UnknownNeuron(InvalidRequest):
    code = "unknown_neuron"


class TooFewDocuments(InvalidRequest):
    """More contexts are asked for than documents may give at one each."""

    code = "too_few_documents"


class ModelNotListed(InvalidRequest):
    code = "model_not_listed"


class CorpusNotFound(InvalidRequest):
    """A job names a corpus that is not there. As a path of its own it is `NotFound`."""

    code = "corpus_not_found"


class VectorsNotFound(InvalidRequest):
    """A job names uploaded directions that are not there. As a path of their own: `NotFound`."""

    code = "vectors_not_found"


class InvalidCorpus(InvalidRequest):
    code = "invalid_corpus"


class BatchRefused(InvalidRequest):
    """Entries of a batch are wrong, and so no job of it was opened."""

    code = "batch_refused"


class IdempotencyKeyReused(InvalidRequest):
    """An Idempotency-Key that came with another request before."""

    code = "idempotency_key_reused"


class BadCursor(MalformedRequest):
    code = "bad_cursor"


class ExpiredCursor(PolysemeError):
    code = "expired_cursor"


class NotFound(PolysemeError):
    code = "not_found"


class Conflict(PolysemeError):
    code = "conflict"


class JobNotFinished(Conflict):
    """What was asked for exists only once the job has ended, or has succeeded."""

    code = "job_not_finished"

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s  # None when waiting would not help


class ResultDamaged(Conflict):
    """A result that is not what was written, until it is made again."""

    code = "result_damaged"


class OtherText(Conflict):
    """Results that are to be compared have not read the same text.

    Pointers lead into the two manifests.
    """

    code = "other_text"


class Gone(PolysemeError):
    code = "gone"


class TooLarge(PolysemeError):
    code = "too_large"


class TooSlow(PolysemeError):
    """The body did not come in time."""

    code = "request_timeout"


class UnsupportedMedia(PolysemeError):
    code = "unsupported_media_type"


class Unavailable(PolysemeError):
    """Try again after `retry_after_s` seconds."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyJobs(Unavailable):
    code = "too_many_jobs"


class QuotaExceeded(Unavailable):
    """The tenant has used what it may."""

    code = "quota_exceeded"


class TooManyRequests(QuotaExceeded):
    code = "too_many_requests"


class Unauthenticated(PolysemeError):
    """No key came with the request, or none that holds. It is not said which."""

    code = "unauthenticated"

    def __init__(self, message: str, *, was_given: bool = False) -> None:
        super().__init__(message)
        self.challenge = 'Bearer realm="polyseme"' + (
            ', error="invalid_token"' if was_given else ""
        )  # RFC 6750


class Forbidden(PolysemeError):
    code = "forbidden"


class NotLocal(Forbidden):
    """There are no keys, and the request is not from this machine."""

    code = "not_local"


class MissingScope(Forbidden):
    code = "missing_scope"

    def __init__(self, message: str, *, scope: str) -> None:
        super().__init__(message)
        self.challenge = f'Bearer realm="polyseme", error="insufficient_scope", scope="{scope}"'


# What can go wrong in an analysis


class AnalysisError(PolysemeError):
    """An analysis cannot go on, and trying again would not help.

    Its code and message become the job's `error`.
    """

    code = "analysis_failed"


class UnsupportedArchitecture(AnalysisError):
    code = "unsupported_architecture"


class ModelLoadError(AnalysisError):
    code = "model_load_failed"


class DictionaryLoadError(AnalysisError):
    code = "dictionary_load_failed"


class NonFiniteActivation(AnalysisError):
    code = "non_finite_activation"


class EmptyCorpus(AnalysisError):
    code = "empty_corpus"


class DamagedFile(AnalysisError):
    """A file is not what was written, or no longer there."""

    code = "damaged_file"

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path  # in the store; None when it is not known


class DamagedRecord(PolysemeError):
    """What Redis has of a job, a batch, a corpus or a model cannot be read."""

    code = "damaged_record"

    def __init__(self, message: str, *, is_newer: bool = False) -> None:
        super().__init__(message)
        self.is_newer = is_newer  # by its version: who has that can read it


# What an operator has to put right before anything starts


class UnsafeRedis(PolysemeError):
    """This Redis would lose jobs."""

    code = "unsafe_redis"


class StoreTaken(PolysemeError):
    """The store belongs to another board."""

    code = "store_taken"


class Cancelled(Exception):
    """Raised inside an analysis when the caller's `should_stop()` turns true.

    Not an error of anybody's.
    """


class OtherEncoder(Exception):
    """Raised inside an analysis when its words are to be compared by an encoder that this process
    does not have.

    Not an error of the job's: another worker may have it.
    """
