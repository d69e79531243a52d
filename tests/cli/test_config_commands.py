"""check-config, example-config and the plan: without any daemon."""

import json
import resource
import subprocess
import sys
import tomllib

import pytest


@pytest.fixture
def example(run, tmp_path):
    """A file with the example config."""
    code, out, err = run("example-config")
    assert (code, err) == (0, "")
    path = tmp_path / "pools.toml"
    path.write_text(out)
    return path


def edit(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_example_is_good_and_checking_it_leaves_nothing_behind(run, example):
    code, out, err = run("check-config", example)
    assert (code, err) == (0, "")
    assert "good, 3 pools" in out
    assert list(example.parent.iterdir()) == [example]


def test_the_example_as_json_says_the_same(run, example):
    code, out, _ = run("example-config", "--json")
    assert code == 0
    assert json.loads(out) == tomllib.loads(example.read_text())


def test_all_faults_are_said_at_once(run, example):
    edit(example, 'devices = "0,1"', 'devices = "0,1"\nslotz = 3\nreplicas = "two"')
    code, _, err = run("check-config", example)
    assert code == 2
    assert "slotz" in err
    assert "slots" in err
    assert "replicas" in err


def test_a_device_that_is_not_there_is_named_with_its_line(run, example):
    edit(example, 'devices = "0,1"', 'devices = "0,7"')
    code, _, err = run("check-config", example)
    line = example.read_text().splitlines().index('devices = "0,7"') + 1
    assert code == 2
    assert err.startswith(f"{example}:{line}: pool[large].devices: device mask '0,7' names index 7")
    assert "INVALID_DEVICE_MASK" in err


def test_an_argument_that_the_engine_would_refuse_is_told_beside_a_wrong_mask(run, example):
    edit(example, 'devices = "0,1"', 'devices = "0,7"')
    with example.open("a") as file:
        file.write('[[pool]]\nid = "cpu"\nengine = "llamacpp"\nmodel = "m.gguf"\ndevices = "0"\nshare_devices = true\n')
        file.write('args = ["--cpu-moe"]\n[[pool]]\nid = "env"\nengine = "llamacpp"\nmodel = "m.gguf"\ndevices = "0"\n')
        file.write('share_devices = true\n[pool.env]\nLLAMA_ARG_N_GPU_LAYERS = "0"\n')
    code, out, _ = run("check-config", example, "--json")
    lines = example.read_text().splitlines()
    told = {one["key"]: (one["code"], one["value"], one["line"]) for one in json.loads(out)["problems"]}
    assert code == 2
    assert told["pool[large].devices"][0] == "INVALID_DEVICE_MASK"
    assert told["pool[cpu].args"] == ("CPU_SPILLOVER", "--cpu-moe", lines.index('args = ["--cpu-moe"]') + 1)
    assert told["pool[env].env"][:2] == ("CPU_SPILLOVER", "LLAMA_ARG_N_GPU_LAYERS")


def test_faults_as_json(run, example):
    edit(example, 'devices = "0,1"', 'devices = "0,7"')
    code, out, _ = run("check-config", example, "--json")
    (problem,) = json.loads(out)["problems"]
    assert (code, problem["code"]) == (2, "INVALID_DEVICE_MASK")


def test_a_missing_file_is_a_plain_sentence(run, tmp_path):
    code, _, err = run("check-config", tmp_path / "none.toml")
    assert code == 2
    assert "No such file" in err


def test_the_plan_shows_need_reserved_free_and_verdict(run, example):
    code, out, err = run("devices", "--plan", example)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "All pools fit; 512.00 MiB stay free on each GPU."
    document = json.loads(run("devices", "--plan", example, "--json")[1])
    chat, embed, *_ = document["placements"]
    assert document["fits"] is True
    assert embed["reserved_bytes"] == chat["need_bytes"] > 0
    assert embed["free_bytes"] == chat["free_bytes"] - chat["need_bytes"]


def test_a_plan_that_does_not_fit_is_exit_code_1(run, example):
    edit(example, 'vram_bytes = "2GiB"', 'vram_bytes = "90GiB"')
    code, out, _ = run("devices", "--plan", example)
    assert code == 1
    assert "INSUFFICIENT_VRAM: " in out
    judged, first, second = out.splitlines()[-3:]
    assert judged == "Not all pools fit; 512.00 MiB stay free on each GPU."
    gpu = "GPU-51000000-0000-4000-8000-00000000000"
    assert first.startswith(f"embed r0 on GPU 0 ({gpu}0): INSUFFICIENT_VRAM: 70.50 GiB short; held by chat; ")
    assert second.startswith(f"embed r1 on GPU 1 ({gpu}1): INSUFFICIENT_VRAM: 66.50 GiB short; ")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["status", "--json", "--address", "127.0.0.1:1"]])
def test_quick_commands_are_quick(arguments):
    def once() -> float:
        before = _children_cpu()
        subprocess.run(
            [sys.executable, "-c", "from pool_managerd.cli import main; main()", *arguments],
            capture_output=True,
            check=False,
            timeout=30,
        )
        return _children_cpu() - before

    assert min(once() for _ in range(3)) < 0.3


def _children_cpu() -> float:

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_a_full_disk_and_a_closed_stdout_are_said_without_a_traceback(shell):
    code, err = shell("example-config > /dev/full")
    assert (code, err) == (1, "cannot go on: No space left on device\n")
    assert shell("example-config >&-") == (0, "")


@pytest.fixture
def shell():
    """Run the program with a redirection of the shell's."""

    def run(line: str):
        command = f"{sys.executable} -c 'from pool_managerd.cli import main; main()' {line}"
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=20, check=False)
        return done.returncode, done.stderr

    return run
