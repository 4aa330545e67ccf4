// Has a snippet's verify(token) judge tokens.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node.js 18 has it under this name only
const { verify } = await import("./snippet.mjs");

const verdicts = {};
for (const [name, token] of Object.entries(JSON.parse(readFileSync(0)))) {
  try {
    verdicts[name] = { claims: await verify(token) };
  } catch (e) {
    verdicts[name] = { error: `${e.code ?? e.name}: ${e.message}` };
  }
}
console.log(JSON.stringify(verdicts));
