// Orders over REST or gRPC in Node, observed as the service from the template is.
//
// Usage: orders.js rest|grpc PORT RATIO PROTO
"use strict";

const { registerInstrumentations } = require("@opentelemetry/instrumentation");
const { GrpcInstrumentation } = require("@opentelemetry/instrumentation-grpc");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
const {
  BatchSpanProcessor,
  NodeTracerProvider,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
} = require("@opentelemetry/sdk-trace-node");

const [transport, port, ratio, proto] = process.argv.slice(2);
const nowhere = { export: (_, done) => done({ code: 0 }), shutdown: async () => {} };
new NodeTracerProvider({
  sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(Number(ratio)) }),
  spanProcessors: [new BatchSpanProcessor(nowhere)],
}).register();
registerInstrumentations({
  instrumentations: [transport === "grpc" ? new GrpcInstrumentation() : new HttpInstrumentation()],
});

// What is instrumented is loaded after that.
const { randomUUID } = require("node:crypto");
const { trace } = require("@opentelemetry/api");
const prometheus = require("prom-client");
const log = require("pino")();

const known = new Map();
const took = new prometheus.Histogram({
  name: "call_duration_seconds",
  help: "How long calls took.",
  labelNames: ["name", "code"],
});

function created({ sku, quantity }) {
  const order = { id: randomUUID().replaceAll("-", ""), sku, quantity };
  known.set(order.id, order);
  return order;
}

function ended(name, code, milliseconds) {
  took.labels(name, String(code)).observe(milliseconds / 1000);
  const span = trace.getActiveSpan()?.spanContext();
  log.info({ name, code, duration: milliseconds, "trace.id": span?.traceId, "span.id": span?.spanId }, "call");
}

const text = { type: "string" };
const order = { type: "object", properties: { id: text, sku: text, quantity: { type: "integer" } } };
const asked = {
  type: "object",
  required: ["sku", "quantity"],
  properties: {
    sku: { type: "string", pattern: "^[a-z0-9]+(-[a-z0-9]+)*$", maxLength: 64 },
    quantity: { type: "integer", minimum: 1, maximum: 1_000_000 },
  },
};

async function rest() {
  const app = require("fastify")();
  app.addHook("onResponse", async (request, reply) => {
    ended(request.routeOptions.url, reply.statusCode, reply.elapsedTime);
  });
  app.post("/v1/orders", { schema: { body: asked, response: { 201: order } } }, async (request, reply) => {
    return reply.code(201).send(created(request.body));
  });
  app.get("/v1/orders/:id", { schema: { response: { 200: order } } }, async (request, reply) => {
    return known.get(request.params.id) ?? reply.code(404).send();
  });
  await app.listen({ host: "127.0.0.1", port: Number(port) });
}

function rpc() {
  const grpc = require("@grpc/grpc-js");
  const definition = require("@grpc/proto-loader").loadSync(proto, { keepCase: true });
  const { OrderService } = grpc.loadPackageDefinition(definition).order_book.orders.v1;
  const unary = (name, handle) => (call, answer) => {
    const began = performance.now();
    const [error, message] = handle(call.request);
    answer(error, message);
    ended(name, error?.code ?? grpc.status.OK, performance.now() - began);
  };
  const server = new grpc.Server();
  server.addService(OrderService.service, {
    CreateOrder: unary("CreateOrder", (request) => [null, { order: created(request) }]),
    GetOrder: unary("GetOrder", ({ id }) => {
      const found = known.get(id);
      return found ? [null, { order: found }] : [{ code: grpc.status.NOT_FOUND, message: "no such order" }];
    }),
  });
  server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error) => {
    if (error) throw error;
  });
}

if (transport === "grpc") rpc();
else rest();
