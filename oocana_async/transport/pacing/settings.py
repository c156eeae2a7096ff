"""Windows and deadlines of the pacing."""

from __future__ import annotations

import msgspec

__all__ = ["PacingSettings"]


class PacingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Windows and deadlines; the defaults were measured on the engine and mosquitto at its defaults.

    Attributes:
        enabled: False sends everything at once.
        window: messages to one session topic that the engine may not have confirmed.
        barrier_from: unconfirmed messages from which on the engine is asked how far it is.
        barrier_deadline: seconds to wait for that answer before sending goes on without asking.
        ready_window: jobs that may be ready without having their inputs.
        inputs_deadline: seconds within which the inputs of a ready job must come.
        ready_repeat: seconds before which BlockReady of a job is not repeated.
        report_window: messages of ours to `report` that may be without echo.
        report_release: seconds without an echo after which those count as lost.
        finish_echo: seconds after which a BlockFinished at QoS 0 that was not seen on `report` is sent again at QoS 1.
        nudges: seconds after which a message that the engine answers is followed by a nudge, see `session_pacing`.
    """

    enabled: bool = True
    window: int = 250
    barrier_from: int = 100
    barrier_deadline: float = 30.0
    ready_window: int = 200
    inputs_deadline: float = 60.0
    ready_repeat: float = 2.5
    report_window: int = 500
    report_release: float = 0.1
    finish_echo: float = 1.0
    nudges: tuple[float, ...] = (0.0005, 0.001)
