"""The run files of apps/examples/classic, and networks of layers over tables and synthetic data."""

import gzip
import json
import math
import re
import tomllib
import unittest

from support import SOURCE, Case, main

CLASSIC = SOURCE / "apps/examples/classic"
ONE_RANK = ("--set", "mesh.dp=1", "--set", "mesh.tp=1", "--set", "mesh.pp=1", "--set", "pipeline.stages=auto")
QUICK = ("--set", "log.tensorboard=false", "--set", "device.threads=1")

NETWORK = """\
[run]
dir = "run"
steps = 60
[model]
kind = "layers"
input = [2]
layers = [{ op = "linear", out = 16 }, { op = "relu" }, { op = "linear", out = 2 }]
[data]
kind = "table"
train = ["train.csv"]
valid = ["valid.csv.gz"]
[batch]
global = 10
micro = 4
[optimizer]
lr = 2e-2
[eval]
every_steps = 30
[checkpoint]
every_steps = 0
[device]
threads = 1
"""


def table(out, title):
    """Rows below the line that begins with `title`, by column; columns are two or more blanks apart."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(title))
    columns = re.split(r"\s{2,}", lines[start + 1].strip())
    rows = []
    for line in lines[start + 2:]:
        if not line.startswith("  "):
            break
        rows.append(dict(zip(columns, re.split(r"\s{2,}", line.strip()))))
    return rows


class Classic(Case):
    def setUp(self):
        super().setUp()
        self.path("apps/examples").mkdir(parents=True)
        self.path("apps/examples/classic").symlink_to(CLASSIC)

    def train(self, name, run, *more):
        """Losses of the steps of a run file."""
        self.lamina("train", CLASSIC / f"{name}.toml", "--set", f"run.dir={run}", *QUICK, *more)
        return [m["loss"] for m in self.metrics(run) if "loss" in m]

    def expect_equal(self, losses, expected, name):
        self.assertEqual(len(losses), len(expected))
        for step, (a, b) in enumerate(zip(losses, expected), 1):
            self.assertLessEqual(abs(a - b), 1e-5 * abs(b), f"{name}, step {step}: {a}, on one rank {b}")

    def test_a_network_split_in_any_way_trains_as_on_one_rank(self):
        steps = ("--steps", "30")
        one = self.train("mlp_two_stages", "one", *steps, *ONE_RANK)
        self.assertLess(one[-1], 0.5 * one[0])
        for name, ranks in {"mlp_two_stages": 2, "mlp_three_stages": 3, "mlp_returning": 2,
                            "hybrid": 4, "hybrid_tensor": 4}.items():
            with self.subTest(name):
                self.expect_equal(self.train(name, name, *steps, "--ranks", ranks), one, name)

    def test_a_linear_layer_split_by_samples_columns_or_rows_trains_as_on_one_rank(self):
        steps = ("--steps", "8")
        for names in (("linear_data_parallel",), ("linear_columns", "linear_rows")):
            one = self.train(names[0], "one" + names[0], *steps, *ONE_RANK)
            self.assertLess(one[-1], 0.95 * one[0])
            for name in names:
                with self.subTest(name):
                    self.expect_equal(self.train(name, name, *steps, "--ranks", "2"), one, name)

    def test_the_digits_are_told_apart_by_a_pipeline_as_by_one_rank(self):
        one = self.train("digits_pipeline", "one", *ONE_RANK)
        two = self.train("digits_pipeline", "two", "--ranks", "2")
        self.expect_equal(two, one, "digits_pipeline")
        self.assertLess(two[-1], 0.2)
        accuracies = [self.metrics(run)[-1]["valid_accuracy"] for run in ("one", "two")]
        self.assertGreaterEqual(accuracies[0], 0.97)
        self.assertEqual(accuracies[0], accuracies[1])
        result = self.lamina("eval", "two", "--json", *ONE_RANK).json()  # what two ranks have saved, on one
        self.assertEqual((result["samples"], result["accuracy"]), (359, accuracies[1]))

    def test_the_digits_are_told_apart_without_a_pipeline(self):
        self.train("digits", "digits", "--steps", "200")
        self.assertGreaterEqual(self.metrics("digits")[-1]["valid_accuracy"], 0.96)

    def test_the_large_example_is_planned_as_it_stands(self):
        file = CLASSIC / "large.toml"
        self.assertEqual(self.lamina("plan", file, "--ranks", "2", "--json").json()["parameters"], 809_321_296)
        out = self.lamina("plan", file, "--ranks", "2").out
        layers = table(out, "layers of forward_backward: 809321296 parameters")
        self.assertEqual(sum(int(row["parameters"]) for row in layers), 809_321_296)
        self.assertEqual((layers[0]["layer"], layers[-1]["layer"]), ("embed", "head"))
        # Two stages, one behind the other: the head weighs as much as four layers, the embedding nothing.
        stages = [int(row["stage"]) for row in layers]
        self.assertEqual(stages, sorted(stages))
        self.assertEqual([row["ranks"] for row in layers], [str(s) for s in stages])
        self.assertEqual(stages.count(0), 28, stages)
        # A step sends four micro-batches of [1, 512, 2048] f32 there, and their gradients back.
        links = {row["link"]: row for row in table(out, "bytes over each link")}
        for link in ("pp.0>1", "pp.1>0"):
            self.assertEqual((links[link]["what"], int(links[link]["bytes of all"])), ("send", 4 * 512 * 2048 * 4))
        peaks = {}
        for recompute in ("none", "selective", "full"):
            out = self.lamina("plan", file, "--ranks", "2", "--set", f"memory.recompute={recompute}").out
            kinds = table(out, "memory by kind of rank")
            self.assertEqual([row["pp"] for row in kinds], ["0", "1"])
            peaks[recompute] = [int(row["peak"].split()[0]) for row in kinds]
            # Parameters, gradients and two moments, of which each rank has its stage's.
            self.assertGreater(sum(peaks[recompute]), 16 * 809_321_296)
        for rank in (0, 1):
            self.assertLess(peaks["full"][rank], peaks["selective"][rank])
            self.assertLess(peaks["selective"][rank], peaks["none"][rank])

    def test_the_large_example_on_a_small_scale_learns_on_two_ranks(self):
        steps = ("--steps", "15")
        one = self.train("large_scaled_down", "one", *steps, *ONE_RANK)
        two = self.train("large_scaled_down", "two", *steps, "--ranks", "2")
        self.expect_equal(two, one, "large_scaled_down")
        self.assertLess(two[-1], 0.8 * two[0])
        # The cut inside of a layer, and everything computed again in the backward.
        stages = ('[{layers = ["embed", "blocks.0-1", "blocks.2.attn"], at = 0}, '
                  '{layers = ["blocks.2.mlp", "blocks.3-5", "head"], at = 1}]')
        again = self.train("large_scaled_down", "again", "--steps", "4", "--ranks", "2", "--set", "memory.recompute=full",
                           "--set", f"pipeline.stages={stages}")
        self.expect_equal(again, one[:4], "recomputed")

    def test_every_example_says_how_it_is_started(self):
        for file in sorted(CLASSIC.glob("*.toml")):
            with self.subTest(file.stem):
                mesh = tomllib.loads(file.read_text()).get("mesh", {})
                ranks = mesh.get("tp", 1) * mesh.get("pp", 1) * (mesh["dp"] if isinstance(mesh.get("dp"), int) else 1)
                head = [line for line in file.read_text().splitlines() if line.startswith("#")]
                self.assertTrue(any(file.name in line and (ranks == 1 or f"--ranks {ranks}" in line) for line in head))
                self.assertTrue(self.lamina("plan", file, "--ranks", ranks, "--json").json()["verified"])
                self.assertIn(f"`{file.name}`", (CLASSIC / "README.md").read_text())


class Layers(Case):
    def setUp(self):
        super().setUp()
        self.write("run.toml", NETWORK)
        rows = [(math.cos(i), math.sin(2.5 * i)) for i in range(97)]
        lines = [f"{x:.4f},{y:.4f},{int(x + y > 0)}" for x, y in rows]
        self.write("train.csv", "x,y,side\n" + "\n".join(lines[:80]) + "\n")
        self.path("valid.csv.gz").write_bytes(gzip.compress(("x,y,side\n" + "\n".join(lines[80:])).encode()))

    def test_a_table_is_learnt_evaluated_and_resumed(self):
        err = self.lamina("train", "run.toml", "--steps", "30").err
        self.assertIn("samples/s", err)
        self.lamina("train", "run.toml")
        lines = self.metrics()
        evaluations = [m for m in lines if "valid_loss" in m]
        self.assertEqual([m["step"] for m in evaluations], [30, 60])
        self.assertGreater(evaluations[-1]["valid_accuracy"], 0.8)
        self.assertEqual(lines[-2]["tokens"], 600)
        self.lamina("train", "run.toml", "--set", "run.dir=whole")
        whole = self.metrics("whole")
        self.assertEqual([m.get("loss") for m in lines], [m.get("loss") for m in whole])
        self.assertIn("equal:", self.lamina("checkpoint", "diff", "run", "whole").out)
        out = self.lamina("eval", "run").out
        self.assertIn("accuracy", out)
        self.assertNotIn("perplexity", out)
        on_train = self.lamina("eval", "run", "--data", "train.csv", "--json").json()
        self.assertEqual(on_train["targets"], 80)
        two = self.lamina("eval", "run", "--ranks", "2", "--json").json()
        self.assertAlmostEqual(two["accuracy"], evaluations[-1]["valid_accuracy"], delta=1e-9)
        self.refuse(3, "train.resume.model", "train", "run.toml", "--set", "model.layers=[{ op = \"linear\", out = 2 }]",
                    "--set", "run.steps=70")

    def test_values_are_learnt_by_mse(self):
        mse = ("--set", "model.loss=mse", "--set", "model.layers=[{ op = \"linear\", out = 1 }]",
               "--set", "optimizer.kind=sgd", "--set", "optimizer.lr=0.1")
        self.lamina("train", "run.toml", *mse)
        lines = self.metrics()
        self.assertLess(lines[-2]["loss"], 0.7 * lines[0]["loss"])
        self.assertNotIn("valid_accuracy", lines[-1])
        self.assertNotIn("accuracy", self.lamina("eval", "run", "--json").json())

    def test_a_bad_table_is_a_data_error_with_its_place(self):
        self.write("train.csv", "x,y,side\n1,2,0\n1,oops,1\n")
        err = self.refuse(3, "data.table.number", "train", "run.toml").err
        self.assertIn("train.csv:3:3", err)
        self.write("train.csv", "x,y,side\n1,2,2\n")
        self.assertIn("train.csv:2, field 3 (side)", self.refuse(3, "data.table.class", "train", "run.toml").err)
        self.refuse(2, "config.data.model", "train", "run.toml", "--set", "data.kind=text")

    def test_a_network_has_no_text_to_generate_and_exports_under_its_own_names(self):
        self.lamina("train", "run.toml", "--steps", "2")
        self.refuse(2, "app.generate.model", "generate", "run")
        self.lamina("checkpoint", "export", "run", "-o", "weights")
        content = self.path("weights/model.safetensors").read_bytes()
        header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
        self.assertEqual(header["linear1.weight"]["shape"], [16, 2])
        self.assertEqual(header["linear2.bias"]["shape"], [2])
        # They are initial values of another run.
        init = ("--set", "model.init=weights/model.safetensors", "--set", "run.dir=second")
        first = self.lamina("eval", "run", "--json").json()["loss"]
        self.assertAlmostEqual(self.lamina("eval", "run.toml", *init, "--json").json()["loss"], first, delta=1e-12)
        self.refuse(3, "checkpoint.safetensors.shape", "train", "run.toml", *init, "--set", "model.layers="
                    "[{ op = \"linear\", out = 15 }, { op = \"relu\" }, { op = \"linear\", out = 2 }]")

    def test_a_new_run_file_of_a_network_works(self):
        self.lamina("new", "mlp.toml", "--model", "mlp")
        self.lamina("train", "mlp.toml", "--steps", "3", "--set", "run.dir=mlp")
        self.assertEqual([m["step"] for m in self.metrics("mlp")], [1, 2, 3])
        self.lamina("bench", "step", "mlp.toml", "--steps", "2", "--warmup", "1", "--json")

    def test_a_gpt_trains_on_synthetic_tokens(self):
        self.write("gpt.toml", "[run]\ndir = \"gpt\"\nsteps = 30\n[model]\nkind = \"gpt\"\nlayers = 1\nhidden = 16\nheads = 2\n"
                   "context = 8\n[data]\nkind = \"synthetic\"\nvocab = 20\nsamples = 64\n[batch]\nglobal = 8\nmicro = 8\n"
                   "[optimizer]\nlr = 2e-2\n[device]\nthreads = 1\n")
        self.lamina("train", "gpt.toml")
        losses = [m["loss"] for m in self.metrics("gpt")]
        self.assertLess(losses[-1], 0.9 * losses[0])


if __name__ == "__main__":
    main()
