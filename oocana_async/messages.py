"""The public name of the message types: `from oocana_async.messages import report, session, dispatch, service, shared`.

They live in `wire.messages`; `import oocana_async.messages.report` gives the same modules.
"""

from __future__ import annotations

import sys

from oocana_async.wire import envelope
from oocana_async.wire.messages import dispatch, encode_message, report, session, shared
from oocana_async.wire.messages import services as service

__all__ = ["dispatch", "encode_message", "envelope", "report", "service", "session", "shared"]

# The import system looks here before it asks for a `__path__`: so the submodules need no second package of thin files.
for _name, _module in {
    "dispatch": dispatch,
    "envelope": envelope,
    "report": report,
    "service": service,
    "session": session,
    "shared": shared,
}.items():
    sys.modules[f"{__name__}.{_name}"] = _module
