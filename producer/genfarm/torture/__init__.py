"""`genfarm torture`: a farm of its own, deterministic tasks, a seeded nemesis, and the count after.

plan.py      what is asked for, from the seed alone
yard.py      the farm's processes; postgres.py its PostgreSQL; proxy.py its way to Redis
driver.py    asks, cancels, asks twice, fails half-way
nemesis.py   strikes and heals; faults.py says how
check.py     the verdict; recovery.py how long a death was felt
report.py    the ledger; chart.py the picture
run.py       all of it in order
"""
