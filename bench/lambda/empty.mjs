// The least that a Lambda function in Node.js can be.
import { run } from "./runtime.mjs";

await run(async () => ({}));
