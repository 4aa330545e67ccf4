// Signs in, refreshes in both ways and revokes with openid-client, by discovery alone.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node.js 18 has it under this name only
const client = await import("openid-client");

const { issuer, client_id, client_secret, whoami_url, audience } = JSON.parse(readFileSync(0));

const options = { algorithm: "oauth2", execute: [client.allowInsecureRequests] }; // http, as on a laptop
const authenticated = await client.discovery(new URL(issuer), client_id, undefined, client.ClientSecretBasic(client_secret), options);
const grant = await client.clientCredentialsGrant(authenticated, { resource: audience });
const lessHere = await client.refreshTokenGrant(authenticated, grant.refresh_token, { scope: "orders:read" });

// Without the secret, at the endpoint that needs none.
const metadata = authenticated.serverMetadata();
const bare = new client.Configuration({ ...metadata, token_endpoint: metadata.latchkey_refresh_endpoint }, client_id, undefined, client.None());
client.allowInsecureRequests(bare);
const less = await client.refreshTokenGrant(bare, grant.refresh_token, { scope: "orders:write" });
const again = await client.refreshTokenGrant(bare, grant.refresh_token, { scope: "orders:read orders:write" });

const called = [];
for (const { access_token } of [grant, lessHere, less, again]) {
  const answer = await client.fetchProtectedResource(bare, access_token, new URL(whoami_url), "GET");
  called.push((await answer.json()).scope);
}

// What comes of asking for more than was granted.
const refusal = (promise) => promise.then(() => "none", (e) => `${e.status} ${e.error}`);
const more = await refusal(client.refreshTokenGrant(bare, grant.refresh_token, { scope: "orders:delete" }));
await client.tokenRevocation(authenticated, grant.refresh_token);

console.log(JSON.stringify({ said: [grant, lessHere, less, again].map(({ scope }) => scope), called, more }));
