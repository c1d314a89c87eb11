"""`deploy/` and docker-compose.yml: valid by their tools, on loopback only, with settings and metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector
from ruamel.yaml import YAML

from agents.board.web.auth import Access
from agents.settings.settings import Settings, SettingsError
from agents.sinks.metrics import SinkTelemetry
from agents.sinks.redis.metrics import RedisTelemetry
from agents.worker.monitoring.metrics import Telemetry
from schemas.sources import BUILT_IN

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "docker-compose.yml"
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
PROMETHEUS = DEPLOY / "prometheus" / "prometheus.yml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
ENV_EXAMPLE = DEPLOY / "examples" / "vitals.env"
ONE_SHOT = {"topics"}
PROMETHEUS_LABELS = {"instance", "job", "le"}
SETTINGS = {f"VITALS_{name.upper()}" for name in Settings.model_fields}


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    assert program, "promtool is missing: `make system` installs it (Debian's package prometheus)"
    return run(program, *arguments)


def against_the_specification(path: Path) -> subprocess.CompletedProcess[str]:
    """Check a file against the Compose Specification's JSON schema, which check-jsonschema includes."""
    return run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    by_name: dict[str, Any] = read_yaml(COMPOSE)["services"]
    return by_name


def workers(services: dict[str, Any]) -> dict[str, Any]:
    return {name: service for name, service in services.items() if service.get("command") == ["worker"]}


# docker-compose.yml


def test_compose_follows_the_specification() -> None:
    checked = against_the_specification(COMPOSE)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_specification_rejects_an_invalid_file(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text("services:\n  a:\n    image: a\n    prots: ['80:80']\n", encoding="utf-8")
    checked = against_the_specification(wrong)
    assert checked.returncode == 1
    assert "prots" in checked.stdout


def test_docker_accepts_the_file_where_docker_is_installed() -> None:
    docker = shutil.which("docker")
    if docker is None or run(docker, "compose", "version").returncode:
        return  # without the plugin the specification above has the last word
    checked = run(docker, "compose", "--file", COMPOSE, "config", "--quiet")
    assert checked.returncode == 0, checked.stderr


def test_ports_are_published_on_the_loopback_address_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []
    assert len({port.split(":")[1] for port in ports}) == len(ports)
    assert not [name for name, service in services.items() if service.get("network_mode") == "host"]


def test_images_are_pinned(services: dict[str, Any]) -> None:
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert re.search(r"\d", tag) or "build" in service, f"{name}: {service['image']}"


def test_every_long_running_service_has_a_health_check(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == ONE_SHOT
    waited_for = {
        (needed, how["condition"])
        for service in services.values()
        for needed, how in service.get("depends_on", {}).items()
    }
    for needed, condition in waited_for:
        assert condition == ("service_completed_successfully" if needed in ONE_SHOT else "service_healthy")


def test_data_is_in_named_volumes(services: dict[str, Any]) -> None:
    declared = set(read_yaml(COMPOSE)["volumes"])
    mounts = [mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])]
    assert {mount for mount in mounts if not mount.startswith("./")} == declared
    assert [mount for mount in mounts if mount.startswith("./") and not (ROOT / mount).is_dir()] == []


def test_there_are_no_secrets(services: dict[str, Any]) -> None:
    words = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL", re.IGNORECASE)
    # Compose takes a key without a value from the environment of the user who starts it.
    variables = [pair for service in services.values() for pair in service.get("environment", {}).items()]
    assert [(key, value) for key, value in variables if words.search(key) and value is not None] == []
    values = [line for line in ENV_EXAMPLE.read_text(encoding="utf-8").splitlines() if words.search(line.split("=")[0])]
    assert [line for line in values if "=" in line and not line.endswith("=")] == []


def test_workers_differ_only_where_they_must(services: dict[str, Any]) -> None:
    first, second = workers(services).values()
    assert first["environment"].pop("VITALS_INSTANCE") != second["environment"].pop("VITALS_INSTANCE")
    assert first["environment"] == second["environment"] == services["topics"]["environment"]
    assert services["topics"]["command"] == ["topics", "--create"]


def test_our_containers_are_read_only_without_capabilities(services: dict[str, Any]) -> None:
    ours = {name: service for name, service in services.items() if service["image"].startswith("account-vitals:")}
    assert ours.keys() == {"topics", "sink-alertmanager", "sink-redis", "board", "peers", *workers(services)}
    for service in ours.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_settings_in_deploy_exist_and_are_accepted(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for service in services.values():
        variables = {key: value for key, value in service.get("environment", {}).items() if key.startswith("VITALS_")}
        assert variables.keys() <= SETTINGS
    example = re.findall(r"^(?:# )?(VITALS_\w+)=(.*)$", ENV_EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {key for key, _ in example} <= SETTINGS
    secured = {
        "VITALS_SECURITY_PROTOCOL": "PLAINTEXT",
        "VITALS_SASL_PASSWORD": "not empty",
        "VITALS_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "VITALS_NOTIFY_URLS": "slack://TokenA/TokenB/TokenC",
    }
    for key, value in {**dict(example), **secured}.items():
        monkeypatch.setenv(key, value)
    assert Settings().instance == "worker-1"


def test_the_example_shows_how_to_secure_the_connection() -> None:
    text = ENV_EXAMPLE.read_text(encoding="utf-8")
    secure = {name for name in SETTINGS if re.match(r"VITALS_(SASL_|TLS_(?!KEY_PASSWORD)|SECURITY_)", name)}
    assert {name for name in secure if f"# {name}=" not in text} == set()


# deploy/Dockerfile


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_image_receives_signals_and_does_not_run_as_root() -> None:
    assert json.loads(instructions("ENTRYPOINT")[-1]) == ["vitals"]
    assert json.loads(instructions("CMD")[-1]) == ["worker"]
    user = int(instructions("USER")[-1])
    assert user > 0
    assert instructions("FROM")[-1].startswith("python:3.11-slim")


def test_the_image_copies_only_what_the_build_context_has() -> None:
    copied = {source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]}
    sent = re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert copied == set(sent)
    assert [path for path in copied if not (ROOT / path).exists()] == []


# Prometheus and Grafana


@pytest.mark.parametrize(("kind", "path"), [("rules", RULES), ("config", PROMETHEUS)])
def test_prometheus_accepts_its_files(kind: str, path: Path) -> None:
    checked = promtool("check", kind, path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_prometheus_rejects_a_broken_rule(tmp_path: Path) -> None:
    broken = tmp_path / "alerts.yml"
    broken.write_text(RULES.read_text(encoding="utf-8").replace("== 0", "== ", 1), encoding="utf-8")
    assert promtool("check", "rules", broken).returncode != 0


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    cases = (Path(__file__).parent / "alerts_test.yml").read_text(encoding="utf-8")
    tests = tmp_path / "alerts_test.yml"
    tests.write_text(cases.replace("[RULES]", f"[{json.dumps(str(RULES))}]"), encoding="utf-8")
    checked = promtool("test", "rules", tests)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts", cases))
    assert tested == {rule["alert"] for group in read_yaml(RULES)["groups"] for rule in group["rules"]}


def test_prometheus_scrapes_every_worker(services: dict[str, Any]) -> None:
    jobs = {job["job_name"]: job for job in read_yaml(PROMETHEUS)["scrape_configs"]}
    targets = {target for static in jobs["vitals"]["static_configs"] for target in static["targets"]}
    expected = {f"{name}:{service['environment']['VITALS_WEB_PORT']}" for name, service in workers(services).items()}
    assert targets == expected


def test_prometheus_scrapes_every_sink(services: dict[str, Any]) -> None:
    jobs = {job["job_name"]: job for job in read_yaml(PROMETHEUS)["scrape_configs"]}
    targets = {target for static in jobs["vitals-sinks"]["static_configs"] for target in static["targets"]}
    sinks = {name: service for name, service in services.items() if service.get("command", [""])[0] == "sink"}
    assert {service["command"][1] for service in sinks.values()} == {"alertmanager", "redis"}
    settings = {"alertmanager": "VITALS_ALERTMANAGER_PORT", "redis": "VITALS_REDIS_METRICS_PORT"}
    assert targets == {
        f"{name}:{service['environment'][settings[service['command'][1]]]}" for name, service in sinks.items()
    }


def test_a_board_that_others_reach_has_a_token_and_starts_only_when_asked_for(services: dict[str, Any]) -> None:
    board = services["board"]
    assert board["profiles"] == ["board"]
    assert board["environment"]["VITALS_BOARD_TOKEN"] is None
    with pytest.raises(SettingsError, match="board_token"):
        Access.of(Settings(board_host=board["environment"]["VITALS_BOARD_HOST"]))


def test_alertmanager_accepts_its_file() -> None:
    program = shutil.which("amtool")
    assert program, "amtool is missing: `make system` installs it (Debian's package prometheus-alertmanager)"
    checked = run(program, "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def exported(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Every series of a registry, by the name it has in a query, with its labels."""
    series: dict[str, set[str]] = {}
    for collector in registry._collector_to_names:
        if isinstance(collector, ProcessCollector):  # it cannot describe what it collects
            series |= {metric.name: set() for metric in collector.collect()}
            continue
        for metric in collector.describe():  # type: ignore[attr-defined]
            labels = set(collector._labelnames)  # type: ignore[attr-defined]
            endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(metric.type, [""])
            series |= {metric.name + ending: labels for ending in endings}
    return series


def queries() -> Iterator[tuple[str, str]]:
    """The file of each query, and the query."""
    for dashboard in DASHBOARDS:
        for panel in json.loads(dashboard.read_text(encoding="utf-8"))["panels"]:
            yield from ((f"{dashboard.name}: {panel['title']}", target["expr"]) for target in panel.get("targets", []))
    for group in read_yaml(RULES)["groups"]:
        yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])


def test_queries_use_only_series_and_labels_that_workers_and_sinks_export() -> None:
    sinks = exported(SinkTelemetry("webhook").registry) | exported(RedisTelemetry().registry)
    series = exported(Telemetry(BUILT_IN).registry) | sinks
    assert len(list(queries())) > 20
    for where, query in queries():
        names = re.findall(r"\b(?:vitals|process)_\w+", query)
        assert set(names) <= series.keys(), where
        labels = set(re.findall(r"[{,]\s*(\w+)\s*[=!]", query))
        for listed in re.findall(r"\b(?:by|on|without) \(([^)]*)\)", query):
            labels |= {label.strip() for label in listed.split(",")}
        known = PROMETHEUS_LABELS.union(*(series[name] for name in names))
        assert labels <= known, where


def test_every_exported_metric_is_on_a_dashboard() -> None:
    shown = {name for _, query in queries() for name in re.findall(r"\bvitals_\w+?(?:_bucket)?\b", query)}
    families = {re.sub(r"_(sum|count)$", "_bucket", name) for name in exported(Telemetry(BUILT_IN).registry)}
    for_the_demo_and_tests = {"vitals_events_settled", "vitals_dedup_horizon_timestamp_seconds"}
    of_what_few_run = {"vitals_peers_timestamp_seconds", "vitals_shadow_accounts"}
    of_every_process = {name for name in families if name.startswith("process_")}
    assert families - shown - of_every_process == for_the_demo_and_tests | of_what_few_run


def test_dashboards_find_their_datasource() -> None:
    provisioned = read_yaml(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    known = {source["uid"] for source in provisioned}
    for dashboard in DASHBOARDS:
        text = dashboard.read_text(encoding="utf-8")
        assert set(re.findall(r'"type": "prometheus",\s+"uid": "([^"]+)"', text)) == known
        panels = json.loads(text)["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)


def test_dashboard_panels_do_not_overlap() -> None:
    for dashboard in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(dashboard.read_text(encoding="utf-8"))["panels"]:
            area = panel["gridPos"]
            assert area["x"] + area["w"] <= 24, panel["title"]
            cells = {(area["x"] + x, area["y"] + y) for x in range(area["w"]) for y in range(area["h"])}
            assert taken.isdisjoint(cells), panel["title"]
            taken |= cells
