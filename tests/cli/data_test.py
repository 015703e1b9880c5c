"""Data of a run on the command line: names with special characters, damage far inside, files that change between starts."""

import os
import shutil

from support import SOURCE, Case, main


class Data(Case):
    def test_a_bad_token_far_inside_a_large_file_ends_the_run_at_its_checkpoint(self):
        size, bad, length = 80 << 20, 40 << 20, 8 << 20  # sparse but for the bad part: a tenth of all samples
        shard = self.path("shard.bin")
        with open(shard, "wb") as f:
            f.truncate(size)
            f.seek(bad)
            f.write(b"\xff" * length)
        options = ("--set", "data.kind=tokens", "--set", "data.train=shard.bin", "--set", "data.valid_fraction=0.0", "--set",
                   "model.vocab=256", "--set", "run.steps=40", "--set", "checkpoint.every_steps=1", "--set", "batch.micro=1")
        err = self.refuse(3, "data.tokens.range", "train", "run.toml", "--ranks", "2", *options).err
        offset = int(err.split(f"{shard}', offset ")[1].split()[0])
        self.assertTrue(bad <= offset < bad + length, err)
        self.assertIn("token 65535", err)
        status = self.read_json("run/status.json")
        self.assertEqual((status["state"], status["exit_code"]), ("failed", 3))
        last = self.metrics()[-1]["step"]
        self.assertEqual(self.lamina("checkpoint", "ls", "run", "--json").json()[-1]["step"], last)
        self.lamina("checkpoint", "verify", "run")
        with open(shard, "r+b") as f:  # mended
            f.seek(bad)
            f.write(bytes(length))
        err = self.lamina("train", "run.toml", *options, "--steps", str(last + 2)).err
        self.assertIn(f"resuming after step {last} ", err)
        self.assertEqual([m["step"] for m in self.metrics()], list(range(1, last + 3)))
        with open(shard, "r+b") as f:  # at its end it is found before anything starts
            f.seek(size - 2)
            f.write(b"\xff\xff")
        self.refuse(3, "data.tokens.range", "train", "run.toml", *options)

    def test_patterns_work_in_directories_whose_names_look_like_patterns(self):
        odd = self.path("a [1]*?{b,c}")
        odd.mkdir()
        for i in (1, 2):
            shutil.copy(self.path("text.txt"), odd / f"t_{i}.txt")
        shutil.copy(self.path("run.toml"), odd)
        both = ("--set", "data.train=t_[0-9].txt")
        err = self.finish(self.start("train", "run.toml", "--steps", "1", *both, wrapper=("env", "-C", odd)), 0).err
        self.assertIn("step 1/1", err)
        # The resolved file means the same from elsewhere.
        one, two = (self.lamina("eval", odd / "run", "--json", *more).json() for more in (("--data", odd / "t_1.txt"), ()))
        self.assertGreater(one["targets"], 0)
        self.assertGreater(two["targets"], 0)
        self.lamina("train", odd / "run/config.toml", "--steps", "2")

    def test_a_tilde_is_the_home_directory(self):
        shutil.copy(self.path("text.txt"), self.path("home.txt"))
        here = {"HOME": str(self.directory)}
        self.path("below").mkdir()
        self.write("below/run.toml", self.path("run.toml").read_text())
        options = ("--steps", "1", "--set", "run.dir=~/tilde", "--set", "data.train=~/hom*.txt")
        process = self.start("train", "run.toml", *options, wrapper=("env", "-C", self.path("below")), environment=here)
        self.assertIn("step 1/1", self.finish(process, 0).err)
        self.assertTrue(self.path("tilde/checkpoints/step-00000001").is_dir())
        self.assertFalse(os.path.exists(self.path("below/~")))

    def test_another_tokenizer_under_the_same_name_is_refused_on_resume(self):
        original = (SOURCE / "tests/data/data/tokenizer_small.json").read_text()
        self.write("tokenizer.json", original)
        options = ("--set", "data.tokenizer=tokenizer.json")
        self.lamina("train", "run.toml", "--steps", "1", *options)
        self.assertRegex(self.read_json("run/checkpoints/step-00000001/manifest.json")["tokenizer_hash"], "^[0-9a-f]{32}$")
        self.write("tokenizer.json", original + "\n")
        err = self.refuse(3, "train.resume.tokenizer", "train", "run.toml", "--steps", "2", *options).err
        self.assertIn(str(self.path("tokenizer.json")), err)
        self.write("tokenizer.json", original)
        self.lamina("train", "run.toml", "--steps", "2", *options)

    def test_weights_that_contradict_the_run_file_are_refused_with_the_line(self):
        self.lamina("train", "run.toml", "--steps", "1")
        self.lamina("checkpoint", "export", "run", "-o", "gpt2")
        for line in ("tied = false", 'norm = "post"', 'activation = "relu"'):
            self.write("tune.toml", '[run]\ndir = "tuned"\nsteps = 1\n[model]\nkind = "gpt"\ninit = "gpt2"\n'
                       f'{line}\n[data]\nkind = "text"\ntrain = ["text.txt"]\n[device]\nthreads = 1\n')
            for command in ("train", "plan"):
                self.assertIn("tune.toml:7:", self.refuse(2, "models.gpt.init", command, "tune.toml").err)
        self.assertFalse(self.path("tuned").exists())


main()
