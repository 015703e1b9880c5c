"""Training: alone and on ranks, --steps, resuming, --fresh, what may change, numerical failures, the run directory."""

import json
import os
import unittest

from support import Case, main


class Train(Case):
    def test_a_run_stops_resumes_and_ends_as_if_it_had_not_stopped(self):
        whole = self.lamina("train", "run.toml", "--set", "run.dir=whole", "--set", "eval.every_steps=2")
        self.assertIn("1 rank, 1 node", whole.err)
        self.assertIn(str(self.directory / "whole"), whole.err)
        self.assertNotIn("\r", whole.err)
        self.assertEqual(whole.out, "")
        self.lamina("train", "run.toml", "--steps", "3", "--set", "eval.every_steps=2")
        status = self.read_json("run/status.json")
        self.assertEqual((status["state"], status["exit_code"], status["step"]), ("done", 0, 3))
        # Lines after the checkpoint, as a crash leaves them.
        with open(self.path("run/metrics.jsonl"), "a", encoding="utf-8") as file:
            file.write('{"step":4,"loss":0.0}\n{"step":4,"los')
        resumed = self.lamina("train", "run.toml", "--set", "eval.every_steps=2")
        self.assertIn("resuming after step 3", resumed.err)

        def numbers(run):
            return [(m["step"], m.get("loss"), m.get("grad_norm"), m.get("valid_loss")) for m in self.metrics(run)]

        self.assertEqual(numbers("run"), numbers("whole"))
        self.assertEqual([m["step"] for m in self.metrics()], [1, 2, 2, 3, 4, 4])
        self.assertIn("equal:", self.lamina("checkpoint", "diff", "run", "whole").out)
        again = self.lamina("train", "run.toml")
        self.assertIn("nothing to do", again.err)
        self.assertIn("raise run.steps", again.err)
        self.assertEqual(self.read_json("run/status.json")["state"], "done")

    def test_a_measurement_writes_no_checkpoint(self):
        self.lamina("train", "run.toml", "--no-checkpoint")
        self.assertEqual([m["step"] for m in self.metrics()], [1, 2, 3, 4])
        self.assertFalse(self.path("run/checkpoints").exists())

    def test_two_ranks_train_what_one_rank_trains(self):
        self.lamina("train", "run.toml", "--ranks", "2")
        self.lamina("train", "run.toml", "--set", "run.dir=one")
        for two, one in zip(self.metrics(), self.metrics("one"), strict=True):
            self.assertAlmostEqual(two["loss"], one["loss"], delta=1e-5)
            self.assertEqual(two["tokens"], one["tokens"])
        record = self.read_json("run/record.json")["starts"][0]
        self.assertEqual(len(record["hosts"]), 2)
        # One rank goes on with what two have written.
        self.assertIn("resuming after step 4", self.lamina("train", "run.toml", "--set", "run.steps=5").err)

    def test_automatic_ranks_make_whole_replicas(self):
        self.lamina("train", "run.toml", "--ranks", "auto", "--set", "mesh.pp=2", "--steps", "1", "--no-checkpoint")
        hosts = self.read_json("run/record.json")["starts"][0]["hosts"]
        self.assertEqual((len(hosts) > 0, len(hosts) % 2), (True, 0))
        self.lamina("train", "run.toml", "--ranks", "auto", "--set", "mesh.dp=3", "--steps", "1", "--no-checkpoint",
                    "--set", "run.dir=three", "--set", "batch.global=3", "--set", "batch.micro=1")
        self.assertEqual(len(self.read_json("three/record.json")["starts"][0]["hosts"]), 3)

    def test_the_run_directory_says_what_was_run(self):
        self.lamina("train", "run.toml", "--steps", "2", environment={"SLURM_JOB_NAME": "trial"})
        for name in ("config.toml", "record.json", "metrics.jsonl", "status.json", "checkpoints/step-00000002/manifest.json"):
            self.assertTrue(self.path(f"run/{name}").is_file(), name)
        record = self.read_json("run/record.json")["starts"][0]
        self.assertEqual(record["command_line"][1:], ["train", "run.toml", "--steps", "2"])
        self.assertEqual(record["slurm"], {"SLURM_JOB_NAME": "trial"})
        self.assertTrue(record["plan_hash"])
        first = self.metrics()[0]
        self.assertLessEqual({"step", "loss", "grad_norm", "lr", "tokens", "step_s", "tokens_per_s", "mfu",
                              "exposed_comm_s", "peak_bytes"}, set(first))
        self.assertEqual(first["tokens"], 4 * 8)
        self.assertEqual(len(os.listdir(self.path("run/tensorboard"))), 1)
        # The resolved file is a run file, with absolute paths.
        out = self.lamina("plan", "run/config.toml", "--print", "config").out
        self.assertEqual(out, self.path("run/config.toml").read_text())
        self.assertIn(json.dumps(str(self.directory / "text.txt")), out)

    def test_fresh_moves_the_earlier_run_aside(self):
        for number in (1, 2):
            self.lamina("train", "run.toml", "--steps", "1")
            err = self.lamina("train", "run.toml", "--steps", "1", "--fresh").err
            self.assertIn(f"moved the earlier run to {self.directory}/run.{number}", err)
            self.assertTrue(self.path(f"run.{number}/checkpoints/step-00000001").is_dir())
        self.assertIn("step 1 ", self.lamina("eval", "run.1").out)

    def test_fresh_leaves_the_earlier_run_where_it_is_when_the_new_one_is_refused(self):
        self.lamina("train", "run.toml", "--steps", "1")
        before = self.path("run/status.json").read_text()
        self.refuse(5, "plan.memory.limit", "train", "run.toml", "--fresh", "--set", "memory.limit=1KiB")
        self.assertEqual(self.path("run/status.json").read_text(), before)
        self.assertFalse(self.path("run.1").exists())
        self.assertIn("resuming after step 1", self.lamina("train", "run.toml", "--steps", "2").err)

    def test_what_may_change_on_resume_and_what_may_not(self):
        self.lamina("train", "run.toml", "--steps", "1")
        err = self.lamina("train", "run.toml", "--steps", "2", "--set", "optimizer.lr=1e-4", "--set", "batch.micro=4").err
        self.assertIn("warning: optimizer.lr changed from 6e-04 to 1e-04", err.replace("0.0006", "6e-04").replace("0.0001", "1e-04"))
        self.assertIn("\nrun.steps changed", self.lamina("train", "run.toml", "--set", "run.steps=5", "--steps", "3").err)
        for key, value, code in (("model.layers", "2", "model"), ("run.seed", "2", "seed"), ("optimizer.kind", "sgd", "optimizer")):
            self.refuse(3, f"train.resume.{code}", "train", "run.toml", "--set", f"{key}={value}")
        self.assertEqual(self.read_json("run/status.json")["state"], "failed")
        self.lamina("train", "run.toml")
        self.assertEqual(self.read_json("run/status.json")["state"], "done")

    def test_a_plan_above_the_limit_is_refused_before_anything_is_allocated(self):
        self.refuse(5, "plan.memory.limit", "train", "run.toml", "--set", "memory.limit=1KiB")
        self.assertEqual(self.read_json("run/status.json")["exit_code"], 5)

    def test_data_that_are_missing_or_too_small_are_refused(self):
        self.write("empty.txt", "")
        self.refuse(3, "data.files.none", "train", "run.toml", "--set", "data.train=nothing*.txt")
        self.refuse(3, "data.train.short", "train", "run.toml", "--set", "data.train=empty.txt")
        self.refuse(3, "data.valid.short", "train", "run.toml", "--set", "data.valid_fraction=0.0", "--set", "data.valid=empty.txt")
        self.refuse(3, "data.tokenizer.vocab", "train", "run.toml", "--set", "model.vocab=255")

    def test_a_directory_that_cannot_be_written_is_a_file_system_error(self):
        self.refuse(7, "io.run_dir.create", "train", "run.toml", "--set", "run.dir=text.txt/run")
        self.refuse(7, "io.run_dir.create", "train", "run.toml", "--set", "run.dir=/proc/none/run")

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_a_read_only_directory_is_a_file_system_error(self):
        self.path("locked").mkdir(mode=0o555)
        self.refuse(7, "io.run_dir.create", "train", "run.toml", "--set", "run.dir=locked/run")

    def test_paths_of_odd_names_work_or_are_refused_at_once(self):
        folder = self.path("a [1]*")
        folder.mkdir()
        self.write("a [1]*/text.txt", self.path("text.txt").read_text())
        self.lamina("train", "run.toml", "--steps", "1", "--set", "data.train=a [1]*/text.txt", "--set", "run.dir=a [1]*/run")
        latin = os.fsencode(self.path("latin")) + b"\xe4"
        os.mkdir(latin)
        process = self.start("train", self.path("run.toml"), wrapper=("env", "-C", latin))
        self.assertIn("app.paths.utf8", self.finish(process, 2).err)

    def test_a_diverging_run_stops_with_the_weights_before_the_step(self):
        wild = ("--set", "optimizer.lr=1e6", "--set", "optimizer.weight_decay=1e3", "--set", "optimizer.clip_norm=0",
                "--set", "run.steps=60", "--set", "checkpoint.every_steps=1", "--set", "lr_schedule.kind=constant")
        err = self.refuse(6, "train.numerics.not_finite", "train", "run.toml", *wild).err
        self.assertIn("guard.policy", err)
        status = self.read_json("run/status.json")
        self.assertEqual((status["state"], status["exit_code"]), ("failed", 6))
        # Every finite step was saved: the newest checkpoint is that of the step before, and it is sound.
        last = self.metrics()[-1]["step"]
        self.assertEqual(self.lamina("checkpoint", "ls", "run", "--json").json()[-1]["step"], last)
        self.lamina("checkpoint", "verify", "run")
        skipped = self.lamina("train", "run.toml", *wild, "--set", "guard.policy=skip", "--steps", str(last + 2)).err
        self.assertIn("skipped the update", skipped)
        lines = self.metrics()
        self.assertEqual([m["step"] for m in lines], list(range(1, last + 3)))
        self.assertIsNone(lines[-1]["loss"] and lines[-1]["grad_norm"])
        weights = [self.lamina("checkpoint", "diff", f"run/checkpoints/step-{s:08}", f"run/checkpoints/step-{s + 1:08}").out
                   for s in (last + 1,)]
        self.assertIn("equal", weights[0])

    def test_odd_sizes_train(self):
        self.lamina("train", "run.toml", "--set", "model.context=1", "--steps", "1", "--set", "run.dir=a")
        self.lamina("train", "run.toml", "--ranks", "3", "--set", "batch.global=7", "--set", "batch.micro=3", "--steps", "1")
        self.assertEqual(self.metrics()[0]["tokens"], 7 * 8)


main()
