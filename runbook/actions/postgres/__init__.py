"""Actions on a PostgreSQL cluster, and the pieces that they share: how its client programs are called."""
