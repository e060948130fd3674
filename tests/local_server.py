"""A small server of files on this machine that knows ranges, and can be told to misbehave."""

import contextlib
import hashlib
import http.server
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, start = self.server, 0
        server.asked.append((self.path, self.headers.get("Range")))
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if wanted and server.ranges and condition in (None, tag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start + server.lie))
        if server.tags:
            self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(content[start:][:server.most])

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def serve(**files):
    """Serve name -> content. `.url(name)`, `.asked` (what was asked for), and knobs:

    most    bytes of an answer after which it breaks off. ranges, tags: whether it knows them. lie: bytes that it claims to
            have beyond those it has.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files = {f"/{name}": content for name, content in files.items()}
    server.asked, server.most, server.ranges, server.tags, server.lie = [], None, True, True, 0
    server.url = lambda name: f"http://127.0.0.1:{server.server_port}/{name}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
