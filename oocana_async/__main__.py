"""`python -m oocana_async` is the command `oocana-async`."""

from __future__ import annotations

from oocana_async.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
