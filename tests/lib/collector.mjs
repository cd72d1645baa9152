// An OpenTelemetry collector: takes traces as OTLP over HTTP in protobuf, and keeps them for the test.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'

const { parse } = createRequire(import.meta.resolve('@grpc/proto-loader'))('protobufjs')

// What is needed of opentelemetry/proto/collector/trace/v1/trace_service.proto.
const { root } = parse(`
  syntax = "proto3";
  message Export { repeated ResourceSpans resource_spans = 1; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message ScopeSpans { repeated Span spans = 2; }
  message Span {
    bytes trace_id = 1;
    bytes span_id = 2;
    bytes parent_span_id = 4;
    string name = 5;
    int32 kind = 6;
    repeated KeyValue attributes = 9;
    repeated Link links = 13;
  }
  message Link { bytes trace_id = 1; bytes span_id = 2; }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
`)
const Export = root.lookupType('Export')
const hex = (bytes) => Buffer.from(bytes ?? []).toString('hex')

/** `url` is where it listens, `spans` all that it was sent. */
export class Collector {
  spans = []

  async open() {
    this.server = createServer(async (request, response) => {
      const body = Buffer.concat(await Array.fromAsync(request))
      if (request.url !== '/v1/traces' || request.headers['content-type'] !== 'application/x-protobuf') {
        response.writeHead(404).end()
        return
      }
      this.take(Export.toObject(Export.decode(body), { longs: Number }))
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
    })
    this.server.listen(0, '127.0.0.1')
    await once(this.server, 'listening')
    this.url = `http://127.0.0.1:${this.server.address().port}`
    return this
  }

  take({ resourceSpans = [] }) {
    for (const { resource, scopeSpans = [] } of resourceSpans) {
      const service = attributes(resource)['service.name']
      for (const { spans = [] } of scopeSpans) {
        for (const span of spans) {
          this.spans.push({
            service,
            trace: hex(span.traceId),
            id: hex(span.spanId),
            parent: hex(span.parentSpanId),
            name: span.name,
            attributes: attributes(span),
            links: (span.links ?? []).map((link) => hex(link.traceId)),
          })
        }
      }
    }
  }

  /** The spans of a trace. */
  trace(id) {
    return this.spans.filter((span) => span.trace === id)
  }

  close() {
    this.server.closeAllConnections()
    this.server.close()
  }
}

function attributes(of) {
  const value = (any) => Object.values(any ?? {})[0]
  return Object.fromEntries((of?.attributes ?? []).map((pair) => [pair.key, value(pair.value)]))
}
