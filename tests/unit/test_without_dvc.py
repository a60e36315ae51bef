"""Stages run where DVC and YAML's C parser are missing, as on a machine that is lent for its GPU."""

import subprocess
import sys

from tests.unit.small_project import ROOT

RUN = """
import runpy, sys
sys.modules |= dict.fromkeys(("dvc", "_ruamel_yaml"))  # None: importing them fails
sys.path.insert(0, {root!r})
for words in {stages!r}:
    sys.argv = words.split()
    try:
        runpy.run_module("stages." + sys.argv[0], run_name="__main__", alter_sys=False)
    except SystemExit as end:
        assert not end.code, words
print("all stages ran")
"""
STAGES = ["prepare tiny", "experts tiny", "distill dm-tiny-1", "distill herding-tiny-1", "evaluate dm-tiny-1"]


def test_stages_need_neither_dvc_nor_the_c_parser(project):
    before = project.outputs()
    command = [sys.executable, "-W", "error", "-c", RUN.format(root=str(ROOT), stages=[*STAGES, "report tiny", "page"])]
    done = subprocess.run(command, cwd=project.root, text=True, capture_output=True)
    assert done.returncode == 0 and "all stages ran" in done.stdout, done.stderr
    after = project.outputs()
    assert before.keys() < after.keys() and "reports/index.html" in after
    assert [name for name in before if name.endswith(".safetensors") and before[name] != after[name]] == []
