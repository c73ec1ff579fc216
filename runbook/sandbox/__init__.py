"""The embedded stack: real servers from wheels, without root and without Docker, for the demo, drills and tests.

Owns the package; the parts are in one file each. :class:`runbook.sandbox.stack.Stack` brings the stack up, takes it down
and says what runs; :func:`runbook.sandbox.data.fill` puts a document service's data into it. Promises: importing the
package loads nothing else.
"""
