"""`flowweaver run`: what it prints and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import yaml

GREETING = """
- name: greeting
  value: Hello, ${params.who}!
"""
WHO = "  params: [{name: who, value: world}]\n"
FAILING = """
- name: good
  value: 1
- name: bad
  shell: {script: exit 7}
- name: after
  dependsOn: [bad]
  value: 2
"""


def test_a_completed_workflow_exits_0_with_a_line_for_each_task(flowweaver, manifest):
    result = flowweaver("run", manifest(GREETING, more=WHO))

    assert result.returncode == 0, result.stderr
    assert [line.split()[1:3] for line in result.stdout.splitlines() if "  greeting" in line] == [
        ["greeting", "Completed"]
    ]
    assert "Completed in " in result.stdout
    assert result.stderr == ""


def test_outputs_are_printed_at_the_end(flowweaver, manifest):
    file = manifest(GREETING, more=WHO + "  outputs: [{name: text, value: '${tasks.greeting.result}'}]\n")

    result = flowweaver("run", file)

    assert result.stdout.splitlines()[-1].split(maxsplit=1) == ["text", "Hello, world!"]


def test_a_failed_workflow_exits_1_and_names_the_task(flowweaver, manifest):
    result = flowweaver("run", manifest(FAILING))

    assert result.returncode == 1
    assert "Failed in " in result.stdout
    assert 'task "bad" failed' in result.stdout


def test_an_invalid_workflow_exits_2_with_file_line_and_field_and_runs_nothing(flowweaver, manifest, folder):
    file = manifest("- name: first\n  shell: {script: touch ran}\n- name: second\n  dependsOn: [nobody]\n  value: 1\n")

    result = flowweaver("run", file)

    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"{file}:9: spec.tasks[1].dependsOn[0]: ")
    assert "nobody" in result.stderr
    assert not (folder / "ran").exists()


def test_a_workflow_that_asks_to_be_stopped_exits_3(flowweaver, manifest):
    result = flowweaver("run", manifest("- name: rest\n  wait: {duration: 1h}\n", more="  shutdown: Stop\n"))

    assert result.returncode == 3
    assert "Cancelled" in result.stdout


def test_a_suspended_workflow_is_refused_because_it_would_wait_for_ever(flowweaver, manifest):
    result = flowweaver("run", manifest(GREETING, more=WHO + "  suspend: true\n"))

    assert result.returncode == 2
    assert "spec.suspend is true" in result.stderr


def test_json_output_is_the_object_with_its_status_and_nothing_else(flowweaver, manifest):
    result = flowweaver("run", manifest(GREETING, more=WHO), "-o", "json")

    shown = json.loads(result.stdout)
    assert (shown["kind"], shown["metadata"]["name"]) == ("Workflow", "probe")
    assert (shown["status"]["phase"], shown["status"]["progress"]) == ("Completed", "1/1")
    assert [task["name"] for task in shown["status"]["tasks"]] == ["greeting"]
    assert "greeting" in result.stderr


def test_what_a_body_prints_does_not_stand_in_the_json(flowweaver, manifest):
    noisy = "- name: noisy\n  python:\n    source: |\n      def main():\n          print('so far so good')\n"
    result = flowweaver("run", manifest(noisy), "-o", "json")

    assert json.loads(result.stdout)["status"]["phase"] == "Completed"
    assert "so far so good" in result.stderr


def test_yaml_output_is_the_object_with_its_status_and_nothing_else(flowweaver, manifest):
    result = flowweaver("run", manifest(FAILING), "-o", "yaml")

    shown = yaml.safe_load(result.stdout)
    assert result.returncode == 1
    assert {task["name"]: task["phase"] for task in shown["status"]["tasks"]} == {
        "good": "Completed",
        "bad": "Failed",
        "after": "Skipped",
    }


def test_a_manifest_can_come_from_the_standard_input(flowweaver, manifest, folder):
    text = (folder / manifest(GREETING, more=WHO)).read_text()

    assert flowweaver("run", "-", text=text).returncode == 0


def test_a_parameter_is_json_and_keeps_its_type(flowweaver, manifest):
    file = manifest("- name: sum\n  value: ${params.count + 1}\n", more="  params: [{name: count, value: 1}]\n")

    result = flowweaver("run", file, "-p", "count=41", "-o", "json")

    assert json.loads(result.stdout)["spec"]["params"] == [{"name": "count", "value": 41}]
    assert result.returncode == 0


def test_a_parameter_that_is_no_json_is_refused_with_the_way_to_write_it(flowweaver, manifest):
    result = flowweaver("run", manifest(GREETING, more=WHO), "-p", "who=Ada")

    assert result.returncode == 2
    assert """-p 'who="Ada"'""" in result.stderr


def test_a_number_that_json_does_not_have_is_refused(flowweaver, manifest):
    assert flowweaver("run", manifest(GREETING, more=WHO), "-p", "who=NaN").returncode == 2


def test_a_parameter_that_the_workflow_does_not_have_is_refused_with_those_that_it_has(flowweaver, manifest):
    result = flowweaver("run", manifest(GREETING, more=WHO), "-p", "name=1")

    assert result.returncode == 2
    assert "has no such parameter (it has: who)" in result.stderr


def test_a_parameter_that_is_given_twice_is_refused(flowweaver, manifest):
    result = flowweaver("run", manifest(GREETING, more=WHO), "-p", "who=1", "-p", "who=2")

    assert result.returncode == 2
    assert "given twice" in result.stderr


def test_a_file_with_two_workflows_is_refused(flowweaver, manifest, folder):
    text = (folder / manifest(GREETING, more=WHO)).read_text()
    (folder / "two.yaml").write_text(f"{text}---\n{text}")

    result = flowweaver("run", "two.yaml")

    assert result.returncode == 2
    assert "exactly one Workflow" in result.stderr


def test_what_is_not_ours_in_a_file_is_left_alone(flowweaver, manifest, folder):
    text = (folder / manifest(GREETING, more=WHO)).read_text()
    (folder / "mixed.yaml").write_text(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: x}}\n---\n{text}")

    assert flowweaver("run", "mixed.yaml").returncode == 0


@pytest.mark.parametrize("isolation", ["Thread", "Process"])
def test_functions_in_the_folder_where_it_is_called_are_found(isolation, flowweaver, manifest, folder):
    (folder / "beside.py").write_text("def double(number):\n    return number * 2\n")
    call = f"{{function: 'beside:double', args: {{number: 21}}, isolation: {isolation}}}"
    file = manifest(
        f"- name: twice\n  python: {call}\n", more="  outputs: [{name: out, value: '${tasks.twice.result}'}]\n"
    )

    result = flowweaver("run", file, "-o", "json", PYTHONSAFEPATH="1")

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["status"]["outputs"] == [{"name": "out", "value": 42}]


def test_metadata_that_is_odd_does_no_harm(flowweaver, manifest, folder):
    file = folder / manifest(GREETING, more=WHO)
    file.write_text(file.read_text().replace("name: probe", "name: probe, generation: many, labels: 3"))

    assert flowweaver("run", file.name, "-o", "json").returncode == 0


def test_two_runs_without_a_state_file_have_different_identities(flowweaver, manifest):
    file = manifest(
        "- name: who\n  value: ${workflow.uid}\n", more="  outputs: [{name: uid, value: '${tasks.who.result}'}]\n"
    )

    first, second = (json.loads(flowweaver("run", file, "-o", "json").stdout)["status"]["outputs"] for _ in range(2))

    assert first != second
    assert all(output["value"] for output in (*first, *second))


def test_no_colours_are_written_where_no_terminal_is(flowweaver, manifest):
    assert "\x1b" not in flowweaver("run", manifest(GREETING, more=WHO)).stdout


def test_colours_can_be_forced_and_no_color_wins(flowweaver, manifest):
    file = manifest(FAILING)

    assert "\x1b[31m" in flowweaver("run", file, FORCE_COLOR="1").stdout
    assert "\x1b[31m" not in flowweaver("run", file, FORCE_COLOR="1", NO_COLOR="1").stdout


def test_text_that_looks_like_markup_is_printed_as_it_is(flowweaver, manifest):
    result = flowweaver("run", manifest("- name: loud\n  shell: {script: 'echo \"[red]x[/nope]\" >&2; exit 1'}\n"))

    assert "[red]x[/nope]" in result.stdout


def test_what_a_body_says_can_not_steer_the_terminal(flowweaver, manifest):
    script = r"printf 'a\\033[2Jb\\nc' >&2; exit 1"
    result = flowweaver("run", manifest(f'- name: loud\n  shell: {{script: "{script}"}}\n'))

    assert "\x1b" not in result.stdout
    assert "exit code 1: ab c" in result.stdout


def test_what_a_result_holds_can_not_steer_the_terminal(flowweaver, manifest):
    source = "def main():\n    return chr(97) + chr(27) + '[2Jb'\n"
    tasks = f"- name: loud\n  python: {{source: {json.dumps(source)}}}\n"
    outputs = "  outputs: [{name: said, value: '${tasks.loud.result}'}]\n"
    result = flowweaver("run", manifest(tasks, more=outputs))

    assert "\x1b" not in result.stdout
    assert "a\N{REPLACEMENT CHARACTER}[2Jb" in result.stdout


def test_a_reader_that_goes_away_gets_no_traceback(folder, manifest):
    file = manifest("- name: big\n  value: " + "x" * 50_000 + "\n")

    shown = subprocess.run(
        f"{sys.executable} -m flowweaver run {file} -o json | head -c 10",
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert shown.stdout == '{\n  "apiVe'
    assert "Traceback" not in shown.stderr
    assert "BrokenPipe" not in shown.stderr


def test_without_a_file_it_says_how_it_is_used(flowweaver):
    result = flowweaver("run")

    assert result.returncode == 2
    assert "Usage" in result.stderr


def test_the_version_is_printed(flowweaver):
    result = flowweaver("--version")

    assert (result.returncode, result.stdout) == (0, "flowweaver 0.3.2\n")


@pytest.mark.parametrize(
    ("until", "said"),
    [("9999-12-31T23:59:59-12:00", "until later"), ("2999-06-01T12:00:00Z", "until 2999-06-01")],
    ids=["beyond-the-calendar", "another-day"],
)
def test_a_wait_says_when_it_ends_however_far_away_that_is(until, said, start, manifest):
    command = start("run", manifest(f'- name: long\n  wait: {{until: "{until}"}}'), PYTHONUNBUFFERED="1")
    lines = iter(command.stdout.readline, "")
    assert said in next(line for line in lines if "Waiting" in line)
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=60)
    assert command.returncode == 130
