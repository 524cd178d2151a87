"""A Hub on the loopback address: the calls that huggingface_hub's client makes, with repositories in memory."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_only_for_this_test"


@dataclass
class Repo:
    """Commits by their ids, and branches."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    lfs: set[str] = field(default_factory=set)  # hashes of contents
    messages: list[str] = field(default_factory=list)

    def commit(self, branch, files, message):
        number = hashlib.sha1(f"{len(self.commits)} {message}".encode()).hexdigest()
        self.commits[number] = files
        self.branches[branch] = number
        self.messages.append(message)
        return number

    def find(self, revision):
        return self.branches.get(revision, revision if revision in self.commits else None)


class Hub:
    """The server; use it in a ``with`` statement.

    Attributes:
        repos: Repositories by their names.
        requests: Method and path of every request.
    """

    def __init__(self):
        self.repos, self.requests, self.blobs = {}, [], {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def add(self, name, files, private=False):
        repo = self.repos[name] = Repo(private)
        repo.commit("main", files, "initial commit")
        return repo


def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, content=None, status=200, error=None, headers=(), body=None):
        body = json.dumps(content).encode() if body is None else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if error is not None:
            self.send_header("X-Error-Code", error)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def route(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = b""
            while size := int(self.rfile.readline(), 16):
                self.body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            self.body = self.rfile.read(length)
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.hub.requests.append((self.command, url.path))
        for method, pattern, action in ROUTES:
            match = re.fullmatch(pattern, url.path)
            if match and self.command in method:
                return action(self, *map(unquote, match.groups()))
        return self.answer({"error": f"no route for {self.command} {url.path}"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = route

    @property
    def authorized(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def repo(self, name, writes=False):
        repo = self.hub.repos.get(name)
        if "Authorization" in self.headers and not self.authorized:
            self.answer({"error": "Invalid credentials in Authorization header"}, 401)
            return None
        if repo is None or ((repo.private or writes) and not self.authorized):
            self.answer({"error": "Repository not found"}, 401, "RepoNotFound")
            return None
        return repo

    def at(self, name, revision):
        repo = self.repo(name)
        if repo is None:
            return None
        commit = repo.find(revision)
        if commit is None:
            self.answer({"error": f"Invalid rev id: {revision}"}, 404, "RevisionNotFound")
            return None
        return repo, commit, repo.commits[commit]

    def create(self):
        wanted = json.loads(self.body)
        name = f"{wanted['organization']}/{wanted['name']}"
        if not self.authorized:
            return self.answer({"error": "Invalid credentials in Authorization header"}, 401)
        if wanted["organization"] != "user":
            return self.answer({"error": "You don't have the rights to create a model there"}, 403)
        if name in self.hub.repos:
            return self.answer({"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"}, 409)
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.hub.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private)
        return self.answer({"url": f"{self.hub.url}/{name}", "name": name})

    def validate(self):
        return self.answer({"errors": [], "warnings": []})

    def info(self, name, revision="main"):
        if (found := self.at(name, revision)) is not None:
            repo, commit, files = found
            siblings = [{"rfilename": path} for path in files]
            self.answer({"id": name, "sha": commit, "private": repo.private, "tags": [], "siblings": siblings})

    def branch(self, name, branch):
        if (repo := self.repo(name, writes=True)) is not None:
            if branch in repo.branches:
                return self.answer({"error": "Reference already exists"}, 409)
            repo.branches[branch] = repo.branches["main"]
            self.answer({})
        return None

    def tree(self, name, revision):
        if (found := self.at(name, revision)) is not None:
            repo, _, files = found
            self.answer([self.entry(repo, path, content) for path, content in files.items()])

    def entry(self, repo, path, content):
        entry = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
        digest = hashlib.sha256(content).hexdigest()
        if digest in repo.lfs:
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 128}
        return entry

    def preupload(self, name, revision):
        if self.repo(name, writes=True) is not None:
            files = json.loads(self.body)["files"]
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith((".safetensors", ".mp4", ".onnx")) else "regular",
                    "shouldIgnore": False,
                }
                for one in files
            ]
            self.answer({"files": modes})

    def batch(self, name):
        if self.repo(name, writes=True) is not None:
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.hub.url}/upload/{one['oid']}"}}}
                for one in json.loads(self.body)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})

    def upload(self, digest):
        assert hashlib.sha256(self.body).hexdigest() == digest
        self.hub.blobs[digest] = self.body
        self.answer({})

    def commit(self, name, revision):
        if (repo := self.repo(name, writes=True)) is None:
            return
        header, *operations = (json.loads(line) for line in self.body.splitlines())
        files = dict(repo.commits[repo.branches[revision]])
        for one in operations:
            kind, value = one["key"], one["value"]
            if kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
                repo.lfs.add(value["oid"])
            else:
                del files[value["path"]]
        number = repo.commit(revision, files, header["value"]["summary"])
        self.answer({"commitOid": number, "commitUrl": f"{self.hub.url}/{name}/commit/{number}", "success": True})

    def resolve(self, name, revision, path):
        if (found := self.at(name, revision)) is None:
            return
        _, commit, files = found
        if path not in files:
            self.answer({"error": "Entry not found"}, 404, "EntryNotFound", [("X-Repo-Commit", commit)])
            return
        headers = [("X-Repo-Commit", commit), ("ETag", f'"{hashlib.sha256(files[path]).hexdigest()}"')]
        self.answer(headers=headers, body=files[path])


REPO = "([^/]+/[^/]+)"
ROUTES = (
    (["POST"], "/api/repos/create", _Handler.create),
    (["POST"], "/api/validate-yaml", _Handler.validate),
    (["GET"], f"/api/models/{REPO}", _Handler.info),
    (["GET"], f"/api/models/{REPO}/revision/([^/]+)", _Handler.info),
    (["GET"], f"/api/models/{REPO}/tree/([^/]+)", _Handler.tree),
    (["POST"], f"/api/models/{REPO}/branch/(.+)", _Handler.branch),
    (["POST"], f"/api/models/{REPO}/preupload/(.+)", _Handler.preupload),
    (["POST"], f"/api/models/{REPO}/commit/(.+)", _Handler.commit),
    (["POST"], f"/{REPO}.git/info/lfs/objects/batch", _Handler.batch),
    (["PUT"], "/upload/(.+)", _Handler.upload),
    (["GET", "HEAD"], f"/{REPO}/resolve/([^/]+)/(.+)", _Handler.resolve),
)
