"""Every run file of apps/examples is planned and trained for two steps, with its own model and other data."""

from support import SOURCE, Case, main


class Examples(Case):
    def test_every_example_runs(self):
        files = sorted(SOURCE.glob("apps/examples/*.toml"))
        self.assertTrue(files)
        for file in files:
            here = ("--set", f"run.dir={file.stem}", "--set", "data.train=text.txt")
            self.lamina("plan", file)
            self.lamina("plan", file, "--ranks", "4", *here)
            small = ("--set", "data.valid=text.txt", "--set", "batch.global=2", "--set", "batch.micro=1",
                     "--set", "eval.every_steps=2", "--set", "eval.batches=1")
            self.lamina("train", file, *here, *small, "--steps", "2", "--ranks", "2")
            self.assertEqual([m["step"] for m in self.metrics(file.stem)], [1, 2, 2])


main()
