import type { FastifyInstance } from "fastify";
import type { FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import { CONTRACT, CONTRACT_HEADER, CONTRACT_MEND } from "../domain/contract.ts";
import { problemOf, sendProblem } from "./problem.ts";

const isContract = (url: string): boolean => /^\/v1(?:[/?]|$)/.test(url);

/** Every answer of the contract says which one it is; a caller of another is refused before anything is done for it. */
export function speakContract(app: FastifyInstance): void {
  app.addHook("onRequest", async (request, reply) => {
    if (!isContract(request.url)) return;
    reply.header(CONTRACT_HEADER, String(CONTRACT));
    const theirs = request.headers[CONTRACT_HEADER];
    if (theirs === undefined || theirs === String(CONTRACT)) return;
    const detail = `${CONTRACT_HEADER}: this bridge speaks contract ${CONTRACT}, the request ${JSON.stringify(theirs).slice(0, 40)}`;
    await sendProblem(reply, problemOf("unsupported_version", detail, { mend: CONTRACT_MEND }));
  });
}

type Described = Parameters<NonNullable<FastifyDynamicSwaggerOptions["transformObject"]>>[0];

/** The header in the document of the API: of every call, and of every answer. */
export function describeContract(described: Described) {
  if (!("openapiObject" in described)) return described.swaggerObject;
  const { openapiObject: document } = described;
  const schema = { type: "string" as const, enum: [String(CONTRACT)] };
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    if (!isContract(path)) continue;
    for (const operation of Object.values(item ?? {})) {
      if (typeof operation !== "object" || !("responses" in operation)) continue;
      const description = "The caller's version of the contract; another one is refused with `unsupported_version`";
      operation.parameters = [
        ...(operation.parameters ?? []),
        { in: "header", name: "X-Bridge-Contract", required: false, description, schema },
      ];
      for (const response of Object.values(operation.responses ?? {})) {
        if ("$ref" in response) continue;
        response.headers = { ...response.headers, "X-Bridge-Contract": { schema } };
      }
    }
  }
  return document;
}
