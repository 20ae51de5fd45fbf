"""The dashboard command, in processes of its own, against a small stand-in for the W&B server.

The stand-in imitates the answers of W&B's GraphQL server that the packages need: ``wandb.Api`` asks for the account
(``Viewer``, ``GetDefaultEntity``), the project and the number of its runs; ``wandb-workspaces`` looks up the project
(``ProjectInternalId``) and saves a report (``upsertView``). Names and fields are those of the package versions in
``constraints.txt``: a new version may ask otherwise, and then ``Server.answer`` has to follow.
"""

import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import ENVIRONMENT, failed_command, start_command

KEY = "k" * 40


class Server(ThreadingHTTPServer):
    """Answer the GraphQL requests of the command as W&B's server does; keep the reports that it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.groups = {"decoders": 4, "it's": 2, "": 6}  # number of runs; "": all
        self.reports: list[dict[str, Any]] = []
        self.read_only = False

    def answer(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        known = (variables.get("entity") or variables.get("entityName"), variables.get("project")) == ("me", "lits_seg")
        if name in ("Viewer", "GetDefaultEntity"):
            return {"data": {"viewer": {"id": "1", "entity": "me", "username": "me", "teams": {"edges": []}}}}
        if name == "ProjectInternalId":
            return {"data": {"project": {"id": "p", "internalId": "7"}}}
        if name == "upsertView" and self.read_only:
            return {"errors": [{"message": "permission denied"}]}
        if name == "upsertView":
            self.reports.append(variables)
            project = {"id": "p", "name": variables["projectName"], "entityName": variables["entityName"]}
            view = {"id": "Vmlldzo3", "name": "x", "displayName": variables["displayName"], "project": project}
            return {"data": {"upsertView": {"inserted": True, "view": {**view, "spec": variables["spec"]}}}}
        if "filters" in variables:
            count = self.groups.get(json.loads(variables["filters"]).get("group", ""), 0)
            runs = {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}
            return {"data": {"project": {"internalId": "7", "runCount": count, "runs": runs} if known else None}}
        node = {"__typename": "Project", "id": "p", "name": "lits_seg", "entityName": "me"}
        node |= {"createdAt": "2026-01-01T00:00:00Z", "isBenchmark": False, "user": None}
        page = {"__typename": "PageInfo", "endCursor": "c", "hasNextPage": False}
        return {"data": {"models": {"edges": [{"node": node, "cursor": "c"}], "pageInfo": page}}}


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/graphql":
            asked = json.loads(content)
            (name,) = re.findall(r"(?:query|mutation) (\w+)", asked["query"])
            answer = self.server.answer(name, asked.get("variables") or {})
        else:
            answer = {}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def run(*arguments: str, folder: Path, url: str, key: str | None = KEY) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command, with no settings of this machine's user."""
    env = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("WANDB_")}
    env |= {"HOME": str(folder), "WANDB_BASE_URL": url, "WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"}
    env |= {"NETRC": str(folder / "none")} | ({"WANDB_API_KEY": key} if key else {})
    process = start_command("dashboard", *arguments, cwd=folder, env=env)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def panels(grid: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The settings of a grid's panels by their kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for panel in grid["metadata"]["panelBankSectionConfig"]["panels"]:
        found.setdefault(panel["viewType"], []).append(panel["config"])
    return found


def test_report_reaches_the_server(server: Server, tmp_path: Path) -> None:
    status, out, err = run("entity=me", "sweep=decoders", folder=tmp_path, url=address(server))
    assert status == 0, err
    assert out.startswith(f"4 runs: {address(server)}/me/lits_seg/reports/")
    assert "Research use only" in out
    (sent,) = server.reports
    assert (sent["entityName"], sent["projectName"]) == ("me", "lits_seg")
    assert sent["displayName"] == "Liver lesions: decoders"
    blocks = json.loads(sent["spec"])["blocks"]
    text = next(block["content"] for block in blocks if block["type"] == "markdown-block")
    for words in ("Research use only", "synthetic", "Dice per case", "`selected_on_test`", r"\|A∩B\| / \|A∪B\|"):
        assert words in text
    networks, training, runs = (block for block in blocks if block["type"] == "panel-grid")

    (scatter,) = panels(networks)["Scatter Plot"]
    assert (scatter["xAxis"], scatter["yAxis"]) == ("config:parameters.value", "summary:test/dice")
    (bars,) = panels(networks)["Bar Chart"]
    assert (bars["metrics"], bars["groupBy"]) == (["summary_metrics.test/dice"], "decoder.value")
    curves = panels(training)["Run History Line Plot"]
    assert {curve["xAxis"] for curve in curves} == {"trainer/global_step"}
    assert {"val/dice", "val/liver/dice", "train/loss_step", "train/loss_epoch"} <= {
        curve["metrics"][0] for curve in curves
    }
    assert panels(runs)["Parameter Importance"][0]["targetKey"] == "test/dice"
    assert panels(runs)["Run Comparer"]

    for grid, grouped in ((networks, ["model.value", "decoder.value"]), (runs, [])):
        (run_set,) = grid["metadata"]["runSets"]
        assert run_set["project"]["entityName"] == "me"
        assert [key["name"] for key in run_set["grouping"]] == grouped
        (only,) = run_set["filters"]["filters"]
        assert (only["key"], only["op"], only["value"]) == ({"section": "run", "name": "group"}, "=", "decoders")
        columns = run_set["runFeed"]["columnVisible"]
        assert columns["summary:test/dice"]
        assert columns["config:parameters.value"]


@pytest.mark.parametrize(("arguments", "count", "only"), [([], 6, []), (['sweep="it\'s"'], 2, ["it's"])])
def test_report_on_all_runs_or_a_sweep_of_any_name(
    server: Server, arguments: list[str], count: int, only: list[str], tmp_path: Path
) -> None:
    status, out, err = run("entity=me", *arguments, folder=tmp_path, url=address(server))
    assert status == 0, err
    assert out.startswith(f"{count} runs: ")
    grids = [block for block in json.loads(server.reports[0]["spec"])["blocks"] if block["type"] == "panel-grid"]
    for grid in grids:
        assert [kept["value"] for kept in grid["metadata"]["runSets"][0]["filters"]["filters"]] == only


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sweep=decodesr"], "me/lits_seg: expected runs of sweep decodesr (wandb sync runs/**/wandb/offline-run-*)"),
        (["project=nope"], "me/nope: expected a project with runs (wandb sync runs/**/wandb/offline-run-*)"),
    ],
)
def test_nothing_to_show(server: Server, arguments: list[str], told: str, tmp_path: Path) -> None:
    status, _, err = run("entity=me", *arguments, folder=tmp_path, url=address(server))
    assert status == 1
    assert told in err
    assert "Traceback" not in err
    assert server.reports == []


def test_account_that_may_not_write(server: Server, tmp_path: Path) -> None:
    server.read_only = True
    status, _, err = run("entity=me", folder=tmp_path, url=address(server))
    assert status == 1
    assert err.startswith("error: ")
    assert "that this account may write to; found " in err
    assert "permission denied" in err


def test_no_key_and_no_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    status, _, err = run("entity=me", folder=tmp_path, url=closed, key=None)
    assert (status, err) == (1, f"error: {closed}: expected an API key: wandb login, or WANDB_API_KEY; found none\n")
    status, _, err = run("entity=me", folder=tmp_path, url=closed)
    assert status == 1
    assert err.startswith(f"error: {closed}: expected a W&B server that answers and knows this key (wandb login;")
    assert "connection refused" in err
    assert len(err.splitlines()) == 1


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    shown = failed_command("dashboard", "entity=me", cwd=tmp_path)
    assert (
        "expected the package wandb-workspaces (pip install -c constraints.txt '.[dashboard]' in the project's folder)"
        in shown
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "entity: expected a value (entity=…)"),
        (["entity=[a,b]"], "entity: expected one name on the W&B server"),
        (["entity=a/b"], "entity: expected one name on the W&B server; found 'a/b'"),
        (["entity=a", "project=null"], "project: expected one name on the W&B server; found None"),
    ],
)
def test_wrong_names(arguments: list[str], told: str, tmp_path: Path) -> None:
    assert told in failed_command("dashboard", *arguments, cwd=tmp_path)
