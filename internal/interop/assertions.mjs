// Signs a client in by its own key with openid-client and oauth4webapi, and a user by password, by discovery alone.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node.js 18 has it under this name only
const openid = await import("openid-client");
const oauth = await import("oauth4webapi");

const { issuer, client_id, jwk, demo, whoami_url, audience } = JSON.parse(readFileSync(0));
const key = await crypto.subtle.importKey("jwk", jwk, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
const mine = { key, kid: jwk.kid };
const options = { algorithm: "oauth2", execute: [openid.allowInsecureRequests] }; // http, as on a laptop

const signing = await openid.discovery(new URL(issuer), client_id, undefined, openid.PrivateKeyJwt(mine), options);
const methods = signing.serverMetadata().token_endpoint_auth_methods_supported;
const first = await openid.clientCredentialsGrant(signing, { resource: audience });
const again = await openid.refreshTokenGrant(signing, first.refresh_token, { scope: "orders:read" });

const insecure = { [oauth.allowInsecureRequests]: true };
const as = signing.serverMetadata();
const second = await oauth.processClientCredentialsResponse(as, { client_id },
  await oauth.clientCredentialsGrantRequest(as, { client_id }, oauth.PrivateKeyJwt(mine), new URLSearchParams({ resource: audience }), insecure));

const shared = await openid.discovery(new URL(issuer), demo.client_id, undefined, openid.ClientSecretBasic(demo.client_secret), options);
const user = await openid.genericGrantRequest(shared, "password", { username: demo.username, password: demo.password, resource: audience });

const called = [];
for (const { access_token } of [first, again, second, user]) {
  const answer = await openid.fetchProtectedResource(signing, access_token, new URL(whoami_url), "GET");
  const { sub, scope } = await answer.json();
  called.push(`${sub.replace(/^u_.*/, "u_")} ${scope}`);
}
console.log(JSON.stringify({ methods, called }));
