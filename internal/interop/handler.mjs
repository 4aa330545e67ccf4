// Invokes a snippet's handler with events.
import { readFileSync } from "node:fs";
import { handler } from "./snippet.mjs";

const answers = [];
for (const event of JSON.parse(readFileSync(0))) answers.push(await handler(event));
console.log(JSON.stringify(answers));
