"""log.trace_steps: one file per step with all ranks, their steps, and arrows between them."""

from support import Case, main

PIPELINE = ("--set", "mesh.pp=2", "--set", "model.layers=2", "--set", "batch.micro=1")


class Trace(Case):
    def events(self, step):
        trace = self.read_json(f"run/trace/step-{step:08}.json")
        self.assertEqual(trace["otherData"]["step"], step)
        return trace["traceEvents"]

    def test_a_traced_step_shows_all_ranks_and_every_message(self):
        err = self.lamina("train", "run.toml", "--ranks", "2", *PIPELINE, "--set", "log.trace_steps=[2, 3]").err
        self.assertEqual(sorted(p.name for p in self.path("run/trace").iterdir()),
                         ["step-00000002.json", "step-00000003.json"])
        self.assertIn("step-00000002.json", err)
        for step in (2, 3):
            events = self.events(step)
            steps = [e for e in events if e["ph"] == "X"]
            self.assertEqual({e["pid"] for e in steps}, {0, 1})
            # One event per step of the programs that `lamina plan` prints.
            for rank in (0, 1):
                printed = self.lamina("plan", "run.toml", "--ranks", "2", *PIPELINE, "--rank", rank, "--json").json()
                planned = sum(p["steps"] for p in printed["programs"] if p["name"] in ("forward_backward", "control", "update"))
                self.assertEqual(sum(e["pid"] == rank for e in steps), planned)
            self.expect_streams_in_order(steps)
            self.expect_arrows(events, steps)
            threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
            self.assertEqual((threads[0, 0], threads[1, 0]), ("compute", "compute"))
            self.assertTrue(any(e["args"].get("waited_us", 0) > 0 for e in steps if e["pid"] == 1))
            for e in steps:
                self.assertEqual(threads[e["pid"], e["tid"]] == "compute", e["cat"] in ("kernel", "copy"), e)
                self.assertGreaterEqual(e["ts"], 0)
            forward = [e for e in steps if e["args"]["program"] == "forward_backward" and e["cat"] == "kernel"]
            self.assertEqual({e["args"].get("micro_batch") for e in forward if e["args"]["flops"] > 1000}, {0, 1, 2, 3})
            self.assertEqual({(e["pid"], e["args"]["stage"]) for e in forward if "micro_batch" in e["args"]}, {(0, 0), (1, 1)})

    def expect_streams_in_order(self, steps):
        ends = {}
        for e in sorted(steps, key=lambda e: (e["ts"], e["ts"] + e["dur"])):
            stream = (e["pid"], e["tid"])
            self.assertGreaterEqual(e["ts"], ends.get(stream, 0) - 0.002, "steps of a stream do not overlap")
            ends[stream] = e["ts"] + e["dur"]

    def expect_arrows(self, events, steps):
        def target(arrow):
            hits = [e for e in steps if (e["pid"], e["tid"]) == (arrow["pid"], arrow["tid"])
                    and e["cat"] in ("send", "recv") and e["ts"] <= arrow["ts"] <= e["ts"] + e["dur"]]
            self.assertTrue(hits, arrow)
            return hits[-1]

        sends = {e["id"]: e for e in events if e["ph"] == "s"}
        receives = {e["id"]: e for e in events if e["ph"] == "f"}
        # Four micro-batches, forward and back.
        self.assertEqual(len(sends), 8)
        self.assertEqual(sends.keys(), receives.keys())
        self.assertEqual(len(sends), sum(e["cat"] == "send" for e in steps))
        self.assertEqual(len(receives), sum(e["cat"] == "recv" for e in steps))
        for identity, send in sends.items():
            begin, end = target(send), target(receives[identity])
            self.assertEqual((begin["cat"], end["cat"]), ("send", "recv"))
            self.assertNotEqual(begin["pid"], end["pid"])
            for what in ("program", "micro_batch", "bytes"):
                self.assertEqual(begin["args"][what], end["args"][what])
            self.assertGreater(end["ts"] + end["dur"], begin["ts"], "received before it was sent")

    def test_a_trace_that_cannot_be_written_does_not_stop_the_run(self):
        self.path("run").mkdir()
        self.write("run/trace", "a file in the way")
        err = self.lamina("train", "run.toml", "--set", "log.trace_steps=[1]").err
        self.assertIn("could not be written", err)
        self.assertEqual(len(self.metrics()), 4)
        self.path("run/trace").unlink()
        self.lamina("train", "run.toml", "--set", "log.trace_steps=[5]", "--set", "run.steps=5")
        self.assertEqual({e["pid"] for e in self.events(5)}, {0})


main()
