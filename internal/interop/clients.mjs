// Has clients go through what each supports, and says what came of it in their terms.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";
import { ClientCredentials, ResourceOwnerPassword } from "simple-oauth2";
import { OAuth2Client, OAuth2Fetch } from "@badgateway/oauth2-client";

globalThis.crypto ??= webcrypto; // Node.js 18 has it under this name only
const openid = await import("openid-client");
const oauth = await import("oauth4webapi");

const { issuer, metadata, client_id, client_secret, wrong_secret, username, password, whoami_url, audience } = JSON.parse(readFileSync(0));
const called = async (token) => (await (await fetch(whoami_url, { headers: { authorization: `Bearer ${token}` } })).json()).scope;

async function simple() {
  const config = (secret, refreshPath = "/oauth2/token", options = {}) => ({
    client: { id: client_id, secret },
    auth: { tokenHost: issuer, tokenPath: "/oauth2/token", refreshPath, revokePath: "/oauth2/revoke" },
    options,
  });
  const refusal = (promise) => promise.then(() => ({ error: "none" }), (e) => ({
    status: e.output.statusCode, error: e.data.payload.error, description: e.data.payload.error_description,
  }));
  const client = new ClientCredentials(config(client_secret));
  const bare = new ClientCredentials(config("", "/oauth2/refresh", { authorizationMethod: "body" }));
  const posting = new ClientCredentials(config(client_secret, undefined, { authorizationMethod: "body" }));
  const grant = await client.getToken({});
  const user = await new ResourceOwnerPassword(config(client_secret)).getToken({ username, password });
  const again = await grant.refresh();
  if (again.token.refresh_token !== undefined) throw new Error("it keeps its refresh token, other than docs/standards.md says");
  const more = await refusal(grant.refresh({ scope: "orders:delete" }));
  const wrong = await refusal(new ClientCredentials(config(wrong_secret)).getToken({}));
  const row = {
    "sign-in": grant.token.scope,
    "sign-in by post": (await posting.getToken({ scope: "orders:write" })).token.scope,
    password: user.token.scope,
    called: await called(grant.token.access_token),
    narrower: (await grant.refresh({ scope: ["orders:read"] })).token.scope,
    "wider again": again.token.scope,
    "more than granted": more.error,
    "without the secret": (await bare.createToken(grant.token).refresh({ scope: "orders:write" })).token.scope,
    "wrong secret": wrong.error, status: wrong.status, description: wrong.description,
  };
  await user.revoke("refresh_token");
  row.revoked = user.token.access_token;
  return row;
}

async function badgateway() {
  const client = new OAuth2Client({ server: issuer, discoveryEndpoint: metadata, clientId: client_id, clientSecret: client_secret });
  const posting = new OAuth2Client({ server: issuer, discoveryEndpoint: metadata, clientId: client_id, clientSecret: client_secret, authenticationMethod: "client_secret_post" });
  const bare = new OAuth2Client({ tokenEndpoint: `${issuer}/oauth2/refresh`, clientId: client_id });
  const refusal = (promise) => promise.then(() => ({ error: "none" }), (e) => ({
    status: e.httpCode, error: e.oauth2Code, description: e.parsedBody.error_description,
  }));
  const grant = await client.clientCredentials();
  const user = await client.password({ username, password });
  const said = ({ scope }) => scope.join(" ");
  const more = await refusal(client.refreshToken(grant, { scope: ["orders:delete"] }));
  const wrong = await refusal(new OAuth2Client({ server: issuer, discoveryEndpoint: metadata, clientId: client_id, clientSecret: wrong_secret }).clientCredentials());
  // What signs calls by itself, and renews a token that has ended first.
  const fetching = new OAuth2Fetch({ client, getNewToken: async () => ({ ...grant, expiresAt: 0 }) });
  const row = {
    discovery: await client.getEndpoint("tokenEndpoint"),
    "sign-in": said(grant),
    "sign-in by post": said(await posting.clientCredentials({ scope: ["orders:write"] })),
    password: said(user),
    called: (await (await fetching.fetch(whoami_url)).json()).scope,
    narrower: said(await client.refreshToken(grant, { scope: ["orders:read"] })),
    "wider again": said(await client.refreshToken(grant)),
    "more than granted": more.error,
    "without the secret": said(await bare.refreshToken(grant, { scope: ["orders:write"] })),
    "wrong secret": wrong.error, status: wrong.status, description: wrong.description,
    introspected: `${(await client.introspect(grant)).active} ${(await client.introspect({ accessToken: grant.refreshToken })).active}`,
  };
  await client.revoke(user, "refresh_token");
  row.revoked = user.accessToken;
  return row;
}

// The scope of a token, as it is said to the client and to the sample API.
const agreed = async ({ scope, access_token }) => {
  const told = await called(access_token);
  return told === scope ? scope : `${scope}, and to the API ${told}`;
};
// What both of panva's throw.
const refusal = (promise) => promise.then(() => ({ error: "none" }), (e) => ({ status: e.status, error: e.error, description: e.error_description }));

async function openidClient() {
  const options = { algorithm: "oauth2", execute: [openid.allowInsecureRequests] }; // http, as on a laptop
  const as = (auth) => openid.discovery(new URL(issuer), client_id, undefined, auth, options);
  const client = await as(openid.ClientSecretBasic(client_secret));
  const metadata = client.serverMetadata();
  const bare = new openid.Configuration({ ...metadata, token_endpoint: metadata.latchkey_refresh_endpoint }, client_id, undefined, openid.None());
  openid.allowInsecureRequests(bare);
  const grant = await openid.clientCredentialsGrant(client, { resource: audience });
  const user = await openid.genericGrantRequest(client, "password", { username, password });
  const answer = await openid.fetchProtectedResource(bare, grant.access_token, new URL(whoami_url), "GET");
  const refresh = (config, scope) => openid.refreshTokenGrant(config, grant.refresh_token, { scope });
  const introspected = async (token) => (await openid.tokenIntrospection(client, token)).active;
  const more = await refusal(refresh(client, "orders:delete"));
  // By post: of an answer with a challenge, which there is to Basic, it shows the challenge and not the error.
  const wrong = await refusal(as(openid.ClientSecretPost(wrong_secret)).then((config) => openid.clientCredentialsGrant(config)));
  const row = {
    discovery: metadata.token_endpoint,
    "sign-in": grant.scope,
    "sign-in by post": (await openid.clientCredentialsGrant(await as(openid.ClientSecretPost(client_secret)), { scope: "orders:write" })).scope,
    password: user.scope,
    called: (await answer.json()).scope,
    narrower: await agreed(await refresh(client, "orders:read")),
    "wider again": await agreed(await refresh(client, "orders:read orders:write")),
    "more than granted": more.error,
    "without the secret": await agreed(await refresh(bare, "orders:write")),
    "wrong secret": wrong.error, status: wrong.status, description: wrong.description,
    introspected: `${await introspected(grant.access_token)} ${await introspected(grant.refresh_token)}`,
  };
  await openid.tokenRevocation(client, user.refresh_token);
  row.revoked = user.access_token;
  return row;
}

async function oauth4webapi() {
  const insecure = { [oauth.allowInsecureRequests]: true }; // http, as on a laptop
  const url = new URL(issuer);
  const as = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: "oauth2", ...insecure }));
  const bare = { ...as, token_endpoint: as.latchkey_refresh_endpoint };
  const client = { client_id };
  const basic = oauth.ClientSecretBasic(client_secret);
  const signIn = async (auth, parameters) => oauth.processClientCredentialsResponse(as, client,
    await oauth.clientCredentialsGrantRequest(as, client, auth, new URLSearchParams(parameters), insecure));
  const grant = await signIn(basic, { resource: audience });
  const user = await oauth.processGenericTokenEndpointResponse(as, client,
    await oauth.genericTokenEndpointRequest(as, client, basic, "password", { username, password }, insecure));
  const refresh = async (as, auth, scope) => oauth.processRefreshTokenResponse(as, client,
    await oauth.refreshTokenGrantRequest(as, client, auth, grant.refresh_token, { additionalParameters: { scope }, ...insecure }));
  const introspected = async (token) => (await oauth.processIntrospectionResponse(as, client,
    await oauth.introspectionRequest(as, client, basic, token, insecure))).active;
  const answer = await oauth.protectedResourceRequest(grant.access_token, "GET", new URL(whoami_url), undefined, undefined, insecure);
  const more = await refusal(refresh(as, basic, "orders:delete"));
  // By post, as above.
  const wrong = await refusal(signIn(oauth.ClientSecretPost(wrong_secret), {}));
  const row = {
    discovery: as.token_endpoint,
    "sign-in": grant.scope,
    "sign-in by post": (await signIn(oauth.ClientSecretPost(client_secret), { scope: "orders:write" })).scope,
    password: user.scope,
    called: (await answer.json()).scope,
    narrower: await agreed(await refresh(as, basic, "orders:read")),
    "wider again": await agreed(await refresh(as, basic, "orders:read orders:write")),
    "more than granted": more.error,
    "without the secret": await agreed(await refresh(bare, oauth.None(), "orders:write")),
    "wrong secret": wrong.error, status: wrong.status, description: wrong.description,
    introspected: `${await introspected(grant.access_token)} ${await introspected(grant.refresh_token)}`,
  };
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, basic, user.refresh_token, insecure));
  row.revoked = user.access_token;
  return row;
}

const run = { "simple-oauth2": simple, "@badgateway/oauth2-client": badgateway, "openid-client": openidClient, oauth4webapi };
const rows = await Promise.all(Object.entries(run).map(async ([name, row]) => [name, await row()]));
console.log(JSON.stringify(Object.fromEntries(rows)));
