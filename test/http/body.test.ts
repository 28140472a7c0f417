import { once } from "node:events";
import { type AddressInfo, type Socket, connect } from "node:net";
import fastify, { type FastifyInstance } from "fastify";
import { afterEach, beforeEach, expect, it } from "vitest";
import { boundBodies } from "../../src/http/body.ts";

let app: FastifyInstance;
let answered: string[];
beforeEach(async () => {
  answered = [];
  app = fastify({ forceCloseConnections: true });
  boundBodies(app);
  app.addContentTypeParser("text/half", (_request, _payload, done) => done(null));
  app.post("/slow", { config: { bodyMs: 50 } }, async () => answered.push("slow"));
  app.post("/", async (request) => {
    answered.push(String(request.body));
    return "taken";
  });
  // Reads a little, as a parser does that then refuses the rest.
  app.post("/half", async (request, reply) => {
    await once(request.raw, "readable");
    request.raw.read(1);
    return reply.status(413).send("too much");
  });
  app.get("/", async () => "here");
  await app.listen({ host: "127.0.0.1", port: 0 });
});
afterEach(() => app.close());

/** A connection by hand, and all that comes back on it. */
function dial(): { socket: Socket; answer: () => string } {
  const socket = connect((app.server.address() as AddressInfo).port, "127.0.0.1");
  let answer = "";
  socket.setEncoding("utf8").on("data", (text: string) => (answer += text));
  return { socket, answer: () => answer };
}

const head = (path: string, type: string, length: number): string =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\ncontent-length: ${length}\r\n\r\n`;

it("answers 408 to a body that does not come, and ends the connection", async () => {
  const { socket, answer } = dial();
  const closed = once(socket, "close");
  socket.write(`${head("/slow", "text/plain", 10)}half`);
  await closed;
  expect(answer()).toMatch(/^HTTP\/1\.1 408 .*application\/problem\+json.*"code":"invalid_request"/s);
  expect(answered).toEqual([]);
});

it("lets a body that comes in time pass, and what has none", async () => {
  const { socket, answer } = dial();
  socket.write(`${head("/slow", "text/plain", 4)}in t`);
  await expect.poll(answer).toContain("HTTP/1.1 200");
  socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await expect.poll(answer).toContain("here");
  socket.destroy();
  expect(answered).toEqual(["slow"]);
});

it("reads the rest of a body that was answered early: the connection serves the next call", async () => {
  const size = 5 * 1024 * 1024;
  const { socket, answer } = dial();
  socket.write(head("/half", "text/half", size));
  socket.write(Buffer.alloc(1024));
  await expect.poll(answer).toContain("too much");
  socket.write(Buffer.alloc(size - 1024));
  socket.write(`${head("/", "text/plain", 4)}next`);
  await expect.poll(answer).toContain("taken");
  expect(answered).toEqual(["next"]);
  socket.destroy();
});
