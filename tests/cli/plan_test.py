"""lamina plan: every --print, --json, a thousand ranks."""

import json

from support import Case, main


class Plan(Case):
    def test_every_print_is_there_and_repeats(self):
        expected = {"config": "[model]\n", "graph": "embed", "plan": "peak:", "program": "forward_backward", "memory": "parameters"}
        for what, word in expected.items():
            arguments = ("plan", "run.toml", "--ranks", "2", "--rank", "1", "--print", what)
            out = self.lamina(*arguments).out
            self.assertIn(word, out)
            self.assertEqual(out, self.lamina(*arguments).out)
        self.assertEqual(self.lamina("plan", "run.toml").out, self.lamina("plan", "run.toml", "--print", "plan").out)

    def test_the_resolved_file_is_a_run_file(self):
        out = self.lamina("plan", "run.toml", "--print", "config").out
        self.write("again.toml", out)
        self.assertEqual(self.lamina("plan", "again.toml", "--print", "config").out, out)
        self.assertIn("vocab = 256", out)

    def test_a_thousand_ranks_are_planned_without_any_of_them(self):
        plan = self.lamina("plan", "run.toml", "--ranks", "1024", "--set", "batch.global=4096", "--json").json()
        self.assertEqual((plan["ranks"], plan["dp"], plan["micro_batches"], plan["verified"]), (1024, 1024, 2, True))
        self.assertIn("1024", self.lamina("plan", "run.toml", "--ranks", "1024", "--set", "batch.global=4096").out)

    def test_the_data_need_not_be_there(self):
        self.path("text.txt").unlink()
        self.lamina("plan", "run.toml")

    def test_what_does_not_fit_is_refused(self):
        err = self.refuse(5, "plan.memory.limit", "plan", "run.toml", "--set", "memory.limit=64KiB").err
        self.assertIn("largest buffers", err)
        self.refuse(2, "app.plan.rank", "plan", "run.toml", "--ranks", "2", "--rank", "2", "--print", "memory")
        self.refuse(2, "config.mesh.ranks", "plan", "run.toml", "--ranks", "2", "--set", "mesh.dp=3")
        self.refuse(2, "app.usage", "plan", "run.toml", "--print", "everything")
        self.refuse(2, "app.usage", "plan", "run.toml", "--ranks", "0")

    def test_the_plan_shows_stages_links_and_the_predicted_step(self):
        cut = ("--ranks", "4", "--set", "mesh.pp=2", "--set", "mesh.tp=2", "--set", "model.layers=2")
        out = self.lamina("plan", "run.toml", *cut).out
        for word in ("pipeline: 1f1b", "pp 0 (stage 0)", "pp.0>1", "bubble", "predicted step", "assumed: "):
            self.assertIn(word, out)

    def test_memory_shows_what_other_settings_would_do(self):
        out = self.lamina("plan", "run.toml", "--ranks", "2", "--print", "memory").out
        for word in ("as it is", 'memory.recompute = "full"', "batch.micro = 1", "parallel.zero = 3", "bf16"):
            self.assertIn(word, out)
        plan = self.lamina("plan", "run.toml", "--ranks", "2", "--print", "memory", "--json").json()
        self.assertEqual(plan["settings"][0]["peak_bytes"], plan["peak_bytes"])
        self.assertGreater(len(plan["settings"]), 6)

    def test_every_kind_of_output_is_a_document_with_json(self):
        cut = ("--ranks", "4", "--set", "mesh.pp=2", "--set", "mesh.tp=2", "--set", "model.layers=2")
        for what in ("config", "graph", "program", "schedule"):
            text = self.lamina("plan", "run.toml", *cut, "--print", what).out
            lines = self.lamina("plan", "run.toml", *cut, "--print", what, "--json").json()
            self.assertEqual("\n".join(lines[what]) + "\n", text)
        plan = self.lamina("plan", "run.toml", *cut, "--json").json()
        self.assertEqual(sum(row["parameters"] for row in plan["layers"]), plan["parameters"])
        self.assertEqual([(row["stage"], row["ranks"]) for row in plan["layers"]][0::len(plan["layers"]) - 1], [(0, "0-1"), (1, "2-3")])
        self.assertIn("{0-1} {2-3}", [row["ranks"] for row in plan["groups"] if row["name"] == "tp"])

    def test_a_schedule_that_was_printed_is_the_same_as_a_file(self):
        for kind, pp, chunks in (("zb-h1", 2, 1), ("interleaved", 2, 2), ("1f1b", 1, 1)):
            cut = ["--ranks", str(pp)] + [x for key, value in (("mesh.pp", pp), ("pipeline.chunks", chunks), ("model.layers", 4),
                   ("batch.global", 8), ("batch.micro", 2)) for x in ("--set", f"{key}={value}")]
            made = ("--set", f"pipeline.schedule={kind}")
            self.write("own.schedule", self.lamina("plan", "run.toml", *cut, *made, "--print", "schedule").out)
            file = ("--set", "pipeline.schedule=file", "--set", "pipeline.file=own.schedule")
            program = [self.lamina("plan", "run.toml", *cut, *how, "--print", "program").out for how in (made, file)]
            self.assertEqual(*program)
            out = self.lamina("plan", "run.toml", *cut, *file, "--print", "config").out
            self.assertIn(json.dumps(str(self.directory / "own.schedule")), out)  # means the same from everywhere
        self.assertIn("a directory", self.refuse(2, "plan.schedule.file", "plan", "run.toml", *cut, "--set",
                                                 "pipeline.schedule=file", "--set", "pipeline.file=.").err)

    def test_settings_without_effect_are_told(self):
        cut = ("plan", "run.toml", "--ranks", "2", "--set", "device.threads=0", "--set", "mesh.pp=2", "--set", "model.layers=4", "--set", "batch.micro=1")
        self.assertIn("warning: pipeline.chunks = 2 has no effect", self.lamina(*cut, "--set", "pipeline.chunks=2").err)
        self.assertIn("is 1f1b", self.lamina(*cut, "--set", "pipeline.schedule=interleaved").err)
        self.assertNotIn("warning", self.lamina(*cut, "--set", "pipeline.schedule=interleaved", "--set", "pipeline.chunks=2").err)
        self.assertIn("1 thread a rank", self.lamina(*cut).err)
        self.assertNotIn("1 thread a rank", self.lamina(*cut, "--set", "device.threads=2").err)

    def test_fit_finds_what_only_whole_activations_reach(self):
        """The scratch of sequence parallelism is more than what it saves in a small model."""
        cut = ["--ranks", "2"] + [x for s in ("mesh.tp=2", "model.layers=2", "batch.micro=1") for x in ("--set", s)]
        whole = self.lamina("plan", "run.toml", *cut, "--set", "parallel.sequence_parallel=false", "--json").json()["peak_bytes"]
        self.assertLess(whole, self.lamina("plan", "run.toml", *cut, "--json").json()["peak_bytes"])
        fit = self.lamina("plan", "run.toml", *cut, "--set", "memory.recompute=full", "--fit", f"{whole - 1} B", "--json")
        full = self.lamina("plan", "run.toml", *cut, "--set", "memory.recompute=full", "--set", "parallel.sequence_parallel=false",
                           "--json").json()["peak_bytes"]
        self.assertLess(full, whole)
        self.assertEqual((fit.json()["changes"], fit.json()["peak_bytes"]), (["parallel.sequence_parallel = false"], full))

    def test_fit_says_what_fits(self):
        self.assertIn("fits as it is", self.lamina("plan", "run.toml", "--fit", "8GiB").out)
        fit = self.lamina("plan", "run.toml", "--fit", "8GiB", "--json").json()
        self.assertEqual((fit["changes"], fit["limit_bytes"]), ([], 8 << 30))
        wide = ("--set", "model.context=512", "--set", "model.hidden=64", "--set", "batch.global=8", "--set", "batch.micro=8")
        peak = self.lamina("plan", "run.toml", *wide, "--json").json()["peak_bytes"]
        change = self.lamina("plan", "run.toml", *wide, "--fit", f"{peak - 1} B", "--json").json()
        self.assertGreater(len(change["changes"]), 0)
        self.assertLess(change["peak_bytes"], peak)
        self.refuse(5, "plan.memory.fit", "plan", "run.toml", "--fit", "64KiB")
        self.refuse(2, "base.units.missing", "plan", "run.toml", "--fit", "8")


main()
