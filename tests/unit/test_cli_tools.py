"""The verbs that need no session: config, plugins, bench and demo."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from wherry_cli.app import run
from wherry_cli.invocation import Invocation

# config and plugins


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "wherry.toml"
    path.write_text('[get]\nwait = "5s"\n')
    return path


def broken(config):
    config.write_text('[get]\nwiat = "5s"\nlinks = "eat \\u202e"\n')
    return config


def problems_of(config, capsys):
    run(["config", "check", "--json", "--config", str(config)], Invocation(environ={}))
    return json.loads(capsys.readouterr().out)


def test_config_show_tells_values_and_origins(config, capsys):
    if not problems_of(config, capsys)["ok"]:
        pytest.skip("wherry's own plugins are not installed here")
    assert run(["config", "show", "--origin", "--config", str(config)], Invocation(environ={})) == 0
    text = capsys.readouterr().out
    assert f"# file {config}" in next(line for line in text.splitlines() if line.startswith("wait = "))


def test_config_check_reports_everything_on_standard_error(config, capsys):
    assert run(["config", "check", "--config", str(broken(config))], Invocation(environ={})) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert 'get.wiat: unknown option (did you mean "wait"?)' in captured.err
    assert "get.links" in captured.err
    assert "\u202e" not in captured.err


def test_config_check_as_json(config, capsys):
    found = problems_of(broken(config), capsys)
    assert (found["schema"], found["ok"]) == ("wherry/config-check/1", False)
    assert {"get.wiat", "get.links"} <= {problem["key"] for problem in found["problems"]}


def test_config_schema_is_json_schema(capsys):
    assert run(["config", "schema"], Invocation(environ={})) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "wherry.toml"
    assert run(["config", "schema", "--json"], Invocation(environ={})) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "wherry/config-schema/1"


def listed(name, kind="transport", status="ok", **changes):
    from wherry.plugin.manager import Listed

    fields = {"plugin": name, "distribution": "dist", "version": "1", "summary": "moves \x1b blocks", "cause": ""}
    return Listed(name=name, kind=kind, status=status, **(fields | changes))


def test_plugins_list_and_info(capsys):
    from wherry.errors import PluginNotFound
    from wherry_cli.render import Out
    from wherry_cli.verbs.plugins import find, show_info, show_list

    lines = [listed("http"), listed("disk", "cache"), listed("bad.one", "", "broken", summary="", cause="no module \x07")]
    out = Out(as_json=False, quiet=False, color="never", environ={})
    show_list(out, lines)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["transport", "http", "ok", "moves", "\\x1b", "blocks"]
    assert shown[2].split() == ["-", "bad.one", "broken", "no", "module", "\\x07"]
    show_info(out, find(lines, "cache.disk"))
    assert "disk  cache, ok" in capsys.readouterr().out
    with pytest.raises(PluginNotFound, match="htpt") as caught:
        find(lines, "htpt")
    assert caught.value.hint == 'did you mean "http"?'


def test_plugins_list_as_json(capsys):
    assert run(["plugins", "list", "--json"], Invocation(environ={})) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "wherry/plugins/1"
    assert isinstance(found["plugins"], list)


def test_plugins_of_an_unknown_kind(capsys):
    assert run(["plugins", "list", "--kind", "toaster"], Invocation(environ={})) == 2
    assert "transport" in capsys.readouterr().err


# bench and demo


def test_bench_hands_its_options_to_the_benchmarks(monkeypatch):
    import sys

    calls = []
    monkeypatch.setitem(sys.modules, "wherry_cli.bench", SimpleNamespace(run=lambda run_of, **options: calls.append(options)))
    line = ["bench", "add-large", "synth", "--size", "1GiB", "--dir", "/x", "--quick", "--rounds", "2"]
    assert run(line, Invocation()) == 0
    assert run(["bench", "--list"], Invocation()) == 0
    nothing = {"names": [], "size_bytes": None, "directory": None, "show_list": True, "quick": False, "rounds": None}
    names = ["add-large", "synth"]
    size = {"names": names, "size_bytes": 1 << 30, "directory": Path("/x"), "show_list": False, "quick": True, "rounds": 2}
    assert calls == [size, nothing]


def test_demo_prints_the_figures(monkeypatch, capsys):
    from wherry_cli import demo

    figures = demo.DemoResult(
        cid="bafy", files=3, bytes=10**9, links_left_out=2, add_seconds=2.0, get_seconds=1.0, fetched_bytes=10**9,
        share_peak_bytes=64 << 20, get_peak_bytes=32 << 20,
    )  # fmt: skip
    seen = []
    monkeypatch.setattr(demo, "run_demo", lambda source, work, **options: (seen.append((source, work)), figures)[1])
    assert run(["demo", "--size", "1MiB"], Invocation()) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "identical: 3 files, 953.7 MiB, bafy"
    assert "add: 2.0s, 500 MB/s\nget: 1.0s, 1,000 MB/s\nmemory at most: share 64.0 MiB, get 32.0 MiB\n" in text
    assert not seen[0][1].exists()  # cleaned up
    assert run(["demo", "--json", "."], Invocation()) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["identical"], found["get_bytes_per_second"]) == ("wherry/demo/1", True, 1e9)


def test_demo_of_nothing_is_an_error(capsys):
    assert run(["demo", "/nonexistent/x"], Invocation()) == 6
