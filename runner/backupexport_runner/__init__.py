"""The program in the Jobs of an export: dumps a database into a file, cleans up, delivers.

From the top down, each importing only what is below it: `__main__`, the process | `delivery` and
`export`, the tasks | `postgres` and `volume`, what they work on | `task`, what every task has.
"""
