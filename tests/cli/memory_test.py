"""A model that one rank cannot hold, and two ranks can: by plan, and by what the system lets a process have."""

import re

from support import Case, main

MIB = 1 << 20
LIMIT = 120 * MIB  # of the plan of a rank: one rank needs 203 MiB, one of two 117 MiB at the most
PROCESS = 200 * MIB  # of all that a process may have: less than that one rank's plan

RUN_FILE = """\
[run]
dir = "run"
steps = 3
[model]
kind = "gpt"
layers = 16
hidden = 256
heads = 4
context = 8
vocab = 256
tied = false
[data]
kind = "synthetic"
samples = 64
[batch]
global = 2
micro = 1
[optimizer]
lr = 1e-3
[parallel]
bucket = "1 MiB"
[device]
threads = 1
[log]
tensorboard = false
"""


class Memory(Case):
    def setUp(self):
        super().setUp()
        self.write("run.toml", RUN_FILE)

    def run_limited(self, code, *arguments):
        """Under an rlimit on data (heap, arenas, stacks), which the ranks of a job inherit, each of them for itself."""
        return self.finish(self.start(*arguments, wrapper=("prlimit", f"--data={PROCESS}")), code)

    def test_what_one_rank_cannot_hold_trains_on_two_with_the_same_loss(self):
        needs = self.lamina("plan", "run.toml", "--json").json()["peak_bytes"]
        self.assertGreater(needs, PROCESS)
        limit = ("--set", f"memory.limit={LIMIT // MIB} MiB")
        err = self.refuse(5, "plan.memory.limit", "train", "run.toml", *limit).err
        self.assertIn("more ranks", err)
        self.assertEqual(self.read_json("run/status.json")["exit_code"], 5)
        # Without a limit in the run file it is the system's that is kept.
        err = self.run_limited(5, "train", "run.toml").err
        self.assertIn("error[plan.memory.limit]", err)
        self.assertLess(int(re.search(r"at most .*\((\d+) bytes\)", err).group(1)), PROCESS)

        self.lamina("train", "run.toml", "--set", "run.dir=unlimited")
        expected = [m["loss"] for m in self.metrics("unlimited")]
        self.assertEqual(len(set(expected)), 3)
        for key, value in (("mesh.pp", 2), ("mesh.tp", 2), ("parallel.zero", 3)):
            with self.subTest(key):
                some = ("run.toml", "--ranks", "2", "--set", f"{key}={value}", *limit)
                self.run_limited(0, "train", *some, "--set", f"run.dir={key}")
                losses = [m["loss"] for m in self.metrics(key)]
                self.assertEqual(len(losses), len(expected))
                for a, b in zip(losses, expected):
                    self.assertLessEqual(abs(a - b), 1e-5 * b)


main()
