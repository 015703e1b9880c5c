"""lamina plan: every --print, --json, a thousand ranks."""

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


main()
