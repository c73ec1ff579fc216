"""The entry of the supervisor process: ``python -I -S boot.py RUN_DIR``.

Gives the files beside it a package of their own, so that they import one another without importing ``runbook`` (whose
dependencies would cost the supervisor its quick start). Promises: nothing outside the standard library is loaded.
"""

import os
import sys

PACKAGE = "runbook_supervisor"


def boot(run_dir: str) -> None:
    """Run the supervisor of ``run_dir``; returns in the launching process as soon as the socket listens."""
    package = type(sys)(PACKAGE)
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules[PACKAGE] = package
    __import__(f"{PACKAGE}.server", fromlist=["main"]).main(run_dir)


if __name__ == "__main__":
    boot(sys.argv[1])
