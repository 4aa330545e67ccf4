// Has a snippet's verify(request) judge the tokens that requests come with.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node.js 18 has it under this name only
const { verify } = await import("./snippet.mjs");

const verdicts = {};
for (const [name, token] of Object.entries(JSON.parse(readFileSync(0)))) {
  try {
    const request = new Request("https://api.latchkey.example/orders", { headers: { authorization: `Bearer ${token}` } });
    verdicts[name] = { claims: await verify(request) };
  } catch (e) {
    verdicts[name] = { error: `${e.code ?? e.name}: ${e.message}` };
  }
}
console.log(JSON.stringify(verdicts));
