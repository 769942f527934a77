"""Every rank waits for ever; argument "deaf" makes it ignore the signals that ask it to end."""

import signal
import sys
import time

from mpi4py import MPI

if sys.argv[1:] == ["deaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
ready = MPI.COMM_WORLD.gather(None)
if ready:
    print(f"{len(ready)} ranks hang", flush=True)
while True:
    time.sleep(1)
