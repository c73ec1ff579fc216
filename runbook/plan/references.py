"""What a template reads: its references, without rendering it.

Owns :func:`references`. A template of dotted names is read as text; any other is compiled by the sandbox, which is loaded then.
"""

from __future__ import annotations

from runbook.plan.template import Reference, is_template, refer, simple


def references(text: str) -> frozenset[Reference]:
    """Everything that a template reads; :class:`TemplateFault` where it can't be read or isn't safe."""
    if not is_template(text):
        return frozenset()
    template = simple(text)
    if template is not None:
        return frozenset(refer(part) for part in template.parts if isinstance(part, tuple))
    from runbook.plan.sandbox import compiled

    return compiled(text).references
