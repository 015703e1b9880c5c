"""run.determinism = "canonical": a run that moves from mesh to mesh ends with the bits of one that stayed on one rank."""

from support import Case, main

MODEL = ("--set", "run.determinism=canonical", "--set", "model.layers=2", "--set", "model.dropout=0.1",
         "--set", "eval.every_steps=2", "--set", "eval.batches=2", "--set", "lr_schedule.decay_steps=4")


class Canonical(Case):
    def numbers(self, run):
        return [{k: m.get(k) for k in ("step", "loss", "grad_norm", "valid_loss")} for m in self.metrics(run)]

    def test_a_run_that_changes_its_mesh_keeps_its_bits(self):
        out = self.lamina("train", "run.toml", *MODEL, "--set", "batch.micro=4")
        self.assertIn("the same bits on every mesh", out.out + out.err)
        there = ("--set", "run.dir=moved", "--set", "batch.micro=1")
        self.lamina("train", "run.toml", *MODEL, *there, "--set", "run.steps=2", "--ranks", "2", "--set", "mesh.tp=2")
        self.lamina("train", "run.toml", *MODEL, *there, "--ranks", "4", "--set", "mesh.pp=2", "--set", "parallel.zero=2")
        self.assertEqual(self.numbers("moved"), self.numbers("run"))
        self.assertIn("equal", self.lamina("checkpoint", "diff", "run", "moved").out)

    def test_a_sum_without_room_ends_the_run_with_its_value_and_layer(self):
        diverges = ("--set", "optimizer.lr=3000", "--set", "optimizer.clip_norm=0", "--set", "device.threads=1")
        err = self.refuse(6, "kernels.exact.range", "train", "run.toml", *MODEL, *diverges).err
        self.assertRegex(err, r"forward_backward, step \d+ linear\S* \S+, micro-batch \d, rank 0: linear\S*: a sum in")
        self.assertRegex(err, r"found: +\S+, in fixed point")

    def test_a_mesh_without_room_for_its_sums_is_refused(self):
        self.refuse(2, "plan.canonical.ranks", "plan", "run.toml", *MODEL, "--ranks", "512", "--set", "batch.global=512")


main()
