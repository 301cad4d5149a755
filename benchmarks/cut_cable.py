"""A fit on Dask over three hosts, the cable of one of which is cut in the middle: the same bits as over whole cables.

The hosts are network namespaces of this machine, joined by a bridge: the first has the scheduler, each of the others a worker.

python -m benchmarks.cut_cable 20        (partitions of 100,000 x 20; a minute; Linux and root, with the extra "dask")
"""

import hashlib
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from threading import Timer

from benchmarks.scale import CHUNK, N_FEATURES, chunk

HOSTS, ADDRESS = ["skgd-a", "skgd-b", "skgd-c"], "10.213.0.{}"
SCHEDULER = f"tcp://{ADDRESS.format(1)}:8786"
SOON = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s", "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "12s"}  # to miss a worker


def ip(*words):
    subprocess.run(["ip", *words], check=True)


@contextmanager
def hosts():
    """Three hosts on one bridge, which is in the first of them."""
    try:
        for name in HOSTS:
            ip("netns", "add", name)
        ip("-n", HOSTS[0], "link", "add", "bridge", "type", "bridge")
        for number, name in enumerate(HOSTS[1:], start=2):
            cable = f"cable{number}"
            ip("-n", HOSTS[0], "link", "add", cable, "type", "veth", "peer", "name", "eth", "netns", name)
            ip("-n", HOSTS[0], "link", "set", cable, "master", "bridge", "up")
            ip("-n", name, "addr", "add", f"{ADDRESS.format(number)}/24", "dev", "eth")
            ip("-n", name, "link", "set", "eth", "up")
        ip("-n", HOSTS[0], "addr", "add", f"{ADDRESS.format(1)}/24", "dev", "bridge")
        ip("-n", HOSTS[0], "link", "set", "bridge", "up")
        for name in HOSTS:
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in HOSTS:
            subprocess.run(["ip", "netns", "del", name], check=False)


@contextmanager
def running(host, *words):
    """A program of Dask's on a host."""
    command = ["ip", "netns", "exec", host, sys.executable, "-m", "dask", *words]
    environment = os.environ | SOON | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    program = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        program.terminate()
        program.wait()


def fit(n_chunks, cut_after):
    """Fit the median on the first host; with `cut_after` the last host's cable is cut so many seconds after the start."""
    import dask.array as da
    from dask import delayed
    from dask.distributed import Client

    from skgd.dask import DaskMiniBatchLinearRegressor

    with Client(SCHEDULER) as client:
        client.wait_for_workers(2, timeout=60)
        parts = [delayed(chunk, pure=True, nout=2)(number) for number in range(n_chunks)]
        X = da.concatenate([da.from_delayed(part[0], (CHUNK, N_FEATURES), "f8") for part in parts])
        y = da.concatenate([da.from_delayed(part[1], (CHUNK,), "f8") for part in parts])
        if cut_after:
            Timer(cut_after, ip, ["link", "set", "cable3", "down"]).start()
        start = time.perf_counter()
        model = DaskMiniBatchLinearRegressor(loss="quantile", client=client).fit(X, y)
        seconds = time.perf_counter() - start
        digest = hashlib.sha256(model.coef_.tobytes() + model.loss_curve_.tobytes()).hexdigest()
        print(f"{len(client.scheduler_info()['workers'])} {seconds:.1f} {digest}")


def fitted(n_chunks, cut_after):
    """Workers at the end, seconds, and a digest of coefficients and loss curve."""
    with ExitStack() as stack:
        stack.enter_context(running(HOSTS[0], "scheduler", "--host", ADDRESS.format(1), "--no-dashboard"))
        for number, host in enumerate(HOSTS[1:], start=2):
            options = "--host", ADDRESS.format(number), "--nthreads", "1", "--no-dashboard", "--no-nanny"
            stack.enter_context(running(host, "worker", SCHEDULER, *options))
        command = ["ip", "netns", "exec", HOSTS[0], sys.executable, "-m", __spec__.name, str(n_chunks), str(cut_after)]
        environment = os.environ | SOON | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, timeout=600)
        n_workers, seconds, digest = done.stdout.splitlines()[-1].split()
        return int(n_workers), float(seconds), digest


def main(n_chunks):
    with hosts():
        whole = fitted(n_chunks, 0.0)
    with hosts():
        cut = fitted(n_chunks, whole[1] / 2.0)
    for name, (n_workers, seconds, digest) in ("whole", whole), ("one cut half-way", cut):
        print(f"cables {name:18} {n_workers} worker(s) at the end, {seconds:5.1f} s, digest {digest[:16]}")
    assert (whole[0], cut[0]) == (2, 1), "the cut came too late"
    assert whole[2] == cut[2], "the bits differ"


if __name__ == "__main__":
    main(int(sys.argv[1])) if len(sys.argv) == 2 else fit(int(sys.argv[1]), float(sys.argv[2]))
