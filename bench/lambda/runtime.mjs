// The loop of a Lambda runtime, as AWS's Node.js runtime interface client has it: one connection that is kept, one
// invocation at a time.
import http from "node:http";

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const base = "/2018-06-01/runtime/invocation/";

function request(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
    const req = http.request({ hostname, port, method, path: base + path, agent, headers }, (res) => {
      const parts = [];
      res.on("data", (part) => parts.push(part));
      res.on("end", () => resolve({ id: res.headers["lambda-runtime-aws-request-id"], body: Buffer.concat(parts) }));
      res.on("error", reject);
    });
    req.on("error", reject);
    req.end(body);
  });
}

export async function run(handler) {
  for (;;) {
    const { id, body } = await request("GET", "next");
    try {
      await request("POST", `${id}/response`, JSON.stringify(await handler(JSON.parse(body))));
    } catch (e) {
      await request("POST", `${id}/error`, JSON.stringify({ errorType: e.name, errorMessage: e.message }));
    }
  }
}

// authorizer makes a handler of API Gateway's REQUEST events from a function that returns a token's claims. What it does
// not do: obey revocations, judge routes, write a log.
export function authorizer(verify) {
  return async (event) => {
    const { Authorization: value = "" } = event.headers;
    if (!value.startsWith("Bearer ")) throw new Error("Unauthorized");
    let claims;
    try {
      claims = await verify(value.slice(7));
    } catch {
      throw new Error("Unauthorized");
    }
    return {
      principalId: claims.sub,
      policyDocument: {
        Version: "2012-10-17",
        Statement: [{ Action: "execute-api:Invoke", Effect: "Allow", Resource: event.methodArn }],
      },
      context: { client_id: claims.client_id, scope: claims.scope, sub: claims.sub },
    };
  };
}
