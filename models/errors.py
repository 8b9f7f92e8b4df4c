"""Errors that a user reads: one sentence that says what is wrong and what to do."""

from __future__ import annotations

from .characters import whole_characters


class RationalRewardsError(Exception):
    """Base of every error of this pack whose message is written for the person at the canvas.

    What UTF-8 cannot write, of a prompt or a file name, is replaced: a host that fails to log an error stops.
    """

    def __init__(self, sentence: object = ""):
        super().__init__(whole_characters(str(sentence)))


class CheckpointError(RationalRewardsError):
    """A checkpoint is missing, incomplete, of the wrong kind, or cannot be loaded here."""


class DownloadError(CheckpointError):
    """A checkpoint could not be downloaded."""


class RubricError(RationalRewardsError):
    """A rubric is unknown or its file is not complete."""


class QuestionError(RationalRewardsError):
    """What was asked cannot be judged: an image, a prompt or their number is wrong."""


class AnswerError(RationalRewardsError):
    """An answer cannot be written in the format of its rubric: a part is missing or unusable."""


class CapabilityError(RationalRewardsError):
    """This critic cannot do what was asked of it; another one can."""


class OutOfMemoryError(RationalRewardsError):
    """The judgement did not fit into memory, not even in the smallest portion."""


class PreferenceError(RationalRewardsError):
    """A preference cannot be recorded, read, imported or exported."""


class ParrotError(RationalRewardsError):
    """A phase of PARROT cannot go on: its folder, its input or its settings do not fit together."""


class RewardError(RationalRewardsError):
    """A judgement gave no reward, so a trainer must not go on as if it had been a bad image."""
