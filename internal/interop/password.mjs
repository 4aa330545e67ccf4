// Signs a user in with openid-client and with oauth4webapi, and refreshes; a wrong password besides.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node.js 18 has it under this name only
const client = await import("openid-client");
const oauth = await import("oauth4webapi");

const { issuer, client_id, client_secret, username, password, whoami_url } = JSON.parse(readFileSync(0));
const right = { username, password };
const wrong = { username, password: "not the password" };

const config = await client.discovery(new URL(issuer), client_id, undefined, client.ClientSecretBasic(client_secret),
  { algorithm: "oauth2", execute: [client.allowInsecureRequests] }); // http, as on a laptop
const one = await client.genericGrantRequest(config, "password", right);
const renewed = await client.refreshTokenGrant(config, one.refresh_token);
const refused = await client.genericGrantRequest(config, "password", wrong).then(() => "none", (e) => `${e.status} ${e.error}`);

const insecure = { [oauth.allowInsecureRequests]: true };
const as = config.serverMetadata();
const other = await oauth.processGenericTokenEndpointResponse(as, { client_id },
  await oauth.genericTokenEndpointRequest(as, { client_id }, oauth.ClientSecretBasic(client_secret), "password", right, insecure));

const subjects = [];
for (const { access_token } of [one, renewed, other]) {
  const answer = await oauth.protectedResourceRequest(access_token, "GET", new URL(whoami_url), undefined, undefined, insecure);
  subjects.push((await answer.json()).sub);
}

console.log(JSON.stringify({ grants: as.grant_types_supported, scopes: [one, renewed, other].map(({ scope }) => scope), subjects, refused }));
