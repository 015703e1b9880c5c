"""lamina new, then plan, then train, as a newcomer does it."""

import json
import struct

from support import Case, main

SMALL = ("--set", "model.layers=1", "--set", "model.hidden=8", "--set", "model.heads=2", "--set", "model.context=8",
         "--set", "batch.global=2", "--set", "batch.micro=2", "--set", "eval.batches=1", "--set", "device.threads=1")


class New(Case):
    def test_every_preset_plans(self):
        for preset in ("gpt-tiny", "gpt-small", "gpt2-124m", "gpt2-350m", "gpt2-774m", "gpt2-1.5b"):
            out = self.lamina("new", f"{preset}.toml", "--model", preset, "--data", "text.txt").out
            self.assertIn(f"wrote {preset}.toml; next: lamina plan", out)
            plan = self.lamina("plan", f"{preset}.toml", "--ranks", "2", "--json").json()
            self.assertEqual((plan["dp"], plan["verified"]), (2, True))
            self.assertGreater(plan["peak_bytes"], 0)

    def test_a_text_file_trains(self):
        self.lamina("new", "new.toml", "--data", "text.txt", "--dir", "runs/first run")
        self.assertIn("gradients", self.lamina("plan", "new.toml").out)
        self.lamina("train", "new.toml", *SMALL, "--steps", "2")
        self.assertEqual(self.read_json("runs/first run/status.json")["step"], 2)

    def test_packed_shards_train(self):
        self.lamina("data", "pack", "text.txt", "-o", "text.bin")
        self.lamina("new", "new.toml", "--data", "text.bin")
        self.assertIn('kind = "tokens"', self.path("new.toml").read_text())
        self.lamina("plan", "new.toml")
        self.lamina("train", "new.toml", *SMALL, "--steps", "1")
        self.write("short.bin", "")
        self.path("large.bin").write_bytes(struct.pack("<64H", *([60000] * 64)))
        err = self.refuse(3, "data.tokens.range", "train", "new.toml", *SMALL, "--set", "data.train=large.bin",
                          "--set", "run.dir=other").err
        self.assertIn("60000", err)

    def test_nothing_is_overwritten_and_typos_are_explained(self):
        self.refuse(2, "app.new.exists", "new", "run.toml")
        self.assertIn("gpt2-124m", self.refuse(2, "config.new.model", "new", "x.toml", "--model", "gpt2-124").err)
        self.assertFalse(self.path("x.toml").exists())
        self.refuse(7, "io.run_dir.open", "new", "nowhere/x.toml")
        self.refuse(2, "app.new.name", "new", "")

    def test_a_file_name_with_odd_characters_survives(self):
        name = 'a "quoted" näme.txt'
        self.write(name, self.path("text.txt").read_text())
        self.lamina("new", "new.toml", "--data", name)
        self.assertIn(json.dumps(name, ensure_ascii=False), self.path("new.toml").read_text())
        self.lamina("train", "new.toml", *SMALL, "--steps", "1")


main()
