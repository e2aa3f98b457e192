"""`make chaos`: one long random run with a seed. Load and faults, then heal, drain, check, report.

- `schedule` draws the faults of a run from its seed: the same seed, the same schedule.
- `nemesis` injects them, and notes what it did and when.
- `watch` reads the stock as a bank would, and notes backlog and leaders while it runs.
- `figures` sums the run up; `report` writes the folder, its pictures included.
- `run` is the run itself, from start to verdict.
"""
