"""The label on the leading pod: its objects; and its hook, called by a real daemon and by hand, against a real HTTPS server.

The server speaks the small part of the Kubernetes API that the hook needs: a merge patch of one pod's labels, with a bearer token,
where another uid than the pod's is a conflict.
"""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from testbed import wait_until
from tests.deploy import tools
from tests.deploy.test_kubernetes import FOLDER, RELEASES, rendered

COMPONENT = FOLDER / "components" / "leader-label"
HOOK = COMPONENT / "pod_label.py"
TOKEN = "canary-token"
POD = "/api/v1/namespaces/shop/pods/app-7d9c-x"


class Api(http.server.ThreadingHTTPServer):
    """One pod and its labels; `broken` is how many requests it drops before it answers."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.labels: dict[str, str] = {"app": "app"}
        self.broken = 0
        certificate, key = signed(folder)
        (folder / "ca.crt").write_bytes(certificate.read_bytes())
        (folder / "token").write_text(TOKEN)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that is refused or dropped is what some tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Api

    def do_PATCH(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.broken > 0:
            self.server.broken -= 1
            self.close_connection = True
            return
        self.send_response(self.judge(said["metadata"]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def judge(self, metadata: dict[str, Any]) -> int:
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return 401
        if self.headers["Content-Type"] != "application/merge-patch+json":
            return 415
        if self.path != POD:
            return 404
        if metadata["uid"] != "uid-1":
            return 409
        for name, value in metadata["labels"].items():
            self.server.labels.pop(name, None)
            if value is not None:
                self.server.labels[name] = value
        return 200

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """No log."""


def signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kube-apiserver")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "api.pem", folder / "api.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return pem, private


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    server = Api(tmp_path)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    server.server_close()


def environ(api: Api, folder: Path, **more: str) -> dict[str, str]:
    host, port = api.server_address[:2]
    pod = {"POD_NAME": "app-7d9c-x", "POD_NAMESPACE": "shop", "LEADERD_INSTANCE_UID": "uid-1", "LEADER_LABEL_API": str(folder)}
    return {"PATH": os.environ["PATH"], "KUBERNETES_SERVICE_HOST": str(host), "KUBERNETES_SERVICE_PORT": str(port), **pod, **more}


def hook(api: Api, folder: Path, name: str, token: str = "", **more: str) -> int:
    told = {"LEADERD_HOOK": name, "LEADERD_ELECTION": "jobs", "LEADERD_TOKEN": token}
    done = subprocess.run([sys.executable, str(HOOK)], env=environ(api, folder, **told, **more), capture_output=True, timeout=30)
    assert not done.stderr, done.stderr
    return done.returncode


def test_it_comes_and_goes_with_the_lease(api: Api, tmp_path: Path) -> None:
    assert hook(api, tmp_path, "on_acquire", "42") == 0
    assert api.labels == {"app": "app", "leaderd/jobs": "leader"}
    assert hook(api, tmp_path, "on_change", "42") == 0
    assert "leaderd/jobs" in api.labels
    assert hook(api, tmp_path, "on_lose", "42") == 0
    assert api.labels == {"app": "app"}


def test_what_a_killed_daemon_left_is_taken_off_by_the_next(api: Api, tmp_path: Path) -> None:
    api.labels["leaderd/jobs"] = "leader"
    assert hook(api, tmp_path, "on_change") == 0
    assert api.labels == {"app": "app"}


def test_what_goes_wrong_is_told_apart(api: Api, tmp_path: Path) -> None:
    assert hook(api, tmp_path, "on_acquire", "42", LEADERD_INSTANCE_UID="uid-0") == 1  # the namesake before us
    assert api.labels == {"app": "app"}
    api.broken = 1
    assert hook(api, tmp_path, "on_acquire", "42") == 0  # once is forgiven
    api.broken = 9
    assert hook(api, tmp_path, "on_lose", "42") == 2
    api.broken = 0
    (tmp_path / "other").mkdir()
    signed(tmp_path / "other")
    (tmp_path / "ca.crt").write_bytes((tmp_path / "other" / "api.pem").read_bytes())
    assert hook(api, tmp_path, "on_lose", "42") == 2  # somebody else's certificate: the token is not shown to it
    assert "leaderd/jobs" in api.labels
    assert hook(api, tmp_path, "on_acquire", "42", KUBERNETES_SERVICE_PORT="") == 3


def test_a_real_daemon_labels_its_pod(api: Api, tmp_path: Path) -> None:
    deployment = objects(tmp_path)["Deployment"]
    sidecar = deployment["spec"]["template"]["spec"]["initContainers"][0]
    hooks = {e["name"]: e["value"] for e in sidecar["env"] if e["name"].startswith("LEADERD_HOOKS_")}
    assert len(hooks) == 3
    here = {name: words.replace("python3,/etc/leader-label", f"{sys.executable},{COMPONENT}") for name, words in hooks.items()}
    run = tmp_path / "run"
    run.mkdir(mode=0o750)
    words = ["run", f"--store=local://{tmp_path}/store", "--election=jobs", "--ttl=2s", "--http=off", "--ops=off"]
    leaderd, env = [sys.executable, "-m", "leaderd"], environ(api, tmp_path, LEADERD_RUNTIME_DIR=str(run), **here)
    log = tmp_path / "log"
    with log.open("wb") as file:
        daemon = subprocess.Popen([*leaderd, *words], env=env, stderr=file)
    try:
        wait_until(lambda: api.labels.get("leaderd/jobs") == "leader", 20, "the pod bears the label")
        # Whose uid the label was set for, an operator sees too.
        status = subprocess.run([*leaderd, "status", "-o", "json"], env=env, capture_output=True, timeout=30)
        assert json.loads(status.stdout)["instance_uid"] == "uid-1"
        assert '"instance_uid":"uid-1"' in log.read_text().splitlines()[0]
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
        assert api.labels == {"app": "app"}
    finally:
        daemon.kill()
        daemon.wait()


def labelled(folder: Path, store: str = "etcd") -> str:
    """An overlay as a user would write it: one of ours, and the component."""
    overlay = folder / "overlay"
    overlay.mkdir(exist_ok=True)
    places = {"resources": FOLDER / "overlays" / store, "components": COMPONENT}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump({k: [os.path.relpath(v, overlay)] for k, v in places.items()}))
    return rendered(str(overlay))


def objects(folder: Path) -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(labelled(folder))}


@pytest.mark.parametrize("release", [RELEASES[0], RELEASES[-1]])
def test_its_objects_are_valid(release: str, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(labelled(tmp_path, "consul"))
    tools.run("kubernetes-validate", "--strict", "--kubernetes-version", release, str(tmp_path / "all.yaml"))


def test_it_may_as_little_as_can_be(tmp_path: Path) -> None:
    found = objects(tmp_path)
    assert found["Role"]["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}]
    assert found["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": found["ServiceAccount"]["metadata"]["name"]}]
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    holders = [
        each["name"] for each in [*pod["initContainers"], *pod["containers"]] for m in each["volumeMounts"] if "api" in m["name"]
    ]
    assert holders == ["leaderd"]


def test_without_the_component_there_is_no_role() -> None:
    assert "kind: Role" not in rendered("overlays/etcd")
