"""Actions: what a step may use, one class a file, a folder for a system with many.

An action answers questions with data and performs nothing; see :class:`runbook.action.Action` for the contract.
"""
