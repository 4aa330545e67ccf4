// Has simple-oauth2 and @badgateway/oauth2-client go through what each supports, and says what came of it in their terms.
import { readFileSync } from "node:fs";
import { ClientCredentials, ResourceOwnerPassword } from "simple-oauth2";
import { OAuth2Client, OAuth2Fetch } from "@badgateway/oauth2-client";

const { issuer, metadata, client_id, client_secret, wrong_secret, username, password, whoami_url } = JSON.parse(readFileSync(0));
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

const [one, other] = await Promise.all([simple(), badgateway()]);
console.log(JSON.stringify({ "simple-oauth2": one, "@badgateway/oauth2-client": other }));
