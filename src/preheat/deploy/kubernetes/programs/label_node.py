"""Label node: put a label on this pod's node, and remove it when the pod ends. The pod's image stays on the node."""

import json
import signal
import ssl
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Optional

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/"


def label(host: str, port: str, node: str, key: str, value: Optional[str], account: str = ACCOUNT) -> None:
    """Set a label of a node; None removes it. The token is read each time, since it is renewed."""
    token = Path(account, "token").read_text().strip()
    address = f"[{host}]" if ":" in host else host
    asked = urllib.request.Request(
        f"https://{address}:{port}/api/v1/nodes/{node}",
        json.dumps({"metadata": {"labels": {key: value}}}).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"},
        method="PATCH",
    )
    direct = urllib.request.ProxyHandler({})
    trusted = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(Path(account, "ca.crt"))))
    with urllib.request.build_opener(direct, trusted).open(asked, timeout=30):
        pass


def main(host: str, port: str, node: str, key: str, value: str, account: str = ACCOUNT) -> None:
    """Label the node until SIGTERM or SIGINT; again every five minutes, in case someone removed the label."""
    over = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: over.set())
    while True:
        try:
            label(host, port, node, key, value, account)
            wait = 300
            print("labelled", node, flush=True)
        except OSError as error:
            wait = 5
            print(f"cannot label {node}: {error}", file=sys.stderr, flush=True)
        if over.wait(wait):
            break
    label(host, port, node, key, None, account)


if __name__ == "__main__":
    main(*sys.argv[1:])
