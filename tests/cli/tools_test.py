"""lamina data, bench and doctor."""

import json
import struct

from support import Case, main


class Tools(Case):
    def test_packed_text_is_described(self):
        report = self.lamina("data", "pack", "text.txt", "-o", "a b.bin", "--json").json()
        size = self.path("text.txt").stat().st_size
        self.assertEqual((report["tokens"], report["documents"], report["vocab"]), (size, 1, 256))
        d = self.lamina("data", "inspect", "a b.bin", "--json").json()[0]
        self.assertEqual((d["format"], d["tokens"], d["bytes"]), ("nanogpt", size, 2 * size))
        self.assertLess(d["largest_token"], 256)
        self.assertIn(f"{size} tokens", self.lamina("data", "inspect", "a b.bin").out)
        for form in ("llm.c", "megatron"):
            self.lamina("data", "pack", "text.txt", "-o", "c.bin", "--format", form)
            self.assertEqual(self.lamina("data", "inspect", "c.bin", "--json").json()[0]["tokens"], size)
        shards = self.lamina("data", "pack", "text.txt", "-o", "s.bin", "--shard-tokens", "1000", "--json").json()["shards"]
        self.assertEqual(len(shards), (size + 999) // 1000)

    def test_bad_files_are_named(self):
        self.write("empty.bin", "")
        self.path("odd.bin").write_bytes(b"abc")
        self.path("cut.bin").write_bytes(struct.pack("<3i", 20240520, 1, 1000) + bytes(1024 - 12))
        for name in ("empty.bin", "odd.bin", "cut.bin", "nothing.bin"):
            err = self.lamina("data", "inspect", name, code=3).err
            self.assertIn(name, err)
            self.assertIn("error[data.", err)
        self.lamina("data", "pack", "nothing.txt", "-o", "x.bin", code=3)
        self.lamina("data", "pack", "text.txt", "-o", "x.bin", "--tokenizer", "nothing.json", code=3)
        self.lamina("data", "pack", "text.txt", "-o", "nowhere/x.bin", code=7)
        self.assertFalse(self.path("x.bin").exists())

    def test_a_step_is_measured(self):
        b = self.lamina("bench", "step", "run.toml", "--steps", "2", "--json").json()
        self.assertEqual(len(b["times"]), 2)
        self.assertGreater(b["tokens_per_s"], 0)
        self.assertTrue(b["kernels"])
        self.assertFalse(self.path("run").exists())

    def test_communication_is_measured(self):
        with_pace = ("bench", "comm", "run.toml", "--ranks", "2", "--steps", "2", "--json", "--link")
        b = self.lamina(*with_pace, "1 MB").json()
        self.assertEqual(b["link_bytes_per_s"], 1e6)
        # Two ranks, each held to the speed: all that is sent takes at least half as long as one of them alone would.
        self.assertGreater(b["communication_s"], 0.5 * b["sent_bytes"] / 1e6)
        self.assertGreater(b["step_s"], b["without_communication_s"])
        self.assertLess(self.lamina(*with_pace, "100 GB").json()["communication_s"], b["communication_s"])
        self.assertIn("unit", self.lamina(*with_pace, "7", code=2).err)

    def test_communication_is_traced(self):
        self.lamina("bench", "comm", "run.toml", "--ranks", "2", "--steps", "1", "--link", "1 GB", "--trace", "seen")
        whole, without, alone = (
            {e["cat"] for e in json.loads(self.path(f"seen/trace/step-0000000{i}.json").read_text())["traceEvents"] if e["ph"] == "X"}
            for i in (1, 2, 3)
        )
        self.assertEqual(without, {"kernel"})
        self.assertTrue(alone and "kernel" not in alone)
        self.assertEqual(whole, without | alone)

    def test_kernels_are_measured(self):
        rows = self.lamina("bench", "kernels", "--json").json()
        self.assertTrue(any(r["gbytes_per_s"] > 0 for r in rows))

    def test_the_doctor_examines(self):
        checks = {c["check"]: c["value"] for c in self.lamina("doctor", "--json").json()}
        self.assertLessEqual({"version", "instruction set", "cores", "memory", "disk"}, set(checks))
        for library in ("MPI", "HDF5", "Kokkos", "oneDNN"):
            self.assertRegex(checks[library], r"^(none|\S.*\d+\.\d+|\d+\.\d+\S*)$")
        self.assertIn("instruction set", self.lamina("doctor").out)


main()
