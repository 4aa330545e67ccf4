// Measures the verifiers of Node.js beside Node's own signature check, in turn, by CPU time. Reads {issuer, audience, tokens,
// bad, jwks} on its standard input, the last three by algorithm; writes [{algorithm, row, pass, cpu}], the CPU in microseconds.
// Without an algorithm: tokens that fast-jwt has seen before.
import { readFileSync } from "node:fs";
import * as crypto from "node:crypto";
import { JwtVerifier } from "aws-jwt-verify";
import { createVerifier } from "fast-jwt";
import * as jose from "jose";

const passes = 10;

const { issuer, audience, tokens, bad, jwks } = JSON.parse(readFileSync(0));
const { dependencies } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url)));
const version = (name) => `${name} ${dependencies[name]}`;

// bare checks signatures of what has been taken apart before.
function bare(algorithm) {
  const key = crypto.createPublicKey({ key: jwks[algorithm].keys[0], format: "jwk" });
  const hash = algorithm === "EdDSA" ? null : "sha256";
  const options = algorithm === "ES256" ? { key, dsaEncoding: "ieee-p1363" } : key;
  const parts = tokens[algorithm].map((t) => {
    const dot = t.lastIndexOf(".");
    return [Buffer.from(t.slice(0, dot)), Buffer.from(t.slice(dot + 1), "base64url")];
  });
  return (i) => {
    if (!crypto.verify(hash, parts[i][0], options, parts[i][1])) throw new Error("the signature does not verify");
  };
}

// Each is set up as for production: signature, algorithm, iss, aud and exp are checked.
const verifiers = {
  "aws-jwt-verify"(algorithm) {
    const v = JwtVerifier.create({ issuer, audience, jwksUri: `${issuer}/.well-known/jwks.json` });
    v.cacheJwks(jwks[algorithm]);
    return (token) => v.verifySync(token);
  },
  "fast-jwt": (algorithm) => fastJWT(algorithm, false),
  jose(algorithm) {
    const keys = jose.createLocalJWKSet(jwks[algorithm]);
    const options = { issuer, audience, algorithms: [algorithm], requiredClaims: ["exp"] };
    return (token) => jose.jwtVerify(token, keys, options);
  },
};

function fastJWT(algorithm, cache) {
  const key = crypto.createPublicKey({ key: jwks[algorithm].keys[0], format: "jwk" }).export({ type: "spki", format: "pem" });
  return createVerifier({ key, algorithms: [algorithm], allowedIss: issuer, allowedAud: audience, requiredClaims: ["exp"], cache });
}

// measure returns the microseconds of CPU time that a call takes, other threads' included, in so many ms.
async function measure(call, duration = 40) {
  let n = 0;
  const start = process.cpuUsage();
  for (const end = performance.now() + duration; performance.now() < end; ) {
    for (let i = 0; i < 64; i++, n++) {
      const result = call(i);
      if (result instanceof Promise) await result;
    }
  }
  const { user, system } = process.cpuUsage(start);
  return (user + system) / n;
}

// check sees that nobody is fast by leaving a check out.
async function check(name, verify, algorithm) {
  for (const [why, token] of Object.entries(bad[algorithm])) {
    const taken = await Promise.resolve().then(() => verify(token)).then(() => true, () => false);
    if (taken) throw new Error(`${name} takes a token that is ${why}`);
  }
}

const results = [];
async function all(algorithm, calls) {
  for (const call of Object.values(calls)) await measure(call, 500); // compiled by then
  for (let pass = 0; pass < passes; pass++) {
    for (const [row, call] of Object.entries(calls)) results.push({ algorithm, row, pass, cpu: await measure(call) });
  }
}

for (const algorithm of Object.keys(tokens)) {
  const calls = { bare: bare(algorithm) };
  for (const [name, make] of Object.entries(verifiers)) {
    const verify = make(algorithm);
    await check(name, verify, algorithm);
    calls[version(name)] = (i) => verify(tokens[algorithm][i]);
  }
  await all(algorithm, calls);
}
const cached = fastJWT("ES256", true);
await all("", { [`${version("fast-jwt")} (Node.js), ES256`]: (i) => cached(tokens.ES256[i]) });
console.log(JSON.stringify(results));
