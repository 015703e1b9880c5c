"""apps/examples/custom_model against the installed package: find_package(lamina), and a model of one's own."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from support import SOURCE, Case, main

CMAKE = os.environ["LAMINA_CMAKE"]


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=150, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command}\n{done.stdout.decode()}")


class Package(Case):
    @classmethod
    def setUpClass(cls):
        cls.home = pathlib.Path(tempfile.mkdtemp(prefix="lamina-package-"))
        cls.addClassCleanup(shutil.rmtree, cls.home, ignore_errors=True)
        prefix, build = cls.home / "prefix", cls.home / "build"
        run(CMAKE, "--install", os.environ["LAMINA_BUILD"], "--prefix", prefix)
        run(CMAKE, "-S", SOURCE / "apps/examples/custom_model", "-B", build, "-G", os.environ["LAMINA_GENERATOR"],
            f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={os.environ['LAMINA_COMPILER']}",
            "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_EXE_LINKER_FLAGS={os.environ['LAMINA_LINKER_FLAGS']}")
        run(CMAKE, "--build", build)
        cls.program = build / "custom_model"
        cls.prefix = prefix

    def own(self, *arguments, **more):
        return self.lamina(*arguments, program=self.program, **more)

    def test_a_model_of_ones_own_has_every_command(self):
        file = SOURCE / "apps/examples/custom_model/run.toml"
        here = ("--set", "run.dir=run", "--set", "data.train=text.txt", "--set", "device.threads=1")
        self.assertIn("blocks.1", self.own("plan", file, *here).out)
        self.assertIn("depth = 2", self.own("plan", file, *here, "--print", "config").out)
        self.own("train", file, *here, "--steps", "2", "--ranks", "2")
        self.assertIn("resuming after step 2", self.own("train", file, *here, "--steps", "4").err)
        self.refuse(3, "train.resume.model", "train", file, *here, "--set", "model.depth=3", program=self.program)
        self.assertEqual(self.own("eval", "run", "--json").json()["step"], 4)
        text = self.own("generate", "run", "--prompt", "line", "--tokens", "40", "--temperature", "0").out
        self.assertTrue(text.startswith("line"))
        self.refuse(2, "app.checkpoint.export", "checkpoint", "export", "run", "-o", "out", program=self.program)
        self.own("checkpoint", "verify", "run")
        self.refuse(2, "config.model.range", "plan", file, "--set", "model.depth=0", program=self.program)
        # The plain program does not know the model, and says so.
        self.assertIn("parallel_blocks", self.lamina("plan", file, code=2).err)

    def test_the_installed_program_runs(self):
        self.lamina("train", "run.toml", "--steps", "1", program=self.prefix / "bin/lamina")


main()
