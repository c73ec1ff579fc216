"""A file of roles → which are missing, and which lines make them."""

from __future__ import annotations

import subprocess

from runbook.actions.postgres.globals_file import GRANTOR_DROPPED, Membership, Roles, lines_of, parse

FILE = '''\
--
-- PostgreSQL database cluster dump
--
\\restrict x
SET default_transaction_read_only = off;
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:salt$stored:server';
COMMENT ON ROLE app IS 'careful;
CREATE ROLE evil;';
CREATE ROLE "a.b*";
ALTER ROLE "a.b*" WITH NOLOGIN;
CREATE ROLE axbx;
ALTER ROLE axbx WITH NOLOGIN;
CREATE ROLE "Ä ""x""";
ALTER ROLE "Ä ""x""" WITH NOLOGIN;
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER;
ALTER ROLE app SET search_path TO 'x;y';
ALTER ROLE app SET application_name TO 'two
lines';
GRANT app TO "a.b*" WITH ADMIN OPTION GRANTED BY postgres;
GRANT pg_read_all_data TO app WITH INHERIT TRUE GRANTED BY postgres;
GRANT app TO nobody_known GRANTED BY postgres;
'''


def kept(roles: Roles) -> list[str]:
    piped = subprocess.run(lines_of(roles), input=FILE, capture_output=True, text=True, check=True).stdout
    return subprocess.run(GRANTOR_DROPPED, input=piped, capture_output=True, text=True, check=True).stdout.splitlines()


def test_roles_are_read_and_secrets_are_not() -> None:
    found = parse(FILE)
    assert found.names == ("app", "a.b*", "axbx", 'Ä "x"', "postgres")
    assert found.memberships[0] == Membership("app", "a.b*", ("ADMIN OPTION",))
    assert "SCRAM" not in repr(found)
    assert "evil" not in found.mentioned
    assert parse("") == Roles()


def test_only_the_lines_of_missing_roles_pass() -> None:
    missing = parse(FILE).missing({"postgres", "axbx", "pg_read_all_data"})
    assert kept(missing) == [
        "CREATE ROLE app;",
        "ALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:salt$stored:server';",
        'CREATE ROLE "a.b*";',
        'ALTER ROLE "a.b*" WITH NOLOGIN;',
        'CREATE ROLE "Ä ""x""";',
        'ALTER ROLE "Ä ""x""" WITH NOLOGIN;',
        "ALTER ROLE app SET search_path TO 'x;y';",
        'GRANT app TO "a.b*" WITH ADMIN OPTION;',
        "GRANT pg_read_all_data TO app WITH INHERIT TRUE;",
    ]


def test_bare_roles_have_no_attributes_settings_or_memberships() -> None:
    missing = parse(FILE).missing({"postgres", "axbx", "pg_read_all_data"})
    piped = subprocess.run(lines_of(missing, bare=True), input=FILE, capture_output=True, text=True, check=True).stdout
    assert piped.splitlines() == ["CREATE ROLE app;", 'CREATE ROLE "a.b*";', 'CREATE ROLE "Ä ""x""";']


def test_a_membership_of_a_missing_member_alone_is_made() -> None:
    missing = parse(FILE).missing({"postgres", "axbx", "app", 'Ä "x"', "pg_read_all_data"})
    assert missing.names == ("a.b*",)
    assert kept(missing)[-1] == 'GRANT app TO "a.b*" WITH ADMIN OPTION;'
    assert not parse(FILE).missing(parse(FILE).mentioned).names
