// Sends tokens to a snippet's app, which answers with the claims.
import { readFileSync } from "node:fs";
import { once } from "node:events";

const { app } = await import("./snippet.mjs");
const server = app.listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${server.address().port}/orders`;

const verdicts = {};
for (const [name, token] of Object.entries(JSON.parse(readFileSync(0)))) {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  const body = await answer.text();
  verdicts[name] = answer.ok ? { claims: JSON.parse(body) } : { error: `${answer.status}: ${answer.headers.get("www-authenticate")}` };
}
server.close();
server.closeAllConnections?.();
console.log(JSON.stringify(verdicts));
