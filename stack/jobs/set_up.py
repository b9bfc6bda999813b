"""Set up Elasticsearch and Kibana; safe to repeat, and to be repeated after each change of a file.

usage: python -m jobs.set_up elasticsearch|kibana
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from .api import Api, elasticsearch, patiently

STACK = Path(__file__).parents[1]
BOUNDARY = "saved-objects"


def main() -> None:
    """Set up what the command line names."""
    targets = {"elasticsearch": set_up_elasticsearch, "kibana": set_up_kibana}
    for name in sys.argv[1:]:
        targets[name]()
        print(f"{name} is set up", flush=True)


def set_up_elasticsearch() -> None:
    """Install roles, users and index templates."""
    server = elasticsearch("elastic", "ELASTIC_PASSWORD")
    patiently(lambda: server.send("GET", "/_security/_authenticate"))
    for name, role in _files("elasticsearch/roles"):
        server.send("PUT", f"/_security/role/{name}", role)
    for name, user in _read("elasticsearch/users.json").items():
        _put_user(server, name, user)
    password = {"password": os.environ["KIBANA_PASSWORD"]}
    server.send("POST", "/_security/user/kibana_system/_password", password)
    for name, template in _files("elasticsearch/templates"):
        server.send("PUT", f"/_index_template/{name}", template)


def _put_user(server: Api, name: str, user: dict[str, str]) -> None:
    body = {"roles": [user["role"]], "password": os.environ[user["password"]]}
    server.send("PUT", f"/_security/user/{name}", body)


def set_up_kibana() -> None:
    """Install the data view, the searches and the dashboard."""
    server = Api(os.environ["KIBANA_URL"], "elastic", os.environ["ELASTIC_PASSWORD"])
    patiently(lambda: server.send("GET", "/api/status"))
    view = {"data_view": _read("kibana/data-view.json"), "override": True}
    server.send("POST", "/api/data_views/data_view", view)
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    imported = server.send("POST", "/api/saved_objects/_import?overwrite=true", _upload(), kind)
    if not imported["success"]:
        sys.exit(f"Kibana did not take the searches: {imported}")
    server.send("PUT", "/api/dashboards/services", _read("kibana/dashboard.json"))


def _upload() -> str:
    """Return the searches as the upload of a form."""
    content = "".join(f"{json.dumps(search)}\n" for search in _read("kibana/searches.json"))
    disposition = 'form-data; name="file"; filename="searches.ndjson"'
    return (
        f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n"
        f"Content-Type: application/ndjson\r\n\r\n{content}\r\n--{BOUNDARY}--\r\n"
    )


def _files(folder: str) -> list[tuple[str, Any]]:
    return [(path.stem, _parsed(path)) for path in sorted((STACK / folder).glob("*.json"))]


def _read(name: str) -> Any:
    return _parsed(STACK / name)


def _parsed(path: Path) -> Any:
    """Return a file's content; ${ZIPKIN_URL} is where people find Zipkin."""
    zipkin = os.environ.get("ZIPKIN_URL", "http://localhost:9411")
    return json.loads(path.read_text(encoding="utf-8").replace("${ZIPKIN_URL}", zipkin))


if __name__ == "__main__":
    main()
