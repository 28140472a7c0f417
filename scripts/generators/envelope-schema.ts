import { EnvelopeSchema } from "../../src/domain/envelope.ts";

/**
 * The envelope as a JSON Schema 2020-12 document, plain data, for `docs/generated/envelope.schema.json`. Pure: the same
 * result for the same source.
 */
export function envelopeJsonSchema(): object {
  // TypeBox keeps bookkeeping in non-enumerable properties: JSON text is the schema without them.
  const schema = JSON.parse(JSON.stringify(EnvelopeSchema)) as object;
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: "urn:dingtalk-bridge:envelope:1",
    title: "DingTalk bridge: gateway message envelope, version 1",
    ...schema,
  };
}
