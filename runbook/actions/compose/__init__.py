"""Actions on the containers of a Compose project, found by its labels."""
