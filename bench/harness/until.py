"""How long a stage of a run may take."""
import math
import time


class Over(Exception):
    """A stage's time is over. Whoever is up is stopped on the way out, and what was measured stays."""


class Until:
    def __init__(self, seconds=math.inf):
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def check(self):
        """To be asked before each thing that takes a while: it is not begun when the time is over."""
        if time.monotonic() >= self.end:
            raise Over(f"its {self.seconds} seconds are over, and what it would have measured then is missing")
