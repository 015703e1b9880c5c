#!/usr/bin/env python3
"""Shows that each rule of check.py fails on a planted violation, and only then."""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True  # the source tree stays clean
import check  # noqa: E402

COMPILER = "c++"

# A small tree that keeps every rule.
SOUND = {
    "include/lamina/base/text.hpp": "#pragma once\n#include <string>\n",
    "include/lamina/program/program.hpp": '#pragma once\n#include <vector>\n#include "lamina/base/text.hpp"\n',
    "include/lamina/kernels/add.hpp": '#pragma once\n#include "lamina/base/text.hpp"\n',
    "include/lamina/lamina.hpp": '#pragma once\n#include "lamina/runtime/run.hpp"\n',
    "include/lamina/runtime/run.hpp": "#pragma once\n",
    "src/base/text.cpp": '#include "lamina/base/text.hpp"\n#include <sys/stat.h>\n',
    "src/program/program.cpp": '#include "lamina/program/program.hpp"\n#include "program/detail/line.hpp"\n',
    "src/program/detail/line.hpp": '#pragma once\n#include "lamina/program/program.hpp"\n',
    "src/graph/graph.cpp": '#include "lamina/base/text.hpp"\n',
    "src/kernels/add.cpp":
        '#include "lamina/kernels/add.hpp"\n#include "detail/kokkos.hpp"\n#include "vendor/mpi/mpi.hpp"\n'
        "void add(int n) {\n"
        '  static std::string const label = "lamina::kernels::add";\n'
        "  for_each_slot(label, n, [](int) {});\n"
        '  Kokkos::parallel_for("lamina::kernels::add_tail", n, [](int) {});\n'
        "}\n",
    "src/kernels/detail/kokkos.hpp":
        "#pragma once\n#include <Kokkos_Core.hpp>\n#ifdef KOKKOS_ENABLE_SERIAL\n#endif\n"
        "template <class F>\nvoid for_each_slot(std::string const& label, int n, F const& f) {\n"
        "  Kokkos::parallel_for(label, n, f);\n}\n",
    "src/runtime/run.cpp": '#include "lamina/program/program.hpp"\n#include "lamina/kernels/add.hpp"\n',
    "src/vendor/mpi/mpi.hpp": "#pragma once\n",
    "src/vendor/mpi/mpi.cpp": '#include "vendor/mpi/mpi.hpp"\n#include <mpi.h>\n',
    "apps/lamina.cpp": '#include "lamina/lamina.hpp"\n#include "lamina/program/program.hpp"\n',
    "tests/unit/program/program_test.cpp": '#include "program/detail/line.hpp"\n',
}
LAYERS = ["base:", "program: base", "graph: base", "vendor_mpi: base", "kernels: base vendor_mpi",
          "runtime: program kernels"]


class PlantedViolation(unittest.TestCase):
    def check(self, rule, changes=None, layers=None, headers=None):
        """What a rule says about the sound tree with some files changed."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**SOUND, **(changes or {})}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            (root / "layers.txt").write_text("\n".join(layers or LAYERS))
            if headers is None:
                headers = [name.removeprefix("include/") for name in SOUND if name.startswith("include/")]
            (root / "headers.txt").write_text("\n".join(headers))
            options = argparse.Namespace(layers=root / "layers.txt", headers=root / "headers.txt")
            return "\n".join(check.RULES[rule](check.Tree(root), options))

    def found(self, rule, name, text=None, says="", append="", **more):
        changes = {} if text is None and not append else {name: text if text is not None else SOUND[name] + append}
        message = self.check(rule, changes, **more)
        self.assertIn(name, message, f"{rule} did not notice {name}")
        self.assertIn(says, message)

    def test_the_sound_tree_keeps_every_rule(self):
        for rule in ("layering", "public_headers", "headers_alone", "vendor_headers", "kokkos", "size", "cycles",
                     "labels"):
            self.assertEqual(self.check(rule), "")

    def test_a_violation_is_exit_code_1(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "src").mkdir()
            command = [sys.executable, check.__file__, "size", "--root", folder]
            self.assertEqual(subprocess.run(command).returncode, 0)
            (pathlib.Path(folder) / "src" / "long.cpp").write_text("\n" * 501)
            done = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn("src/long.cpp: 501 lines", done.stderr)

    def test_layering(self):
        up = '#include "lamina/program/program.hpp"\n'
        self.found("layering", "src/base/text.cpp", append=up, says="base may include base")
        self.found("layering", "include/lamina/base/text.hpp", append=up)
        self.found("layering", "src/program/program.cpp", append='#include "lamina/graph/not_there.hpp"\n')
        self.found("layering", "src/program/program.cpp", append='#  include "kernels/detail/kokkos.hpp"\n')
        self.found("layering", "src/program/program.cpp", append='#include "vendor/mpi/mpi.hpp"\n')
        self.found("layering", "src/program/program.cpp", append='#include <lamina/kernels/add.hpp>\n')
        self.found("layering", "src/runtime/run.cpp", append='#include "program/detail/line.hpp"\n', says="private")
        self.found("layering", "src/kernels/add.cpp", append='#include "../program/detail/line.hpp"\n')
        self.found("layering", "src/novel/a.cpp", text="", says="no lamina_add_module")

    def test_layering_of_the_modules_themselves(self):
        self.found("layering", "program", layers=LAYERS[:1] + ["program: base runtime"] + LAYERS[2:], says="itself")
        self.found("layering", "runtime", layers=LAYERS[:-1] + ["runtime: program kernels graph"], says="reaches graph")
        self.found("layering", "graph", layers=LAYERS + ["graph: base kernels"], says="reaches kernels")

    def test_public_headers(self):
        name = "include/lamina/kernels/add.hpp"
        for header in ("Kokkos_Core.hpp", "mpi.h", "cuda_runtime.h", "hdf5.h", "dnnl.hpp", "nccl.h", "toml++/toml.h",
                       "nlohmann/json.hpp"):
            self.found("public_headers", name, append=f"#include <{header}>\n", says=header)
        self.found("public_headers", name, append='#include "kernels/detail/kokkos.hpp"\n')

    def test_headers_alone(self):
        self.found("headers_alone", "include/lamina/base/text.hpp", headers=["lamina/lamina.hpp"])

    def test_a_header_that_needs_another_before_it_does_not_compile(self):
        with tempfile.TemporaryDirectory() as folder:
            header = pathlib.Path(folder) / "h.hpp"
            unit = pathlib.Path(folder) / "h.cpp"
            unit.write_text('#include "h.hpp"\n#include "h.hpp"\n')
            for text, sound in (("#pragma once\n#include <string>\nstd::string f();\n", True),
                                ("#pragma once\nstd::string f();\n", False),
                                ("struct Twice {};\n", False)):
                header.write_text(text)
                done = subprocess.run([COMPILER, "-std=c++20", "-fsyntax-only", unit], capture_output=True)
                self.assertEqual(done.returncode == 0, sound, text)

    def test_vendor_headers(self):
        for header in ("mpi.h", "hdf5.h", "dnnl.hpp", "oneapi/dnnl/dnnl.hpp", "cuda_runtime.h", "cublasLt.h", "nccl.h"):
            self.found("vendor_headers", "src/runtime/run.cpp", append=f"#include <{header}>\n", says=header)
        self.found("vendor_headers", "src/vendor/mpi/mpi.hpp", append="#include <mpi.h>\n")
        self.found("vendor_headers", "src/vendor/mpi/mpi.cpp", append="#include <hdf5.h>\n", says="src/vendor/hdf5")
        self.found("vendor_headers", "tests/mpi/comm/a_test.cpp", text="#include <mpi.h>\n")

    def test_kokkos(self):
        self.found("kokkos", "src/runtime/run.cpp", append="#include <Kokkos_Core.hpp>\n")
        self.found("kokkos", "src/kernels/add.cpp", append="#include <Kokkos_Random.hpp>\n")
        self.found("kokkos", "src/runtime/run.cpp", append='#include "kernels/detail/kokkos.hpp"\n')
        self.found("kokkos", "src/kernels/add.cpp", append="#if defined(KOKKOS_ENABLE_CUDA)\n#endif\n")

    def test_size(self):
        self.assertEqual(self.check("size", {"src/base/text.cpp": "\n" * 500}), "")
        self.found("size", "src/base/text.cpp", text="\n" * 501, says="501 lines")
        self.found("size", "tests/unit/program/program_test.cpp", text="\n" * 501)

    def test_cycles(self):
        name = "include/lamina/base/text.hpp"
        self.found("cycles", name, append='#include "lamina/program/program.hpp"\n',
                   says="include/lamina/base and include/lamina/program include each other")

    def test_labels(self):
        name = "src/kernels/add.cpp"
        for line, says in (('Kokkos::parallel_for("add", n, f);', '"add"'),
                           ('Kokkos::parallel_reduce(n, f, sum);', "no label"),
                           ('Kokkos::parallel_for(Kokkos::RangePolicy<E>(0, n), f);', "no label"),
                           ('for_each_slot("kernels::add", n, f);', '"kernels::add"'),
                           ('for_each_slot(n, f);', "no label"),
                           ('static std::string const tail_label = "add";', '"add"'),
                           ('constexpr char label[] = "lamina::add_";x("lamina::Add");', "is not lamina::<module>")):
            self.found("labels", name, append=line + "\n", says=says)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", default=COMPILER)
    options, rest = parser.parse_known_args()
    COMPILER = options.compiler
    unittest.main(argv=[sys.argv[0], *rest])
