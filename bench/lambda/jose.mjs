// An authorizer on jose, the keys in the environment.
import { createLocalJWKSet, jwtVerify } from "jose";
import { authorizer, run } from "./runtime.mjs";

const { ISSUER: issuer, AUDIENCE: audience, JWKS } = process.env;
const keys = createLocalJWKSet(JSON.parse(JWKS));
const options = { issuer, audience, algorithms: ["ES256"], requiredClaims: ["exp"] };

await run(authorizer(async (token) => (await jwtVerify(token, keys, options)).payload));
