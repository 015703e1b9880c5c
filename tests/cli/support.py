"""What the tests of the command line share: a run file that takes milliseconds, and the program in a directory of its own.

The program is $LAMINA. Everything a test starts ends with the test.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

PROGRAM = os.environ["LAMINA"]
PATIENCE = float(os.environ.get("LAMINA_TIME_FACTOR", "1"))  # sanitizers slow a program down
SOURCE = pathlib.Path(__file__).resolve().parents[2]

# Ranks of one machine: naming the transport spares every start a quarter of a second of looking for networks.
OPEN_MPI = {
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,vader",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
}

RUN_FILE = """\
[run]
dir = "run"
steps = 4
[model]
kind = "gpt"
layers = 1
hidden = 8
heads = 2
context = 8
[data]
kind = "text"
train = ["text.txt"]
valid_fraction = 0.1
[batch]
global = 4
micro = 2
[checkpoint]
every_steps = 2
[device]
threads = 1
"""


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def json(self):
        return json.loads(self.out)


class Case(unittest.TestCase):
    """Each test runs in an empty temporary directory with text.txt and run.toml; the directory's name has a blank."""

    maxDiff = None

    def setUp(self):
        self.directory = self.make_directory()
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.sessions = tempfile.mkdtemp(prefix="lamina-")
        self.addCleanup(shutil.rmtree, self.sessions, ignore_errors=True)
        self.started = []
        self.addCleanup(self.end_all)
        self.write("text.txt", "".join(f"line {i} of a text that repeats itself, {i * i}\n" for i in range(60)))
        self.write("run.toml", RUN_FILE)

    def make_directory(self):
        return pathlib.Path(tempfile.mkdtemp(prefix="lamina cli "))

    def path(self, name):
        return self.directory / name

    def write(self, name, content):
        self.path(name).write_text(content)

    def read_json(self, name):
        return json.loads(self.path(name).read_text())

    def metrics(self, run="run"):
        return [json.loads(line) for line in self.path(f"{run}/metrics.jsonl").read_text().splitlines()]

    def start(self, *arguments, program=PROGRAM, wrapper=(), environment=None):
        # Programs that no launcher started share Open MPI's session directory, and the first to end removes it.
        session = tempfile.mkdtemp(prefix="", dir=self.sessions)
        env = dict(os.environ, **OPEN_MPI, OMPI_MCA_orte_tmpdir_base=session, **(environment or {}))
        process = subprocess.Popen(
            [*wrapper, program, *map(str, arguments)],
            cwd=self.directory,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def finish(self, process, code, stdin=b"", seconds=60):
        try:
            out, err = process.communicate(stdin, timeout=seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill_all()
            out, err = process.communicate(timeout=10)
            self.fail(f"still running after {seconds} s\n{out.decode()}\n{err.decode()}")
        result = Result(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
        expected = code if isinstance(code, tuple) else (code,)
        self.assertIn(result.code, expected, f"{process.args}\n{result.out}\n{result.err}")
        return result

    def lamina(self, *arguments, code=0, stdin=b"", program=PROGRAM, environment=None):
        """Runs a command and expects its exit code."""
        return self.finish(self.start(*arguments, program=program, environment=environment), code, stdin)

    def refuse(self, code, error, *arguments, **more):
        """A command that fails with this exit code and this one error, which has all its parts."""
        result = self.lamina(*arguments, code=code, **more)
        self.assertIn(f"error[{error}]", result.err)
        self.assertEqual(result.err.count("error["), 1, result.err)
        for part in ("found:", "expected:", "fix:"):
            self.assertIn(part, result.err)
        return result

    def wait_for(self, what, process=None, seconds=30):
        """Until `what` is true; fails when the process ends before or the time is over."""
        end = time.monotonic() + seconds * PATIENCE
        while not what():
            if process and process.poll() is not None and not what():
                self.kill_all()
                self.fail(f"ended early\n{process.communicate(timeout=10)}")
            if time.monotonic() > end:
                self.fail("waited too long")
            time.sleep(0.01)

    def kill_all(self):
        """mpirun puts ranks into groups of their own, and they outlive it: whatever works in our directory is ours."""
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(str(self.directory)):
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                pass  # somebody else's, or gone

    def end_all(self):
        self.kill_all()
        for process in self.started:
            process.wait(timeout=10)
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()


class Trained(Case):
    """Each test finds run.toml trained to its end in run/. It is trained once for the class: every test starts with an
    untouched copy of it at the same path, because a run directory names the files it was trained with."""

    @classmethod
    def setUpClass(cls):
        cls.home = pathlib.Path(tempfile.mkdtemp(prefix="lamina cli "))
        cls.addClassCleanup(shutil.rmtree, cls.home, ignore_errors=True)

    def make_directory(self):
        directory = self.home / "a directory"
        directory.mkdir()
        return directory

    def setUp(self):
        super().setUp()
        kept = self.home / "kept"
        if kept.exists():
            shutil.copytree(kept, self.directory, dirs_exist_ok=True)
        else:
            self.lamina("train", "run.toml")
            shutil.copytree(self.directory, kept)


def main():
    unittest.main(verbosity=2)
