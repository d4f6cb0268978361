"""A collector of traces, as OpenTelemetry's own messages have it: prints its port, then a line of JSON for each message.

Answers with the statuses that it is given, in their order, and then with 200."""
import base64
import http.server
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

STATUSES = [int(word) for word in sys.argv[1:]]
IDS = ["traceId", "spanId", "parentSpanId"]  # hexadecimal in OTLP, and in no other JSON of protobuf


def read(body):
    """Every key has to be one of the message, of its type."""
    text = json.loads(body)
    for resource in text["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for key in IDS:
                    if key in span:
                        span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    return json_format.Parse(json.dumps(text), ExportTraceServiceRequest())


def attributes(of):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of}


def spans(message):
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "service": attributes(resource.resource.attributes)["service.name"],
                    "trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex(),
                    "name": span.name, "kind": span.kind, "status": span.status.code, "flags": span.flags,
                    "begin": span.start_time_unix_nano, "end": span.end_time_unix_nano,
                    "attributes": attributes(span.attributes),
                }


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = STATUSES.pop(0) if STATUSES else 200
        said = {"status": status, "path": self.path, "fields": {name.lower(): value for name, value in self.headers.items()}}
        print(json.dumps(said | {"spans": list(spans(read(body)))}), flush=True)
        answer = b"{}"
        self.send_response(status)
        if status != 200:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
