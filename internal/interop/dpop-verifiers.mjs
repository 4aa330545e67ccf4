// Calls services whose verifiers take DPoP proofs: as the owner of a bound token, and as a thief who has that token alone.
import { readFileSync } from "node:fs";
import { once } from "node:events";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node.js 18 has it under this name only
const oauth = await import("oauth4webapi");
const { app } = await import("./express.mjs");
const { verify } = await import("./oauth4webapi.mjs");

const { issuer, client_id, client_secret, audience, service } = JSON.parse(readFileSync(0));

const insecure = { [oauth.allowInsecureRequests]: true }; // http, as on a laptop
const url = new URL(issuer);
const as = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: "oauth2", ...insecure }));
const client = { client_id };
const proofs = async () => oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const [owner, thief] = [await proofs(), await proofs()];
const signIn = () => oauth.clientCredentialsGrantRequest(as, client, oauth.ClientSecretBasic(client_secret),
  new URLSearchParams({ resource: audience }), { DPoP: owner, ...insecure });
const processed = async () => oauth.processClientCredentialsResponse(as, client, await signIn());
const { access_token } = await processed().catch((e) => { // use_dpop_nonce: the handle has it now
  if (!oauth.isDPoPNonceError(e)) throw e;
  return processed();
});

const server = app.listen(0, "127.0.0.1");
await once(server, "listening");

// oauth4webapi's verifier, as if it were a server.
const verifying = async (address, options) => {
  try {
    return Response.json(await verify(new Request(address, options)));
  } catch (e) {
    return new Response(`${e.code ?? e.name}: ${e.message}`, { status: 401, headers: { "www-authenticate": "DPoP" } });
  }
};

const answers = {};
for (const [name, address, fetcher] of [
  ["express-oauth2-jwt-bearer", `http://127.0.0.1:${server.address().port}/orders`, fetch],
  ["oauth4webapi", `${audience}/orders`, verifying],
  ["resource/verify", service, fetch],
]) {
  const by = (DPoP) => oauth.protectedResourceRequest(access_token, "GET", new URL(address), undefined, undefined,
    { DPoP, [oauth.customFetch]: fetcher, ...insecure }).then((a) => a.status, (e) => e.status ?? e.cause?.[0]?.status ?? String(e));
  const plain = async (authorization) => (await fetcher(address, { headers: { authorization } })).status;
  answers[name] = [await by(owner), await by(owner), await by(thief), await plain(`DPoP ${access_token}`), await plain(`Bearer ${access_token}`)];
}
server.close();
server.closeAllConnections?.();
console.log(JSON.stringify(answers));
