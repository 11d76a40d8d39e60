"""How a worker process says by its exit code why it ended, to whoever starts it again."""

#: It was judged dead, and its tasks are others' (EX_TEMPFAIL): start it again.
FENCED = 75
#: One of its threads failed (EX_SOFTWARE): start it again, and report a bug.
BROKEN = 70
#: It refuses its settings (EX_CONFIG): a restart changes nothing.
REFUSED = 78
