"""The launch files: parsed, shell-checked, and run with stand-ins for what they call."""

import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

yaml = pytest.importorskip("yaml")

ROOT = pathlib.Path(__file__).parent.parent.parent
LAUNCH = ROOT / "experiments" / "launch"


@pytest.fixture(scope="module")
def manifest():
    """Kind -> object."""
    return {each["kind"]: each for each in yaml.safe_load_all((LAUNCH / "jobset.yaml").read_text())}


@pytest.fixture
def job(manifest):
    (replicated,) = manifest["JobSet"]["spec"]["replicatedJobs"]
    return replicated["template"]["spec"]


def test_the_job_has_a_process_a_host_of_its_slice(manifest, job):
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    chips = container["resources"]["limits"]["google.com/tpu"]
    x, y = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    assert job["completions"] == job["parallelism"] == x * y // chips
    assert job["completionMode"] == "Indexed"  # what tells a process its number
    assert manifest["JobSet"]["spec"]["network"]["enableDNSHostnames"]


def action(job, status):
    """What the pod failure policy makes of an exit status; rules are taken in order."""
    for rule in job["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes", {"operator": "In", "values": []})
        assert codes["operator"] == "In"
        if status in codes["values"]:
            return rule["action"]
    return "Count"  # against backoffLimit


def test_exit_statuses_mean_what_i2sb_train_means_by_them(manifest, job):
    told = {status: action(job, status) for status in (2, 3, 75, 137, 1)}
    assert told == {2: "FailJob", 3: "FailJob", 75: "Ignore", 137: "Count", 1: "Count"}
    assert job["backoffLimit"] == 0  # so a crash ends the job, and the JobSet starts it again
    failure = manifest["JobSet"]["spec"]["failurePolicy"]
    assert failure["maxRestarts"] > 0
    assert {"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]} in failure["rules"]


def test_the_pod_policy_is_one_that_kubernetes_takes(job):
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # the API refuses a podFailurePolicy otherwise
    names = {container["name"] for container in pod["containers"]}
    codes = [rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if len(rule) == 2
             and "onExitCodes" in rule]  # fmt: skip
    assert all(each["containerName"] in names and 0 not in each["values"] for each in codes)
    assert pod["terminationGracePeriodSeconds"] >= 120


def test_the_pods_may_find_each_other(manifest, job):
    account = manifest["ServiceAccount"]["metadata"]["name"]
    assert job["template"]["spec"]["serviceAccountName"] == account
    assert manifest["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": account}]
    assert manifest["RoleBinding"]["roleRef"]["name"] == manifest["Role"]["metadata"]["name"]
    asked = {(resource, verb) for rule in manifest["Role"]["rules"]
             for resource in rule["resources"] for verb in rule["verbs"]}  # fmt: skip
    assert asked == {("pods", "list"), ("services", "list"), ("jobs", "get")}


def test_the_jobs_arguments_are_a_run(job):
    """Every option is one that exists, and the config is where the image has it."""
    config_flags = pytest.importorskip("ml_collections.config_flags")
    assert config_flags
    from i2sb_jax.cli import config_file

    (container,) = job["template"]["spec"]["containers"]
    arguments = [each.replace("/opt/i2sb_jax", str(ROOT)) for each in container["args"]]
    config, workdir = config_file.parse(arguments, program="i2sb-train")
    assert workdir.startswith("gs://") and config.distributed == "on"
    assert config.mesh.fsdp == 16 and config.model.dtype == "bfloat16"
    assert "WORKDIR /opt/i2sb_jax\n" in (LAUNCH / "Dockerfile").read_text()


def test_the_job_that_restores(monkeypatch):
    """Its arguments are the tool's, a lost pod comes again, and what is no use does not."""
    from i2sb_jax.accelerators.processes import Place, find_place
    from i2sb_jax.cli import restore

    text = (LAUNCH / "restore.yaml").read_text()
    kinds = {each["kind"]: each for each in yaml.safe_load_all(text)}
    (replicated,) = kinds["JobSet"]["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    given = restore.parser().parse_args(container["args"])
    assert all(path.startswith("gs://") for path in (given.model, given.input, given.output))
    assert container["command"][-1] == "i2sb-restore"
    assert [action(job, status) for status in (0, 1, 2, 3, 137)] == [
        "Count", "FailIndex", "FailIndex", "FailIndex", "Count",
    ]  # fmt: skip
    assert job["backoffLimitPerIndex"] > 0 and pod["restartPolicy"] == "Never"
    assert pod["serviceAccountName"] == kinds["ServiceAccount"]["metadata"]["name"]
    x, y = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    assert container["resources"]["limits"]["google.com/tpu"] == x * y  # a host each
    assert job["completionMode"] == "Indexed"
    told = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}
    assert find_place(told) == Place()


def test_slurm_restores_by_the_arguments_as_they_are(tmp_path):
    (tmp_path / "srun").write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    given = ["--model", "a b", "--input", "in", "--output", "out", "--nfe", "3"]
    run = functools.partial(
        subprocess.run, env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True,
    )  # fmt: skip
    done = run(["bash", LAUNCH / "restore.sh", *given])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-9:] == ["i2sb-restore", *given]
    assert run(["bash", LAUNCH / "restore.sh", "RUN"]).returncode == 2


def test_the_image_copies_what_there_is_and_takes_signals_itself():
    lines = (LAUNCH / "Dockerfile").read_text().splitlines()
    told = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    assert {word for word, _ in told} == {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENTRYPOINT"}
    for word, rest in told:
        if word == "COPY":
            assert all((ROOT / path).exists() for path in rest.split()[:-1])
    (entry,) = (rest for word, rest in told if word == "ENTRYPOINT")
    assert json.loads(entry) == ["tini", "--", "i2sb-train"]  # the form without a shell
    extras = re.findall(r"^(\w+) =$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert {"train", "tpu", "cuda12", "cuda13"} <= set(extras)


@pytest.mark.parametrize("script", sorted(LAUNCH.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_clean(script):
    subprocess.run(["bash", "-n", script], check=True)
    here = os.path.dirname(sys.executable)
    shellcheck = shutil.which("shellcheck", path=f"{here}:{os.environ['PATH']}")
    if not shellcheck:
        pytest.skip("shellcheck has no package for this platform")
    subprocess.run([shellcheck, script], check=True)


@pytest.fixture
def tpu_vm(tmp_path):
    """(statuses of the runs, options) -> (status, commands on the hosts, stderr)."""
    stubs, log, count = tmp_path / "bin", tmp_path / "log", tmp_path / "count"
    stubs.mkdir()
    (stubs / "gcloud").write_text(
        "#!/bin/bash\n"
        f'printf "%s\\n" "$*" >> {log}\n'
        f'case "$*" in *i2sb-train*) echo >> {count};'
        f' exit $(echo $STATUSES | cut -d" " -f$(wc -l < {count}));; esac\n'
    )
    (stubs / "gcloud").chmod(0o755)

    def run(statuses, *options):
        done = subprocess.run(
            ["bash", LAUNCH / "tpu_vm.sh", "slice", "us-east1-c", "configs/quickstart.py",
             "gs://b/run", *options],
            env=os.environ | {"PATH": f"{stubs}:{os.environ['PATH']}", "STATUSES": statuses},
            capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, log.read_text(), done.stderr

    return run


@pytest.mark.parametrize(
    "statuses, status, runs",
    [("0", 0, 1), ("2", 2, 1), ("3", 3, 1), ("75 0", 0, 2), ("255 75 3", 3, 3),
     ("75 75 75 75", 75, 4)],
)  # fmt: skip
def test_a_slice_goes_on_where_it_can(tpu_vm, statuses, status, runs):
    code, log, err = tpu_vm(statuses)
    assert (code, log.count("bin/i2sb-train")) == (status, runs)
    assert err.count("to go on from the last checkpoint") == runs - 1


def test_a_slice_gets_the_project_and_the_options_as_they_are(tpu_vm):
    _, log, _ = tpu_vm("0", "--config.data.path=gs://a b", "--config.seed=3")
    copy, install, train = log.split("compute tpus tpu-vm ")[1:]
    assert copy.startswith("scp") and "slice:i2sb_jax.tar.gz" in copy
    assert "pip install" in install and "[train,tpu]" in install
    assert all("--worker=all" in each and "--zone=us-east1-c" in each for each in (copy, train))
    assert "--config=i2sb_jax/source/configs/quickstart.py " in train
    assert "--workdir=gs://b/run --config.distributed=on --config.data.path=gs://a\\ b" in train


def test_what_is_copied_anew_is_not_where_a_local_run_lies(tpu_vm):
    """A relative work directory is one of the home, and a second call removes ~/…/source only."""
    _, log, _ = tpu_vm("0")
    assert re.findall(r"rm -rf (\S+);", log) == ["source"] and "cd i2sb_jax; rm -rf" in log
    assert "cd " not in log.split("i2sb-train --config")[0].split("pkill")[1]


def test_too_few_words_are_told():
    done = subprocess.run(["bash", LAUNCH / "tpu_vm.sh", "x"], capture_output=True, text=True)
    assert done.returncode == 2 and "NAME ZONE CONFIG WORKDIR" in done.stderr
