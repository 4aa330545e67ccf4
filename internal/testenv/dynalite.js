// Runs dynalite on a port of the system's choosing, which its own command line can't. Tables are there at once.
"use strict";
const server = require("dynalite")({ createTableMs: 0, updateTableMs: 0, deleteTableMs: 0 });
server.listen(0, "127.0.0.1", () => console.log(`Running on http://127.0.0.1:${server.address().port}`));
