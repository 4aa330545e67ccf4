// The whole flow with DPoP by openid-client, nonces included, and what a thief comes to who has the tokens and not the key.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node.js 18 has it under this name only
const client = await import("openid-client");

const { issuer, client_id, client_secret, whoami_url, audience, algorithm } = JSON.parse(readFileSync(0));

const options = { algorithm: "oauth2", execute: [client.allowInsecureRequests] }; // http, as on a laptop
const authenticated = await client.discovery(new URL(issuer), client_id, undefined, client.ClientSecretBasic(client_secret), options);
const metadata = authenticated.serverMetadata();
const bare = new client.Configuration({ ...metadata, token_endpoint: metadata.latchkey_refresh_endpoint }, client_id, undefined, client.None());
client.allowInsecureRequests(bare);

const owner = await client.randomDPoPKeyPair(algorithm);
const signIn = { DPoP: client.getDPoPHandle(authenticated, owner) };
const renew = { DPoP: client.getDPoPHandle(bare, owner) };
const thief = { DPoP: client.getDPoPHandle(bare, await client.randomDPoPKeyPair(algorithm)) };

const grant = await client.clientCredentialsGrant(authenticated, { resource: audience }, signIn);
const here = await client.refreshTokenGrant(authenticated, grant.refresh_token, { scope: "orders:read" }, signIn);
const there = await client.refreshTokenGrant(bare, grant.refresh_token, undefined, renew);

// openid-client throws what a WWW-Authenticate challenge says; the answer is in it.
const call = (token, use) =>
  client.fetchProtectedResource(bare, token, new URL(whoami_url), "GET", undefined, undefined, use).then((a) => a.status, (e) => e.status ?? e.cause?.status ?? String(e));
const plain = async (authorization) => (await fetch(whoami_url, { headers: { authorization } })).status;
const refusal = (promise) => promise.then(() => "none", (e) => `${e.status} ${e.error}`);

const called = [];
for (const { access_token } of [grant, here, there]) called.push(await call(access_token, renew));
const stolen = there.access_token;
console.log(JSON.stringify({
  types: [grant, here, there].map(({ token_type }) => token_type.toLowerCase()),
  algorithms: metadata.dpop_signing_alg_values_supported,
  called,
  // Each right after a call of the owner's.
  thief: [await plain(`DPoP ${stolen}`), await plain(`Bearer ${stolen}`), await call(stolen, thief), await call(stolen, renew)],
  refused: [
    await refusal(client.refreshTokenGrant(bare, grant.refresh_token)),
    await refusal(client.refreshTokenGrant(authenticated, grant.refresh_token)),
    await refusal(client.refreshTokenGrant(bare, grant.refresh_token, undefined, thief)),
    await refusal(client.clientCredentialsGrant(authenticated, { resource: audience })),
  ],
}));
