#!/usr/bin/env python3
"""bench/run against made-up contenders: what it must never hide or mix up."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

RUN = Path(__file__).resolve().parent / "run"

# A contender whose answers are given as {row: action}; an action is a list of values, one per call,
# or one of the words below.
FAKE = """#!{python}
import json, os, signal, sys, time
name, answers, state = {name!r}, {answers!r}, {state!r}
if sys.argv[1] == "--list":
    print("\\n".join(answers)); sys.exit(0)
if sys.argv[1] == "--version":
    print(json.dumps({{"impl": name, "version": "made-up 1"}})); sys.exit(0)
row, procs = sys.argv[1], int(sys.argv[3])
action = answers[row]
if action == "crash": os.kill(os.getpid(), signal.SIGSEGV)
if action == "hang": time.sleep(60)
if action == "check": sys.exit("check failed: the sum of the leaves")
if action == "garbage": print("Segmentation"); sys.exit(0)
if action == "environment": action = [float("GOGC" in os.environ or "GORT_MAXPROCS" in os.environ)]
extra = {{}}
if action == "starved": action, extra = [1.0], {{"cpu_per_wall": 0.5}}
calls = state + "." + row + str(procs)
turn = os.path.getsize(calls) if os.path.exists(calls) else 0
open(calls, "a").write(".")
value = action[turn % len(action)]
if value == "crash": os.kill(os.getpid(), signal.SIGSEGV)
if value == "end_runner": os.kill(os.getppid(), signal.SIGKILL); sys.exit(1)
said = {{"row": row, "impl": name, "procs": procs, "value": value, "unit": "ns", "extra": extra}}
print(json.dumps(said))
"""


class RunTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.build = Path(self.directory.name)
        (self.build / "bench").mkdir()

    def contender(self, name, program, answers):
        path = self.build / "bench" / program
        path.write_text(
            FAKE.format(
                python=sys.executable, name=name, answers=answers, state=str(path) + ".calls"
            )
        )
        path.chmod(0o755)

    def run_bench(self, *arguments, environment=None):
        out = self.build / "out.json"
        done = subprocess.run(
            [RUN, "--build", self.build, "--json", out, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | (environment or {}),
        )
        self.assertIn(done.returncode, (0, 1), done.stderr)
        lines = {
            (line["row"], line["procs"]): line for line in json.loads(out.read_text())["lines"]
        }
        return done, lines

    def table_line(self, done, row):
        return next(line for line in done.stdout.splitlines() if line.startswith(row + " "))

    def test_median_spread_and_ratio(self):
        self.contender("gort", "gort_bench", {"yield2": [30.0, 10.0, 20.0]})
        self.contender("go", "go_peer", {"yield2": [100.0]})
        self.contender("boost", "boost_peer", {"yield2": [40.0]})
        done, lines = self.run_bench("--row", "yield2", "--rounds", "3")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(
            lines["yield2", 1]["figures"]["gort"],
            {"median": 20.0, "min": 10.0, "max": 30.0, "samples": 3},
        )
        self.assertEqual(lines["yield2", 1]["ratios"], {"go": 0.2, "boost": 0.5})
        self.assertEqual(lines["yield2", 1]["verdict"], "ok")
        self.assertIn("20 [10-30]", self.table_line(done, "yield2"))

    def test_a_lost_row_is_shown_and_is_no_error(self):
        self.contender("gort", "gort_bench", {"yield2": [50.0], "switch": [9.0]})
        self.contender("go", "go_peer", {"yield2": [100.0]})
        self.contender("boost", "boost_peer", {"yield2": [40.0], "switch": [5.0]})
        done, lines = self.run_bench("--row", "yield2", "--row", "switch", "--rounds", "1")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(lines["yield2", 2]["verdict"], "MISS go 0.50x, boost 1.25x")
        self.assertEqual(lines["switch", 1]["verdict"], "MISS 9")
        self.assertIn("1.80x", self.table_line(done, "switch"))

    def test_whatever_goes_wrong_is_named(self):
        self.contender("gort", "gort_bench", {"switch": "crash", "yield2": "hang", "skynet": [1.0]})
        self.contender("go", "go_peer", {"yield2": "check"})
        self.contender("boost", "boost_peer", {"yield2": "garbage"})
        done, lines = self.run_bench(
            "--row",
            "yield2",
            "--row",
            "switch",
            "--row",
            "skynet",
            "--rounds",
            "1",
            "--timeout",
            "4",
        )
        self.assertEqual(done.returncode, 1)
        self.assertEqual(
            lines["yield2", 1]["cells"], {"gort": "TIMEOUT", "go": "FAILED", "boost": "FAILED"}
        )
        self.assertEqual(lines["switch", 1]["cells"], {"gort": "CRASHED", "go": "-", "boost": "-"})
        self.assertEqual(lines["yield2", 1]["verdict"], "FAILED")
        self.assertIn("the sum of the leaves", done.stdout)
        self.assertIn("skynet procs 1 round 1: answered for another unit", done.stdout)

    def test_one_crash_of_three_is_not_averaged_away(self):
        self.contender("gort", "gort_bench", {"switch": [2.0, "crash", 2.0]})
        done, lines = self.run_bench("--row", "switch", "--rounds", "3")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(lines["switch", 1]["verdict"], "FAILED")
        self.assertIn("2 (1 CRASHED)", self.table_line(done, "switch"))

    def test_an_absent_peer_leaves_its_ratios_unjudged(self):
        self.contender("gort", "gort_bench", {"yield2": [1.0]})
        self.contender("boost", "boost_peer", {"yield2": [40.0]})
        done, lines = self.run_bench("--row", "yield2", "--rounds", "1")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(lines["yield2", 1]["verdict"], "not judged: no go")
        self.assertIn("absent: go", done.stdout)

    def test_without_gort_it_fails(self):
        self.contender("go", "go_peer", {"yield2": [40.0]})
        done, _ = self.run_bench("--row", "yield2", "--rounds", "1")
        self.assertEqual(done.returncode, 1)

    def test_settings_of_the_caller_do_not_reach_a_contender(self):
        self.contender("gort", "gort_bench", {"yield2": "environment"})
        self.contender("go", "go_peer", {"yield2": "environment"})
        _, lines = self.run_bench(
            "--row", "yield2", "--rounds", "1", environment={"GOGC": "off", "GORT_MAXPROCS": "7"}
        )
        self.assertEqual(lines["yield2", 1]["figures"]["gort"]["median"], 0)
        self.assertEqual(lines["yield2", 1]["figures"]["go"]["median"], 0)

    def test_a_busy_machine_is_named(self):
        self.contender("gort", "gort_bench", {"switch": "starved", "pingpong_locked": "starved"})
        done, _ = self.run_bench("--row", "switch", "--row", "pingpong_locked", "--rounds", "2")
        self.assertIn("WARNING: 2 samples got less than 90 % of a core", done.stdout)

    def test_a_row_that_gort_lacks_is_a_failure(self):
        self.contender("gort", "gort_bench", {"switch": [1.0]})
        self.contender("go", "go_peer", {"yield2": [40.0]})
        done, _ = self.run_bench("--row", "switch", "--row", "yield2", "--rounds", "1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("gort has no row yield2", done.stdout)

    def test_a_file_that_cannot_be_written_is_refused_at_once(self):
        self.contender("gort", "gort_bench", {"switch": [1.0]})
        command = [RUN, "--build", self.build, "--row", "switch", "--json", self.build / "no" / "x"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("cannot write", done.stderr)
        self.assertFalse((self.build / "bench" / "gort_bench.calls.switch1").exists())

    def test_what_was_measured_before_an_end_is_kept(self):
        # The second round ends the runner: as Ctrl-C, a full disk, the end of a session would.
        self.contender("gort", "gort_bench", {"switch": [1.0, "end_runner"]})
        out = self.build / "out.json"
        command = [RUN, "--build", self.build, "--row", "switch", "--rounds", "2", "--json", out]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertNotIn(done.returncode, (0, 1))
        self.assertEqual([s["value"] for s in json.loads(out.read_text())["samples"]], [1.0])

    def test_an_unknown_row_is_refused(self):
        done = subprocess.run([RUN, "--row", "fastest"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()
