"""A link between two processes that swallows what is sent, and closes nothing."""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("skimage")

from tests.cli.runs import command, finish, logged, losses_of, wait_for_steps

pytestmark = pytest.mark.slow
HEARTBEAT = 10
OPTIONS = {"heartbeat": HEARTBEAT, "training.num_steps": 20, "training.checkpoint_every": 2}
OPTIONS |= {"optimizer.schedule": "step"}  # under cosine the number of steps shapes all of them
ENDLESS = OPTIONS | {"training.num_steps": 100_000}


class Relay:
    """Hands on, 50 ms later, what a port of the loopback interface is sent, until it is cut."""

    def __init__(self, target):
        self._target, self._cut = target, threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        self._cut.set()

    def _accept(self):
        while True:
            near, _ = self._server.accept()
            far = self._connected()
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._hand_on, args=ends, daemon=True).start()

    def _connected(self):
        while True:  # whoever listens there may not have begun
            with contextlib.suppress(ConnectionRefusedError):
                return socket.create_connection(("127.0.0.1", self._target))
            time.sleep(0.1)

    def _hand_on(self, source, target):
        with contextlib.suppress(OSError):
            while sent := source.recv(65536):
                time.sleep(0.05)
                if not self._cut.is_set():
                    target.sendall(sent)
        if not self._cut.is_set():
            target.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_pair(workdir, addresses, prefixes=((), ()), **options):
    """Both processes; each with where it finds process 0, and what it is started by."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    given = {"JAX_PLATFORMS": "cpu", "JAX_NUM_PROCESSES": "2"}
    return [
        subprocess.Popen(
            [*prefix, *command(workdir, **options)],
            env=os.environ
            | given
            | {"JAX_COORDINATOR_ADDRESS": address, "JAX_PROCESS_ID": str(number)},
            **pipes,
        )
        for number, (address, prefix) in enumerate(zip(addresses, prefixes, strict=True))
    ]


def run_to_the_end(workdir):
    pair = start_pair(workdir, [f"127.0.0.1:{free_port()}"] * 2, **OPTIONS)
    assert [finish(process)[0] for process in pair] == [0, 0]
    return losses_of(workdir)


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    return run_to_the_end(tmp_path_factory.mktemp("uncut") / "run")


def check_both_end_and_go_on(workdir, pair, cut, uncut):
    wait_for_steps(workdir, 7, pair[0])
    cut()
    since = time.monotonic()
    for number, process in enumerate(pair):
        status, _, err = finish(process, timeout=HEARTBEAT + 30)
        (line,) = (line for line in err.splitlines() if line.startswith("error"))
        told = f"process {number}: process {1 - number} did not answer for {HEARTBEAT} s"
        assert status == 75 and told in line
    assert time.monotonic() - since < HEARTBEAT + 30
    names = [path.name for path in (workdir / "checkpoints").iterdir()]
    assert any(name.isdecimal() for name in names)  # beside one that was not finished
    assert len(logged(workdir)) < 20
    assert run_to_the_end(workdir) == uncut


@pytest.mark.parametrize("attempt", range(10))
def test_through_a_relay(tmp_path, uncut, attempt):
    """What the processes agree by is cut; sums of gradients have a way of their own."""
    port = free_port()
    relay = Relay(port)
    addresses = [f"127.0.0.1:{port}", f"127.0.0.1:{relay.port}"]
    pair = start_pair(tmp_path / "run", addresses, **ENDLESS)
    check_both_end_and_go_on(tmp_path / "run", pair, relay.cut, uncut)


@pytest.fixture
def hosts():
    """What starts a process on each of two hosts with a link, 10.9.8.1 and 10.9.8.2, and its cut.

    Each is a namespace of network and name; the name is the address, by which Gloo is found.
    """
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("no unshare, nsenter or ip here")
    holders = [subprocess.Popen(["unshare", "-n", "-u", "sleep", "600"]) for _ in range(2)]
    prefixes = [["nsenter", "-t", str(h.pid), "-n", "-u", "--"] for h in holders]
    try:
        time.sleep(0.5)
        ends = ["link0", "netns", str(holders[0].pid), "type", "veth", "peer"]
        ends += ["name", "link1", "netns", str(holders[1].pid)]
        lines = [["ip", "link", "add", *ends]]
        for number, prefix in enumerate(prefixes):
            address, name = f"10.9.8.{number + 1}", f"link{number}"
            lines += [[*prefix, "hostname", address]]
            lines += [[*prefix, "ip", "addr", "add", f"{address}/24", "dev", name]]
            lines += [[*prefix, "ip", "link", "set", up, "up"] for up in ("lo", name)]
        if any(subprocess.run(line, stderr=subprocess.DEVNULL).returncode for line in lines):
            pytest.skip("no network namespaces can be made here")
        down = [*prefixes[1], "ip", "link", "set", "link1", "down"]
        yield prefixes, lambda: subprocess.run(down, check=True)
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def test_an_interface_that_is_taken_down(tmp_path, hosts, uncut):
    prefixes, cut = hosts
    pair = start_pair(tmp_path / "run", ["10.9.8.1:5000"] * 2, prefixes, **ENDLESS)
    check_both_end_and_go_on(tmp_path / "run", pair, cut, uncut)
