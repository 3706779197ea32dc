"""A relay with tokenwire's native routes in forty lines, so that the scenarios that need them can be tested.

python native_relay.py PORT UPSTREAM_PORT
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

UPSTREAM = int(sys.argv[2])
CHANGED = threading.Condition()
STREAMS: list[list[bytes]] = []


def ask_upstream(request: bytes) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", UPSTREAM)
    connection.request("POST", "/v1/chat/completions", request)
    return connection.getresponse()


def fill(log: list[bytes], request: bytes) -> None:
    for line in ask_upstream(request):
        with CHANGED:
            log.append(b"event: done\n" + line if b"[DONE]" in line else line)
            CHANGED.notify_all()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/streams":
            log: list[bytes] = []
            STREAMS.append(log)
            request = json.dumps(json.loads(body)["request"]).encode()
            threading.Thread(target=fill, args=(log, request), daemon=True).start()
            self.send_response(201)
            self.end_headers()
            self.wfile.write(json.dumps({"id": f"st_{len(STREAMS) - 1}"}).encode())
            return
        self.send_response(200)
        self.end_headers()
        for line in ask_upstream(body):
            self.wfile.write(line)

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        if not self.path.startswith("/v1/streams/st_"):
            return
        log, sent, text = STREAMS[int(self.path.split("/")[3][3:])], 0, b""
        while b"[DONE]" not in text:
            with CHANGED:
                while len(log) == sent:
                    CHANGED.wait()
                text = b"".join(log[sent:])
                sent = len(log)
            self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
