"""lamina sweep: the table of a plan and of real runs, refused rows, what cannot be."""

import shlex
import signal
import tempfile

from support import SOURCE, Case, main

MESHES = ("--over", "mesh=dp=2|tp=2|pp=2")


class Sweep(Case):
    def setUp(self):
        super().setUp()
        self.temporary = tempfile.mkdtemp(prefix="sweep", dir=self.directory)

    def sweep(self, *arguments, **more):
        return self.lamina("sweep", "run.toml", *arguments, environment={"TMPDIR": self.temporary}, **more)

    def test_plans_are_compared_without_a_rank(self):
        arguments = ("--plan-only", "--set", "model.layers=2", "--set", "batch.micro=1", "--set", "model.hidden=128",
                     "--set", "model.context=64", "--set", "batch.global=8", *MESHES,
                     "--over", "pipeline.schedule=1f1b|zb-h1")
        document = self.sweep(*arguments, "--json").json()
        rows = document["rows"]
        self.assertFalse(document["measured"])
        self.assertEqual([tuple(r["over"].values()) for r in rows],
                         [(m, s) for m in ("dp=2", "tp=2", "pp=2") for s in ("1f1b", "zb-h1")])
        for r in rows:
            self.assertEqual((r["ranks"], r["dp"] * r["tp"] * r["pp"]), (2, 2))
            self.assertGreater(r["bytes_moved"], 0)
            self.assertGreater(r["predicted_step_s"], 0)
            if r["over"]["pipeline.schedule"] == "1f1b":
                continue
            # What a plan of its own says.
            plan = self.lamina("plan", "run.toml", "--ranks", "2", *arguments[1:11], "--set", f"mesh.tp={r['tp']}",
                               "--set", f"mesh.pp={r['pp']}", "--set", f"pipeline.schedule={r['over']['pipeline.schedule']}",
                               "--set", "device.threads=1", "--json").json()
            self.assertEqual(plan["peak_bytes"], r["peak_bytes"])
        self.assertEqual(rows[0]["ratio"], 1)
        self.assertEqual(rows[0]["bubble"], 0)
        self.assertLess(rows[5]["predicted_step_s"], rows[4]["predicted_step_s"])  # which zb-h1 is for
        self.assertGreater(rows[5]["bubble"], 0)
        table = self.sweep(*arguments).out
        self.assertRegex(table.splitlines()[0], r"mesh +pipeline.schedule +ranks +step +tokens/s +ratio +bubble +exposed +peak +moved")
        self.assertEqual(len(table.split("\n\n")[0].splitlines()), 7)
        self.assertFalse(self.path("run").exists())

    def test_bars_and_commas_in_values_stay(self):
        rows = self.sweep("--plan-only", "--over", 'mesh=order=["dp", "pp", "tp"],dp=2|dp=1', "--over", 'run.dir="a|b"|c',
                          "--json").json()["rows"]
        self.assertEqual([(r["over"]["run.dir"], r["ranks"]) for r in rows], [('"a|b"', 2), ("c", 2), ('"a|b"', 1), ("c", 1)])

    def test_rows_that_cannot_run_say_why_in_a_line(self):
        table = self.sweep("--plan-only", "--over", "mesh=tp=1|tp=3|pp=2").out
        lines = table.split("\n\n")[0].splitlines()
        self.assertEqual(len(lines), 4)
        self.assertIn("refused, plan.", lines[2])
        self.assertIn("mesh.tp = 3", lines[2])
        self.assertIn("; fix: ", lines[2])
        rows = self.sweep("--plan-only", "--over", "mesh=tp=3|tp=1", "--json").json()["rows"]
        self.assertIn("plan.", rows[0]["refused"]["code"])
        self.assertNotIn("refused", rows[1])
        self.assertEqual(rows[1]["ratio"], 1)
        # A mesh that no run file may have.
        table = self.sweep("--plan-only", "--over", "mesh=tp=0|tp=1").out
        self.assertRegex(table.splitlines()[1], r"tp=0 +- +refused, config.mesh.range")
        # Another world than the mesh.
        rows = self.sweep("--plan-only", "--ranks", "4", "--over", "mesh=dp=2|dp=4", "--json").json()["rows"]
        self.assertEqual(rows[0]["refused"]["code"], "config.mesh.ranks")
        self.assertEqual(rows[1]["ranks"], 4)

    def test_runs_are_measured_and_leave_nothing_behind(self):
        document = self.sweep("--over", "mesh=dp=1|pp=2", "--set", "model.layers=2", "--steps", "3", "--warmup", "2",
                              "--json").json()
        self.assertTrue(document["measured"])
        for r, ranks in zip(document["rows"], (1, 2), strict=True):
            self.assertEqual((r["ranks"], len(r["times"])), (ranks, 3))
            self.assertEqual(r["step_s"], sorted(r["times"])[1])
            self.assertGreater(r["tokens_per_s"], 0)
            self.assertGreater(r["resident_bytes"], r["peak_bytes"])
        first, second = document["rows"]
        self.assertAlmostEqual(second["ratio"], second["step_s"] / first["step_s"], delta=1e-9)
        self.assertEqual((first["bytes_moved"], first["bubble"], first["exposed_comm_s"]), (0, 0, 0))
        self.assertGreater(second["exposed_comm_s"], 0)
        self.assertEqual(list(self.path(self.temporary).iterdir()), [])
        self.assertFalse(self.path("run").exists())

    def test_a_run_that_fails_is_a_row_too(self):
        result = self.sweep("--over", "data.train=text.txt|nothing.txt", "--steps", "1")
        self.assertIn("run 2 of 2, data.train: nothing.txt: 1 rank", result.err)
        self.assertIn("refused, data.", result.out.splitlines()[2])
        self.assertIn("nothing.txt", result.out.splitlines()[2])

    def test_an_interrupted_sweep_ends_its_run_and_cleans_up(self):
        process = self.start("sweep", "run.toml", "--over", "mesh=dp=2|dp=1", "--steps", "10000",
                             environment={"TMPDIR": self.temporary})
        temporary = self.path(self.temporary)
        self.wait_for(lambda: any(temporary.glob("lamina-sweep-*/1/metrics.jsonl")), process)
        process.send_signal(signal.SIGTERM)
        self.assertIn("stopped by a signal after 0 of 2 runs", self.finish(process, 75).err)
        self.assertEqual(list(temporary.glob("lamina-*")), [])

    def test_what_cannot_be_swept_is_refused(self):
        for over in ("mesh", "=a|b", "mesh=2|4", "batch.micro=1||2", "mesh=dp=1|=2"):
            self.refuse(2, "app.sweep.over", "sweep", "run.toml", "--over", over, "--plan-only")
        self.refuse(2, "app.sweep.steps", "sweep", "run.toml", "--over", "batch.micro=1", "--plan-only", "--steps", "2")
        self.refuse(2, "app.usage", "sweep", "run.toml", "--plan-only")
        self.refuse(2, "app.ranks.refused", "sweep", "run.toml", "--over", "batch.micro=1",
                    environment={"OMPI_COMM_WORLD_SIZE": "2"})
        # What every row meets is told once.
        self.refuse(2, "config.file.missing", "sweep", "nowhere.toml", "--over", "batch.micro=1|2", "--plan-only")
        out = self.lamina("sweep", "run.toml", "--over", "batch.mikro=1|2", "--plan-only", code=2).out
        self.assertEqual(out.count("refused, config.batch.unknown"), 2)

    def test_the_study_of_the_classic_examples_can_be_repeated(self):
        self.path("apps/examples").mkdir(parents=True)
        self.path("apps/examples/classic").symlink_to(SOURCE / "apps/examples/classic")
        readme = (SOURCE / "apps/examples/classic/README.md").read_text()
        commands = [line.removeprefix("lamina ") for line in readme.splitlines() if line.startswith("lamina sweep")]
        self.assertGreaterEqual(len(commands), 3)
        for command in commands:
            arguments = shlex.split(command)
            result = self.lamina(*arguments, *(() if "--plan-only" in arguments else ("--plan-only",)), "--json").json()
            self.assertGreater(len(result["rows"]), 2, command)
            for row in result["rows"]:
                self.assertNotIn("refused", row)
                if "mlp_two_stages" in command:  # activations and their gradients, and the sums that all ranks agree on
                    self.assertEqual(row["bytes_moved"], 2 * 64 * 500 * 4 + 2 * 16 * 8)


main()
