import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { CONTRACT_HEADER } from "../domain/contract.ts";
import type { Scope } from "../flows/messages.ts";
import { problemOf, sendProblem } from "./problem.ts";

/** A token and what it speaks for: one account, or all of them. */
export interface Grant {
  token: string;
  scope: Scope;
}

declare module "fastify" {
  interface FastifyRequest {
    /** Set for every route behind a token. */
    scope: Scope;
  }
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/**
 * Bearer check as an `onRequest` hook. All grants are compared every time and by digest, so neither time nor length
 * tells how much of a token was right.
 */
export function requireToken(grants: () => Grant[], onGatewayCall: (scope: Scope) => void = () => undefined) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
    const givenDigest = digest(given ?? "");
    let scope: Scope | undefined;
    for (const grant of grants()) {
      if (timingSafeEqual(digest(grant.token), givenDigest)) scope = grant.scope;
    }
    if (given !== undefined && scope) {
      request.scope = scope;
      // Whoever names the contract is a gateway; an operator's own calls do not.
      if (request.headers[CONTRACT_HEADER] !== undefined) onGatewayCall(scope);
      return;
    }
    const detail = given === undefined ? "a bearer token is needed" : "the token is not one of this bridge's";
    await sendProblem(
      reply,
      problemOf("unauthorized", detail, {
        mend: "use BRIDGE_TOKEN, or the token derived from the account's App Key and App Secret",
      }),
    );
  };
}
