"""lamina checkpoint: ls, verify, diff, export, import; damage is found, named, and the run falls back."""

from support import Trained, main


class Checkpoint(Trained):
    def flip_a_bit(self, name, role, step=4):
        folder = f"run/checkpoints/step-{step:08}"
        tensor = next(t for t in self.read_json(f"{folder}/manifest.json")["tensors"] if (t["name"], t["role"]) == (name, role))
        file = self.path(f"{folder}/{tensor['file']}")
        content = bytearray(file.read_bytes())
        content[tensor["offset"] + 5] ^= 4
        file.write_bytes(content)

    def test_ls_lists_what_is_there(self):
        out = self.lamina("checkpoint", "ls", "run").out
        self.assertRegex(out, r"step-00000002  step 2, 64 tokens, \d+ tensors, .*\n.*step-00000004  step 4, 128 tokens")
        listed = self.lamina("checkpoint", "ls", "run", "--json").json()
        self.assertEqual([c["step"] for c in listed], [2, 4])
        names = {(t["name"], t["role"]) for t in listed[0]["tensors"]}
        for role in ("parameter", "moment1", "moment2"):
            self.assertIn(("blocks.0.attn.qkv.weight", role), names)
        self.refuse(3, "checkpoint.list.none", "checkpoint", "ls", "nothing")

    def test_old_checkpoints_go_and_multiples_stay(self):
        self.lamina("train", "run.toml", "--set", "run.steps=10", "--set", "checkpoint.keep=1", "--set", "checkpoint.keep_every=8")
        self.assertEqual([c["step"] for c in self.lamina("checkpoint", "ls", "run", "--json").json()], [8, 10])

    def test_a_flipped_bit_is_found_and_named_and_the_run_falls_back(self):
        self.assertEqual(self.lamina("checkpoint", "verify", "run").out.count("sound"), 2)
        self.flip_a_bit("blocks.0.mlp.fc.weight", "moment1")
        out = self.lamina("checkpoint", "verify", "run", code=3).out
        self.assertIn("DAMAGED", out)
        self.assertIn("blocks.0.mlp.fc.weight", out)
        problems = self.lamina("checkpoint", "verify", "run", "--json", code=3).json()
        self.assertEqual([len(c["problems"]) > 0 for c in problems], [False, True])
        err = self.lamina("train", "run.toml", "--set", "run.steps=5").err
        self.assertIn("skipped a damaged checkpoint", err)
        self.assertIn("resuming after step 2", err)
        self.assertEqual([m["step"] for m in self.metrics()], [1, 2, 3, 4, 5])

    def test_a_cut_file_or_a_missing_manifest_is_damage_that_verify_finds(self):
        newest = self.path("run/checkpoints/step-00000004")
        (newest / "tensors-0.h5").write_bytes(b"")
        out = self.lamina("checkpoint", "verify", "run", code=3).out
        self.assertRegex(out, r"step-00000002  sound.*\n.*step-00000004  DAMAGED\n.*0 bytes")
        listed = self.lamina("checkpoint", "ls", "run")
        self.assertNotIn("step-00000004", listed.out)
        self.assertIn("step-00000004 is not complete", listed.err)
        (newest / "manifest.json").unlink()
        self.assertIn("manifest.json", self.lamina("checkpoint", "verify", "run", code=3).out)

    def test_diff_tells_what_differs(self):
        a, b = "run/checkpoints/step-00000002", "run/checkpoints/step-00000004"
        self.assertIn("equal:", self.lamina("checkpoint", "diff", b, "run").out)
        self.assertRegex(self.lamina("checkpoint", "diff", a, b, code=3).out, r"embed.tokens.weight +\d+ of 2048 differ, max abs")
        rows = self.lamina("checkpoint", "diff", a, b, "--json", code=3).json()
        self.assertTrue(all(r["note"] == "" and r["count"] > 0 for r in rows))
        self.refuse(2, "app.checkpoint.diff", "checkpoint", "diff", "run")

    def test_weights_go_out_to_hugging_face_and_come_back(self):
        self.lamina("checkpoint", "export", "run", "-o", "gpt2 out")
        self.assertEqual(self.read_json("gpt2 out/config.json")["n_embd"], 8)
        self.lamina("checkpoint", "import", "gpt2 out", "-o", "back")
        rows = self.lamina("checkpoint", "diff", "run", "back", "--json", code=3).json()
        parameters = [r for r in rows if r["role"] == "parameter"]
        self.assertTrue(parameters)
        self.assertTrue(all(r["note"] == "" and r["differing"] == 0 for r in parameters))
        text = ("--tokens", "12", "--prompt", "line", "--temperature", "0", "--tokenizer", "bytes")
        self.assertEqual(self.lamina("generate", "run", *text).out, self.lamina("generate", "back", *text).out)
        self.write("tune.toml", '[run]\ndir = "whole"\nsteps = 1\n[model]\nkind = "gpt"\ninit = "gpt2 out"\n'
                   '[data]\nkind = "text"\ntrain = ["text.txt"]\n[device]\nthreads = 1\n')
        self.lamina("train", "tune.toml")  # all sizes come from config.json
        self.assertIn("context = 8\n", self.path("whole/config.toml").read_text())
        started = self.lamina("train", "run.toml", "--set", "run.dir=tuned", "--set", "model.init=gpt2 out", "--steps", "1").err
        self.assertIn("step 1/1", started)
        self.assertLess(self.metrics("tuned")[0]["loss"], self.metrics()[0]["loss"])

    def test_what_gpt2_cannot_hold_is_not_exported(self):
        self.lamina("train", "run.toml", "--set", "run.dir=relu", "--set", "model.activation=relu", "--steps", "1")
        self.refuse(2, "app.checkpoint.export", "checkpoint", "export", "relu", "-o", "out")
        self.assertFalse(self.path("out").exists())
        self.lamina("checkpoint", "import", "nothing", "-o", "out", code=3)


main()
