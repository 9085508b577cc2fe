"""The program in an export's Job: pg_dump, compressed on the way, into one file of the volume.

Layers, each importing only those before it: `failures`, `log`, `scrubbing`, `configuration`,
`interruption` | the pure decisions `request`, `connection`, `connection_errors`,
`dump_errors`, `storage_errors`, `client_choice`, `dump_command`, `progress` | the I/O
`libpq`, `preflight`, `pg_dump`, `compression`, `streaming`, `artifact_file`, `memory_kills` |
`export`, which puts them in order | `__main__`, the process around it.
"""
