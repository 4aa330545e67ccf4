// Signs in, refreshes in both ways and revokes with oauth4webapi, by discovery alone.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node.js 18 has it under this name only
const oauth = await import("oauth4webapi");

const { issuer, client_id, client_secret, whoami_url, audience } = JSON.parse(readFileSync(0));

const insecure = { [oauth.allowInsecureRequests]: true }; // http, as on a laptop
const url = new URL(issuer);
const as = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: "oauth2", ...insecure }));
const client = { client_id };
const basic = oauth.ClientSecretBasic(client_secret);

const grant = await oauth.processClientCredentialsResponse(as, client,
  await oauth.clientCredentialsGrantRequest(as, client, basic, new URLSearchParams({ resource: audience }), insecure));

const refresh = async (as, auth, scope) => oauth.processRefreshTokenResponse(as, client,
  await oauth.refreshTokenGrantRequest(as, client, auth, grant.refresh_token, { additionalParameters: { scope }, ...insecure }));

const lessHere = await refresh(as, basic, "orders:read");
const bare = { ...as, token_endpoint: as.latchkey_refresh_endpoint }; // without the secret, at the endpoint that needs none
const less = await refresh(bare, oauth.None(), "orders:write");
const again = await refresh(bare, oauth.None(), "orders:read orders:write");

const called = [];
for (const { access_token } of [grant, lessHere, less, again]) {
  const answer = await oauth.protectedResourceRequest(access_token, "GET", new URL(whoami_url), undefined, undefined, insecure);
  called.push((await answer.json()).scope);
}

// What comes of asking for more than was granted.
const refusal = (promise) => promise.then(() => "none", (e) => `${e.status} ${e.error}`);
const more = await refusal(refresh(bare, oauth.None(), "orders:delete"));
await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, basic, grant.refresh_token, insecure));

console.log(JSON.stringify({ said: [grant, lessHere, less, again].map(({ scope }) => scope), called, more }));
