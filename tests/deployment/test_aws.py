"""The CloudFormation templates: valid by cfn-lint, and naming what exists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import fast_yaml
import known
import pytest
import yaml
from processes import ROOT

from autoscale.policy import Policy
from echo_tasks.local import servers
from echo_tasks.settings import load

FOLDER = ROOT / "clouds" / "aws"
STACKS = ("servers", "workers", "api")
"""In the order in which they are made."""


class Loader(fast_yaml.Loader):  # type: ignore[misc]
    """Reads CloudFormation's short forms, `!Ref x`, as the long ones: as cfn-lint does, in a tenth of its time."""

    def long(self, tag: str, node: yaml.Node) -> dict[str, Any]:
        if isinstance(node, yaml.ScalarNode):
            value: Any = self.construct_scalar(node)
        else:
            value = self.construct_sequence(node, deep=True)
        if tag == "GetAtt":
            value = value.split(".", 1)
        return {tag if tag in {"Ref", "Condition"} else f"Fn::{tag}": value}


Loader.add_multi_constructor("!", Loader.long)
TEMPLATES = {name: yaml.load((FOLDER / f"{name}.yaml").read_text(), Loader=Loader) for name in STACKS}  # noqa: S506
CONTAINERS = {
    container["Name"]: (name, container)
    for name, stack in TEMPLATES.items()
    for resource in stack["Resources"].values()
    if resource["Type"] == "AWS::ECS::TaskDefinition"
    for container in resource["Properties"]["ContainerDefinitions"]
}
OURS = sorted(set(CONTAINERS) & set(known.OURS))


def resources(kind: str) -> list[dict[str, Any]]:
    found = (resource for stack in TEMPLATES.values() for resource in stack["Resources"].values())
    return [resource["Properties"] for resource in found if resource["Type"] == kind]


def rules() -> dict[str, dict[str, Any]]:
    """The listeners' rules, by the listener."""
    return {it["ListenerArn"]["Ref"]: it for it in resources("AWS::ElasticLoadBalancingV2::ListenerRule")}


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--non-zero-exit-code", "warning", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_the_templates_are_valid() -> None:
    """cfn-lint has neither an error nor a warning, and there is no template that it was not shown."""
    files = sorted(FOLDER.glob("*.yaml"))
    assert sorted(path.stem for path in files) == sorted(STACKS)
    done = lint(*files)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", STACKS)
def test_these_tests_read_what_cfn_lint_reads(name: str) -> None:
    """By its own reader, which is slow to import."""
    from cfnlint.decode import cfn_yaml  # noqa: PLC0415 - seconds, which every other run would pay at collection

    assert cfn_yaml.load(str(FOLDER / f"{name}.yaml")) == TEMPLATES[name]


def test_what_is_wrong_is_found_out(tmp_path: Path) -> None:
    """A property that does not exist, and a name of nothing."""
    text = (FOLDER / "workers.yaml").read_text().replace("LaunchType: FARGATE", "LaunchKind: FARGATE", 1)
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace("!GetAtt ScrapeRole.Arn", "!GetAtt NobodysRole.Arn"))
    told = lint(broken).stdout
    assert "LaunchKind" in told
    assert "NobodysRole" in told


@pytest.mark.parametrize("name", OURS)
def test_containers_are_our_images_settings_and_ports(name: str) -> None:
    """Each service's own image, at the version; its settings by name and value, its secrets as such; its port."""
    stack, container = CONTAINERS[name]
    assert container["Image"] == {"Fn::Sub": f"${{Registry}}/{known.OURS[name]}:${{Version}}"}
    assert known.OURS[name] in known.targets()
    assert TEMPLATES[stack]["Parameters"]["Version"]["Default"] == known.VERSION
    for setting in container["Environment"]:
        assert known.is_setting(setting["Name"])
        if isinstance(setting["Value"], str):
            assert known.is_allowed(setting["Name"], setting["Value"])
    secrets = {secret["Name"] for secret in container["Secrets"]}
    assert secrets <= {"BROKER_PASSWORD", "CACHE_PASSWORD", "API_ADMIN_KEY"}
    assert all(map(known.is_setting, secrets))
    assert [it["ContainerPort"] for it in container.get("PortMappings", [])] in ([], [known.PORTS[name]])


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_have_no_rights(name: str) -> None:
    """A root file system that is only read; of ours, no root and no capability; no role but the collector's."""
    _, container = CONTAINERS[name]
    assert container["ReadonlyRootFilesystem"] == "true" or container["ReadonlyRootFilesystem"] is True
    if name in known.OURS:
        assert container["User"] == f"{known.USER}:{known.USER}"
        assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    roles = [task.get("TaskRoleArn") for task in resources("AWS::ECS::TaskDefinition")]
    assert roles.count(None) == len(roles) - 1


def test_workers_may_finish_before_they_are_killed() -> None:
    """Fargate's two minutes hold the grace, and time to hand the rest back."""
    _, worker = CONTAINERS["worker"]
    grace_s = {setting["Name"]: setting["Value"] for setting in worker["Environment"]}["ECHO_GRACE_S"]
    assert float(grace_s) + 15 <= int(worker["StopTimeout"]) <= 120


def test_health_checks_ask_the_process_that_they_are_of() -> None:
    """By the images' own program, under the service's name; the load balancer by a route."""
    for name in ("worker", "controller"):
        assert CONTAINERS[name][1]["HealthCheck"]["Command"] == ["CMD", "python", "-S", "/app/health.py", name]
    (targets,) = resources("AWS::ElasticLoadBalancingV2::TargetGroup")
    assert targets["HealthCheckPath"] in known.paths("api")
    assert int(targets["Port"]) == known.PORTS["api"]


def test_the_edge_waits_longer_than_any_request_is_silent() -> None:
    """And passes our paths alone, without the metrics."""
    (edge,) = resources("AWS::ElasticLoadBalancingV2::LoadBalancer")
    attributes = {it["Key"]: it["Value"] for it in edge["LoadBalancerAttributes"]}
    idle_s = int(attributes["idle_timeout.timeout_seconds"])
    assert idle_s > load({}).service_timeout
    settings = {it["Name"]: it["Value"] for it in CONTAINERS["api"][1]["Environment"]}
    assert load({"CLIENT_IDLE_S": settings["CLIENT_IDLE_S"]}).client_idle_s > idle_s  # the load balancer closes first
    rule = rules()["Https"]
    patterns = rule["Conditions"][0]["PathPatternConfig"]["Values"]
    for pattern in patterns:
        assert any(route.startswith(pattern.removesuffix("*")) for route in known.paths("api"))
    assert not any("/metrics".startswith(pattern.removesuffix("*")) for pattern in patterns)


def test_nothing_but_reading_is_sent_on_to_https() -> None:
    """Whoever follows a 301 makes a GET of a POST."""
    rule = rules()["Http"]
    assert rule["Conditions"][0]["HttpRequestMethodConfig"]["Values"] == ["GET", "HEAD"]
    assert [action["Type"] for action in rule["Actions"]] == ["redirect"]
    (http,) = [it for it in resources("AWS::ElasticLoadBalancingV2::Listener") if int(it["Port"]) == 80]
    assert http["DefaultActions"] == [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "403"}}]


def test_what_ends_by_itself_comes_back() -> None:
    """Its task ends with it, and is replaced; or it is started again alone."""
    for _, container in CONTAINERS.values():
        assert container["Essential"] in (True, "true") or container["RestartPolicy"]["Enabled"] in (True, "true")


def test_workers_follow_our_metric() -> None:
    """It exists, the collector reads it where it is served and sends it by the name and dimension that are followed."""
    (policy,) = resources("AWS::ApplicationAutoScaling::ScalingPolicy")
    followed = policy["TargetTrackingScalingPolicyConfiguration"]
    metric = followed["CustomizedMetricSpecification"]
    assert known.is_metric(metric["MetricName"])
    assert float(followed["TargetValue"]) == Policy().target
    _, collector = CONTAINERS["collector"]
    told = fast_yaml.load(collector["Environment"][0]["Value"]["Fn::Sub"].replace("${AWS::StackName}", "echo"))
    (job,) = told["receivers"]["prometheus"]["config"]["scrape_configs"]
    (targets,) = job["static_configs"]
    assert targets["targets"] == [f"127.0.0.1:{known.PORTS[one]}" for one in ("exporter", "controller")]
    kept = job["metric_relabel_configs"][0]["regex"].split("|")
    assert metric["MetricName"] in kept
    assert all(map(known.is_metric, kept))
    sent = told["exporters"]["awsemf"]
    assert sent["namespace"] == metric["Namespace"]
    (dimension,) = metric["Dimensions"]
    assert sent["metric_declarations"][0]["dimensions"] == [[dimension["Name"]]]
    assert set(targets["labels"]) == {dimension["Name"]}


def test_the_controller_starts_nobody() -> None:
    """Two would fight for the number of workers."""
    _, controller = CONTAINERS["controller"]
    assert {"Name": "SCALE_ACTUATOR", "Value": "none"} in controller["Environment"]


def test_servers_are_set_as_the_farms_own_are() -> None:
    """Behind TLS and a password each; cluster mode off; a full broker refuses, a full store makes room."""
    servers_of = {it["ReplicationGroupDescription"]: it for it in resources("AWS::ElastiCache::ReplicationGroup")}
    assert len(servers_of) == 2
    for it in servers_of.values():
        assert it["TransitEncryptionEnabled"] == "true" or it["TransitEncryptionEnabled"] is True
        assert "resolve:secretsmanager" in it["AuthToken"]["Fn::Sub"]
        assert "NumNodeGroups" not in it
    for role in servers.ROLES:
        words = servers.arguments(role, load({"BROKER_MEMORY_MB": "64"}))
        wanted = words[words.index("--maxmemory-policy") + 1]
        group = TEMPLATES["servers"]["Resources"][f"{role.title()}Parameters"]["Properties"]
        assert group["Properties"] == {"maxmemory-policy": wanted}


def test_stacks_hand_on_what_the_next_ones_ask_for() -> None:
    """Every output has its parameter by the same name, or is for people."""
    asked = {name for stack in TEMPLATES.values() for name in stack["Parameters"]}
    told = {name for stack in TEMPLATES.values() for name in stack["Outputs"]}
    assert told - asked == {"Edge", "AdminKey"}
    assert {"FarmMembers", "BrokerUrl", "StoreUrl", "BrokerPassword", "StorePassword", "Cluster", "Log"} <= asked & told
