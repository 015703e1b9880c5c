"""lamina eval and lamina generate."""

import math

from support import Trained, main


class Generate(Trained):
    def test_eval_covers_the_whole_validation_set_on_any_number_of_ranks(self):
        one = self.lamina("eval", "run", "--json").json()
        self.assertEqual((one["step"], one["data"]), (4, "valid"))
        self.assertAlmostEqual(one["perplexity"], math.exp(one["loss"]), places=6)
        self.assertEqual(one["targets"], one["samples"] * 8)
        self.assertGreater(one["samples"], 4)
        # More ranks than a step of the training has samples.
        three = self.lamina("eval", "run", "--json", "--ranks", "3", "--set", "batch.global=2").json()
        self.assertAlmostEqual(three["loss"], one["loss"], places=6)
        self.assertEqual(three["targets"], one["targets"])
        self.assertRegex(self.lamina("eval", "run.toml").out, r"^step 4  valid loss \d")
        self.assertEqual(self.lamina("eval", "run", "--step", "2", "--json").json()["step"], 2)
        other = self.lamina("eval", "run", "--data", "text.txt", "--json").json()
        self.assertGreater(other["samples"], one["samples"])

    def test_eval_tells_a_mesh_that_it_was_asked_for_and_could_not_take(self):
        for ranks, asked, taken, is_told in (("2", "tp=2", (1, 2, 1), False), ("2", "tp=3", (2, 1, 1), True), ("1", "pp=2", (1, 1, 1), True),
                                             ("2", "dp=auto", (2, 1, 1), False)):
            result = self.lamina("eval", "run", "--json", "--ranks", ranks, "--set", f"mesh.{asked}")
            self.assertEqual(tuple(result.json()["mesh"].values()), taken)
            self.assertEqual("does not fit" in result.err, is_told, result.err)

    def test_eval_without_a_checkpoint_says_what_to_do(self):
        self.refuse(3, "checkpoint.load.none", "eval", "run.toml", "--set", "run.dir=none")
        self.refuse(2, "app.run_directory.none", "eval", ".")
        self.refuse(2, "config.file.missing", "eval", "nothing")
        self.lamina("eval", "run", "--step", "3", code=3)

    def test_the_same_seed_writes_the_same_text(self):
        def written(*more):
            return self.lamina("generate", "run", "--prompt", "line", "--tokens", "24", *more).out

        self.assertTrue(written().startswith("line"))
        self.assertEqual(written("--seed", "3"), written("--seed", "3"))
        self.assertNotEqual(written("--seed", "3"), written("--seed", "4"))
        greedy = written("--temperature", "0")
        self.assertEqual(greedy, written("--temperature", "0", "--seed", "9"))
        self.assertEqual(greedy, written("--top-k", "1"))

    def test_prompts_of_every_kind(self):
        out = self.lamina("generate", "run", "--prompt", "-", "--tokens", "3", stdin="hällo ☃".encode()).out
        self.assertTrue(out.startswith("hällo ☃"))
        for prompt in ("", "ü", "longer than the context of eight tokens"):
            self.assertTrue(self.lamina("generate", "run", "--prompt", prompt, "--tokens", "20").out.startswith(prompt))
        self.assertEqual(self.lamina("generate", "run", "--prompt", "x", "--tokens", "0").out, "x\n")

    def test_token_files_without_their_tokenizer_warn(self):
        self.lamina("data", "pack", "text.txt", "-o", "text.bin")
        self.lamina("train", "run.toml", "--steps", "1", "--set", "run.dir=wide", "--set", "data.kind=tokens",
                    "--set", "data.train=text.bin", "--set", "model.vocab=300")
        self.assertIn("--tokenizer", self.lamina("generate", "wide", "--tokens", "8").err)

    def test_a_prompt_that_fits_the_context_is_read_whole(self):
        # 64 tokens are read at a time; of the 70, six are not a whole chunk. What is written must not depend on where
        # the prompt ends.
        self.lamina("train", "run.toml", "--set", "run.dir=long", "--set", "model.context=70", "--set", "model.tied=false",
                    "--set", "model.hidden=32", "--set", "optimizer.lr=0.0", "--steps", "1")

        def written(head, count):
            process = self.start("generate", "long", "--prompt", "-", "--tokens", count, "--temperature", "0")
            out, err = process.communicate(head, timeout=60)
            self.assertEqual(process.returncode, 0, err.decode())
            return out[:-1]

        whole = written(bytes(97 + i * i % 26 for i in range(60)), 10)
        self.assertEqual(len(whole), 70)
        for length in (63, 64, 65, 69):
            self.assertEqual(written(whole[:length], 70 - length), whole, length)

    def test_a_moved_run_directory_is_read_where_it_is(self):
        self.path("run").rename(self.path("moved"))
        self.assertEqual(self.lamina("eval", "moved", "--json").json()["step"], 4)
        self.refuse(3, "checkpoint.load.none", "generate", "run.toml")

    def test_a_context_of_one_token_generates(self):
        self.lamina("train", "run.toml", "--set", "run.dir=one", "--set", "model.context=1", "--steps", "1")
        self.assertTrue(self.lamina("generate", "one", "--prompt", "ab", "--tokens", "5").out.startswith("ab"))


main()
