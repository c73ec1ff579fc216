"""An action is found by its name; a name is looked for below the actions and nowhere else, whatever it is."""

from __future__ import annotations

import pytest

from runbook.catalogue import CATALOGUE

NO_NAMES = (
    *("", ".", "..", "x" * 300, f"postgres.{'x' * 300}", f"{'a.' * 200}b", "postgres..restore", "../actions/shell.run"),
    *(
        "/etc/passwd",
        "shell.run\0",
        "shell.run\n",
        "shell/run",
        "Shell.run",
        "sys.exit",
        "os.system",
        "postgres.__init__",
    ),
    *("..doctor.machine", "__init__", "postgres.restоre"),  # the last o is Cyrillic
)


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
def test_what_is_no_name_is_not_there(name: str) -> None:
    assert name not in CATALOGUE
    with pytest.raises(KeyError):
        CATALOGUE[name]


def test_each_name_leads_to_its_action() -> None:
    assert all(CATALOGUE[name].name == name for name in CATALOGUE)
