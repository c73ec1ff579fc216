"""The WAL archive as servers meet it: segments are pushed into a directory or a bucket, and fetched ahead of their use."""
