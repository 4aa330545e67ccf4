// An authorizer on aws-jwt-verify, the keys in the environment.
import { JwtVerifier } from "aws-jwt-verify";
import { authorizer, run } from "./runtime.mjs";

const { ISSUER: issuer, AUDIENCE: audience, JWKS } = process.env;
const verifier = JwtVerifier.create({ issuer, audience, jwksUri: `${issuer}/.well-known/jwks.json` });
verifier.cacheJwks(JSON.parse(JWKS));

await run(authorizer((token) => verifier.verify(token)));
