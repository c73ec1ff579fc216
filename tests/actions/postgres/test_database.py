"""Properties of a database → statements; and what a dump says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbook.actions.postgres import archive
from runbook.actions.postgres.database import Grant, Label, Properties, Setting, carry, create, differences, items
from runbook.actions.postgres.surroundings import owned_by
from runbook.quoting import sql_text

PLAIN = Properties(owner="app", encoding="UTF8", lc_collate="C.UTF-8", lc_ctype="C.UTF-8", tablespace="fast")


def words(want: Properties, version: int) -> str:
    return sql_text(create("new", want, version=version))


def test_create_says_what_the_version_knows() -> None:
    old = words(PLAIN, 140000)
    assert "LOCALE_PROVIDER" not in old
    assert "TEMPLATE template0" in old and "ENCODING 'UTF8'" in old and "LC_CTYPE 'C.UTF-8'" in old
    assert 'OWNER "app"' in old and 'TABLESPACE "fast"' in old
    assert "LOCALE_PROVIDER 'libc'" in words(PLAIN, 150000)
    icu = replace(PLAIN, provider="i", locale="de-AT", rules="&a < b")
    assert "LOCALE_PROVIDER 'icu' ICU_LOCALE 'de-AT' ICU_RULES '&a < b'" in words(icu, 160000)
    assert "BUILTIN_LOCALE 'C.UTF-8'" in words(replace(PLAIN, provider="b", locale="C.UTF-8"), 170000)
    assert words(Properties(), 150000) == 'CREATE DATABASE "new" TEMPLATE template0'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"$user", public', ("$user", "public")),
        ('"a ""b""", c', ('a "b"', "c")),
        ('"with, comma"', ("with, comma",)),
        ('""', ()),
        ("", ()),
        ("plain", ("plain",)),
    ],
)
def test_lists_are_taken_apart(value: str, expected: tuple[str, ...]) -> None:
    assert items(value) == expected


def test_settings_are_quoted_as_lists_or_as_one_value() -> None:
    settings = (
        Setting("", "search_path", '"$user", "x; DROP TABLE y"'),
        Setting("", "DateStyle", "ISO, MDY"),
        Setting("", "app.motto", "it's {0}"),
        Setting('re"ader', "work_mem", "5MB"),
    )
    said = [sql_text(statement) for statement in carry("db", replace(PLAIN, settings=settings))]
    assert said == [
        "ALTER DATABASE \"db\" SET \"search_path\" TO '$user', 'x; DROP TABLE y'",
        'ALTER DATABASE "db" SET "DateStyle" TO \'ISO, MDY\'',
        'ALTER DATABASE "db" SET "app"."motto" TO \'it\'\'s {0}\'',
        'ALTER ROLE "re""ader" IN DATABASE "db" SET "work_mem" TO \'5MB\'',
    ]


def test_privileges_keep_who_granted_them() -> None:
    grants = (
        Grant("app", "app", "CONNECT", False),
        Grant("app", "lead", "CONNECT", True),
        Grant("lead", "", "CONNECT", False),
    )
    said = [sql_text(statement) for statement in carry("db", replace(PLAIN, grants=grants))]
    assert said == [
        'REVOKE ALL ON DATABASE "db" FROM PUBLIC, "app"',
        'GRANT CONNECT ON DATABASE "db" TO "app"',
        'GRANT CONNECT ON DATABASE "db" TO "lead" WITH GRANT OPTION',
        'SET LOCAL ROLE "lead"',
        'GRANT CONNECT ON DATABASE "db" TO PUBLIC',
        "RESET ROLE",
    ]
    assert carry("db", replace(PLAIN, grants=None)) == ()
    with pytest.raises(ValueError, match="privilege"):
        carry("db", replace(PLAIN, grants=(Grant("app", "x", "CONNECT; DROP", False),)))


def test_labels_are_carried() -> None:
    said = [sql_text(one) for one in carry("db", replace(PLAIN, labels=(Label("selinux", "x'y"),)))]
    assert said == ["SECURITY LABEL FOR 'selinux' ON DATABASE \"db\" IS 'x''y'"]


def test_differences_are_named() -> None:
    assert differences(PLAIN, PLAIN) == ()
    other = replace(PLAIN, owner="x", comment="y", grants=(), settings=(Setting("", "a", "b"),))
    assert differences(PLAIN, other) == ("owner", "comment", "settings", "grants")
    one = replace(PLAIN, settings=(Setting("", "search_path", "a, b"),))
    assert differences(one, replace(PLAIN, settings=(Setting("", "search_path", '"a", "b"'),))) == ()


SCRIPT = r'''
\restrict abc
CREATE DATABASE "Städte" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'C' ICU_LOCALE = 'de';
ALTER DATABASE "Städte" OWNER TO "the ""boss""";
\connect "Städte"
COMMENT ON DATABASE "Städte" IS 'it''s; here';
ALTER DATABASE "Städte" SET search_path TO '$user', 'public', 'a b';
ALTER DATABASE "Städte" SET "app.x" TO 'it''s';
ALTER ROLE app IN DATABASE "Städte" SET work_mem TO '5MB';
ALTER DATABASE "Städte" CONNECTION LIMIT = 9;
'''


def test_a_dump_tells_the_properties_of_its_database() -> None:
    found = archive.properties(SCRIPT)
    assert found == Properties(
        owner='the "boss"',
        encoding="UTF8",
        lc_collate="C",
        lc_ctype="C",
        provider="i",
        locale="de",
        connection_limit=9,
        comment="it's; here",
        settings=(
            Setting("", "search_path", '"$user", "public", "a b"'),
            Setting("", "app.x", "it's"),
            Setting("app", "work_mem", "5MB"),
        ),
    )
    assert archive.properties("") == Properties()


RIGHTS = r"""
ALTER DATABASE shop OWNER TO boss;
REVOKE CONNECT,TEMPORARY ON DATABASE shop FROM PUBLIC;
REVOKE ALL ON DATABASE shop FROM boss;
GRANT CREATE ON DATABASE shop TO boss;
GRANT CONNECT ON DATABASE shop TO "the App" WITH GRANT OPTION;
SET SESSION AUTHORIZATION "the App";
GRANT CONNECT ON DATABASE shop TO reader;
RESET SESSION AUTHORIZATION;
GRANT ALL ON DATABASE shop TO "PUBLIC";
"""


def test_a_dump_tells_who_may_connect() -> None:
    found = archive.properties(RIGHTS)
    assert found.grants == (
        Grant("boss", "the App", "CONNECT", True),
        Grant("boss", "boss", "CREATE", False),
        *(Grant("boss", "PUBLIC", one, False) for one in ("CONNECT", "TEMPORARY", "CREATE")),
        Grant("the App", "reader", "CONNECT", False),
    )
    added = archive.properties("ALTER DATABASE shop OWNER TO boss; GRANT CREATE ON DATABASE shop TO app;").grants
    assert added is not None and Grant("boss", "", "CONNECT", False) in added, "the others are those of a new database"
    everybody = frozenset({"boss", "the App", "reader", "PUBLIC"})
    assert owned_by(found, everybody, "postgres") == found
    left = owned_by(found, frozenset({"reader"}), "postgres")
    assert (left.owner, left.grants) == ("postgres", (Grant("postgres", "postgres", "CREATE", False),))


def test_a_listing_tells_the_extensions() -> None:
    listing = (
        "2; 3079 16385 EXTENSION - pgcrypto \n3; 0 0 COMMENT - EXTENSION pgcrypto \n4; 3079 1 EXTENSION - hstore x\n"
    )
    assert archive.extensions(listing) == ("pgcrypto", "hstore")
