"""The run files of apps/examples/classic, and networks of layers over tables and synthetic data."""

import gzip
import json
import math
import tomllib
import unittest

from support import SOURCE, Case, main

CLASSIC = SOURCE / "apps/examples/classic"
ONE_RANK = ("--set", "mesh.dp=1", "--set", "mesh.tp=1", "--set", "mesh.pp=1", "--set", "pipeline.stages=auto")

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


class Classic(Case):
    def setUp(self):
        super().setUp()
        self.path("apps/examples").mkdir(parents=True)
        self.path("apps/examples/classic").symlink_to(CLASSIC)

    def train(self, file, run, *more):
        """Losses of the steps of a run file."""
        self.lamina("train", file, "--set", f"run.dir={run}", "--set", "log.tensorboard=false", *more)
        return [m["loss"] for m in self.metrics(run) if "loss" in m]

    def test_the_digits_are_told_apart(self):
        losses = self.train(CLASSIC / "digits.toml", "digits")
        self.assertLess(losses[-1], 0.2)
        self.assertGreaterEqual(self.metrics("digits")[-1]["valid_accuracy"], 0.97)
        result = self.lamina("eval", "digits", "--json").json()
        self.assertEqual(result["samples"], 359)
        self.assertGreaterEqual(result["accuracy"], 0.97)
        self.assertAlmostEqual(result["accuracy"], self.metrics("digits")[-1]["valid_accuracy"], delta=1e-9)

    def test_every_example_learns_on_one_rank(self):
        files = sorted(CLASSIC.glob("*.toml"))
        self.assertGreaterEqual(len(files), 9)
        for file in files:
            if file.stem.startswith("digits"):
                continue
            with self.subTest(file.stem):
                losses = self.train(file, file.stem, *ONE_RANK, "--steps", "20")
                self.assertEqual(len(losses), 20)
                self.assertLess(losses[-1], 0.8 * losses[0])

    def test_data_parallel_ranks_train_what_one_rank_trains(self):
        file = CLASSIC / "linear_data_parallel.toml"
        small = ("--steps", "5", "--set", "data.samples=200")
        one, two = self.train(file, "one", *small), self.train(file, "two", *small, "--ranks", "2")
        for a, b in zip(one, two, strict=True):
            self.assertAlmostEqual(a / b, 1, delta=1e-5)

    def test_every_example_is_a_run_file_of_its_mesh(self):
        for file in sorted(CLASSIC.glob("*.toml")):
            mesh = tomllib.loads(file.read_text()).get("mesh", {})
            ranks = mesh.get("tp", 1) * mesh.get("pp", 1) * (mesh["dp"] if isinstance(mesh.get("dp"), int) else 1)
            first = " ".join(file.read_text().splitlines()[:6])
            if ranks > 1:
                self.assertIn(f"--ranks {ranks}", first, file.stem)
            printed = self.lamina("plan", file, *ONE_RANK, "--print", "config").out
            self.assertEqual(tomllib.loads(printed)["model"]["kind"], "layers")


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
