"""Actions on a store of backups: choosing one, and adopting one that something else made."""
