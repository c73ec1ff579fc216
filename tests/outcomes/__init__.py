"""What happens when not all goes well, as a table of cases: `python -m tests.outcomes` writes what they show."""
