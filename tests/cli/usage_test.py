"""Arguments and run files that are wrong; help, version and completion."""

import re
import subprocess

from support import RUN_FILE, Case, main


class Usage(Case):
    def test_version_names_the_build(self):
        out = self.lamina("--version").out
        self.assertRegex(out, r"^lamina \d+\.\d+\.\d+")
        self.assertIn("-march=", out)

    def test_every_command_has_help_with_an_example(self):
        pending, seen = [[]], 0
        while pending:
            command = pending.pop()
            out = self.lamina(*command, "--help").out
            self.assertRegex(out, r"(Example|Start here):  .*lamina", command)
            children = out.split("Subcommands:")[1].split("\n\n")[0] if "Subcommands:" in out else ""
            pending += [[*command, name] for name in re.findall(r"^  (\w[\w-]*) ", children, re.M)]
            seen += 1
        self.assertGreater(seen, 20)

    def test_a_mistyped_command_is_named_with_its_neighbour(self):
        self.assertIn("did you mean train?", self.refuse(2, "app.command.unknown", "trian").err)
        self.assertIn("did you mean verify?", self.refuse(2, "app.command.unknown", "checkpoint", "verfy").err)

    def test_commands_that_are_not_there_yet_say_so(self):
        for command in (["simulate", "run.toml"], ["watch", "run"], ["bench", "io"], ["checkpoint", "repair", "x"]):
            self.assertIn("not available yet", self.lamina(*command, code=2).err)

    def test_arguments_that_cannot_be_are_refused(self):
        self.refuse(2, "app.usage")
        self.refuse(2, "app.usage", "train")
        self.assertIn("lamina train --help", self.refuse(2, "app.usage", "train", "run.toml", "--nonsense").err)
        self.assertIn("above 0", self.refuse(2, "app.usage", "train", "run.toml", "--steps", "0").err)
        self.refuse(2, "app.usage", "train", "run.toml", "--max-hours", "nan")
        self.refuse(2, "app.usage", "generate", "run", "--temperature", "-1")
        self.refuse(2, "app.ranks.refused", "train", "run.toml", "--ranks", "0")
        self.refuse(2, "app.ranks.refused", "train", "run.toml", "--ranks", "two")
        inside = {"SLURM_JOB_ID": "7"}
        self.assertIn("srun --mpi=pmix -n 2", self.refuse(2, "app.ranks.refused", "train", "run.toml", "--ranks", "2",
                                                          environment=inside).err)

    def test_ranks_inside_mpirun_are_refused(self):
        self.refuse(2, "app.ranks.refused", "train", "run.toml", "--ranks", "2", environment={"OMPI_COMM_WORLD_SIZE": "2"})

    def test_a_run_file_tells_all_its_problems_at_once(self):
        bad = RUN_FILE.replace("hidden = 8", "hidden = 7").replace("steps = 4", "stepz = 4\nseed = -1")
        self.write("bad.toml", bad + "[mehs]\ndp = 1\n[guard]\npolicy = \"rollback\"\n[optimizer]\nlearning_rate = 1.0\n")
        err = self.refuse(2, "config.run.unknown", "train", "bad.toml").err
        self.assertIn("6 problems", err)
        for place, fix in ((r"bad.toml:3:1: unknown key run.stepz", "did you mean steps?"),
                           (r"bad.toml:4:1: run.seed", "correct the value"),
                           (r"the heads do not divide", "take model.heads from"),
                           (r"unknown section \[mehs\]", r"did you mean \[mesh\]\?"),
                           (r"guard.policy = \"rollback\" is not available yet", "policy = \"stop\""),
                           (r"unknown key optimizer.learning_rate", "optimizer.lr")):
            self.assertRegex(err, place)
            self.assertRegex(err, fix)

    def test_what_the_file_cannot_have_yet_is_refused_and_its_default_accepted(self):
        for key, bad, good in (("guard.policy", "rollback", "skip"), ("guard.spike_factor", "3", "0"),
                               ("guard.replica_hash_every_steps", "5", "0"),
                               ("placement.default", "gpu", "cpu")):
            err = self.lamina("plan", "run.toml", "--set", f"{key}={bad}", code=2).err
            self.assertIn("not available yet", err)
            self.lamina("plan", "run.toml", "--set", f"{key}={good}", "--print", "config")
        for value in ("true", "false"):
            out = self.lamina("plan", "run.toml", "--set", f"checkpoint.async={value}", "--print", "config").out
            self.assertIn(f"async = {value}", out)

    def test_an_error_of_every_rank_is_printed_once_and_without_a_rank(self):
        err = self.refuse(2, "config.batch.replicas", "train", "run.toml", "--ranks", "3", "--set", "batch.global=1").err
        self.assertIn("\nerror[config.batch.replicas]: some replicas", err)
        self.assertIn("at:       src/config/resolve.cpp", err)

    def test_completion_scripts_are_scripts(self):
        bash = self.lamina("completion", "bash").out
        check = subprocess.run(["bash", "-n"], input=bash.encode(), capture_output=True, timeout=20, check=False)
        self.assertEqual(check.returncode, 0, check.stderr)
        ask = bash + 'COMP_WORDS=(lamina checkpoint ver); COMP_CWORD=2; _lamina; echo "${COMPREPLY[@]}"'
        self.assertEqual(subprocess.run(["bash"], input=ask.encode(), capture_output=True, timeout=20,
                                        check=False).stdout.decode().split(), ["verify"])
        ask = bash + 'COMP_WORDS=(lamina train --max); COMP_CWORD=2; _lamina; echo "${COMPREPLY[@]}"'
        self.assertIn("--max-hours", subprocess.run(["bash"], input=ask.encode(), capture_output=True, timeout=20,
                                                    check=False).stdout.decode())
        self.assertIn("#compdef lamina", self.lamina("completion", "zsh").out)
        fish = self.lamina("completion", "fish").out
        for line in fish.splitlines()[1:]:
            self.assertRegex(line, r"^complete -c lamina -n '[^']+' (-a|-l) ")
        self.refuse(2, "app.usage", "completion", "tcsh")


main()
