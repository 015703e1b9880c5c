"""Signals, deadlines, two jobs in one directory, a rank that dies."""

import os
import pathlib
import re
import signal
import sys
import time

from support import PROGRAM, Case, main

LONG = ("--set", "run.steps=1000000", "--set", "checkpoint.every_steps=0", "--set", "log.tensorboard=false")


class Interrupt(Case):
    def running(self, *more, wrapper=()):
        """A long run after its first steps."""
        process = self.start("train", "run.toml", *LONG, *more, wrapper=wrapper)
        metrics = self.path("run/metrics.jsonl")
        self.wait_for(lambda: metrics.is_file() and metrics.read_bytes().count(b"\n") >= 2, process)
        return process

    def check_stopped(self, why):
        status = self.read_json("run/status.json")
        self.assertEqual((status["state"], status["exit_code"]), ("stopped", 75))
        self.assertIn(why, status["reason"])
        self.assertEqual(self.lamina("checkpoint", "ls", "run", "--json").json()[-1]["step"], status["step"])
        self.assertEqual(self.metrics()[-1]["step"], status["step"])

    def test_a_signal_stops_at_the_next_step_with_a_checkpoint(self):
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            process = self.running()
            process.send_signal(number)
            err = self.finish(process, 75).err
            self.assertIn("stopped by a signal", err)
            self.check_stopped("a signal")
            self.path("run/metrics.jsonl").unlink()
        step = self.read_json("run/status.json")["step"]
        self.assertIn(f"resuming after step {step}", self.lamina("train", "run.toml", *LONG, "--steps", step + 1).err)

    def test_a_signal_that_comes_before_the_first_step_is_not_lost(self):
        # It waits when the program begins, as if it came the moment after.
        code = "import os, signal as s, sys; s.pthread_sigmask(s.SIG_BLOCK, [s.SIGTERM]); os.kill(os.getpid(), s.SIGTERM)"
        early = (sys.executable, "-c", code + "; os.execv(sys.argv[1], sys.argv[1:])")
        err = self.finish(self.start("train", "run.toml", wrapper=early), 75).err
        self.assertIn("stopped by a signal before the first step", err)
        self.assertEqual(self.read_json("run/status.json")["state"], "stopped")
        self.assertFalse(self.path("run/checkpoints").exists())
        self.lamina("train", "run.toml", "--steps", "2")
        # One rank of two: all stop, and the checkpoint that is there stays the newest.
        script = """[ "$OMPI_COMM_WORLD_RANK" = 1 ] && exec "$0" -c "$1" "$2" "$3" "$4"; exec "$2" "$3" "$4\""""
        two = ("mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2", "sh", "-c", script, early[0], early[2])
        err = self.finish(self.start("train", "run.toml", wrapper=two), 75).err
        self.assertIn("stopped by a signal after step 2", err)
        self.assertEqual(self.read_json("run/status.json")["step"], 2)
        self.assertIn("before a rank was started", self.finish(
            self.start("train", "run.toml", "--ranks", "2", wrapper=early), 75).err)
        self.assertIn("resuming after step 2", self.lamina("train", "run.toml").err)

    def test_mpirun_forwards_sigusr1_to_all_ranks(self):
        process = self.running("--ranks", "2")  # the process has become mpirun
        process.send_signal(signal.SIGUSR1)
        self.finish(process, 75)
        self.check_stopped("a signal")

    def test_a_second_signal_ends_at_once_and_damages_nothing(self):
        self.lamina("train", "run.toml", "--steps", "2")
        self.path("run/metrics.jsonl").unlink()
        process = self.running()
        # Both wait while the process is stopped: no step comes between them.
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        self.finish(process, (-signal.SIGTERM, -signal.SIGUSR1))  # whichever was delivered last
        self.lamina("checkpoint", "verify", "run")
        self.assertIn("resuming after step 2", self.lamina("train", "run.toml", "--steps", "3").err)

    def test_the_deadline_stops_with_a_checkpoint(self):
        self.lamina("train", "run.toml", *LONG, "--max-hours", "0.0001", code=75)
        self.check_stopped("--max-hours")

    def test_one_job_per_run_directory(self):
        process = self.running()
        err = self.refuse(4, "train.run_dir.locked", "train", "run.toml", *LONG).err
        self.assertRegex(err, rf"in use by host \S+, process {process.pid}")
        self.refuse(4, "train.run_dir.locked", "train", "run.toml", *LONG, "--fresh")
        process.kill()
        process.wait()
        self.assertEqual(self.read_json("run/status.json")["state"], "running")  # nobody was left to say otherwise
        self.lamina("train", "run.toml", "--steps", "1")

    def ranks(self):
        """Processes of the program in our directory, by number."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "cwd") == str(self.directory):
                    if os.readlink(entry / "exe") == os.path.realpath(PROGRAM):
                        found.append(int(entry.name))
            except OSError:
                pass  # somebody else's, or gone
        return found

    def test_ranks_do_not_outlive_a_launcher_that_was_killed(self):
        self.lamina("train", "run.toml", "--steps", "2")
        # A launcher whose library does not end the ranks itself, as Open MPI's does, and a script around the rank.
        launcher = ("sh", "-c", """PMI_RANK=0 sh -c '"$@"; exit $?' sh "$@" & wait""", "sh")
        for more, wrapper, ranks in ((("--ranks", "2"), (), 2), ((), launcher, 1)):
            self.path("run/metrics.jsonl").unlink()
            process = self.running(*more, wrapper=wrapper)
            self.assertEqual(len(self.ranks()), ranks)
            process.kill()
            process.wait()
            self.wait_for(lambda: not self.ranks(), seconds=5)
            self.lamina("checkpoint", "verify", "run")
        self.assertIn("resuming after step 2", self.lamina("train", "run.toml", "--steps", "3").err)

    def test_a_killed_rank_ends_the_job_and_the_run_goes_on_from_its_checkpoint(self):
        self.lamina("train", "run.toml", "--steps", "2")
        self.path("run/metrics.jsonl").unlink()
        process = self.running("--ranks", "2")
        rank0 = int(re.search(r"process (\d+)", self.path("run/lock").read_text()).group(1))
        os.kill(rank0, signal.SIGKILL)
        process.communicate(timeout=30)
        self.assertNotEqual(process.returncode, 0)
        time.sleep(0.1)
        self.assertIn("resuming after step 2", self.lamina("train", "run.toml", "--steps", "3").err)


main()
