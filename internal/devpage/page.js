// The page of `latchkey dev`. The secret is in its field, the tokens are in `held`, and neither is anywhere else: not in storage,
// a cookie or a URL. All that comes from a server or a token is put in as text.

const $ = (id) => document.getElementById(id);

const held = {
	access: "", refresh: "",
	granted: [], // the scope of the sign-in
	revokedAt: 0, refusedAt: 0, // milliseconds since 1970; 0: not yet
};

/** Makes an element with a class and children. */
function make(name, className, ...children) {
	const e = document.createElement(name);
	if (className) e.className = className;
	e.append(...children);
	return e;
}

// Requests.

/** Sends a request, shows it on the wire, and returns {status, ok, body}; status 0 is no answer. carried says what of worth is in it. */
async function send(method, path, carried, headers, form) {
	const start = performance.now();
	const answer = { status: 0, ok: false, body: { error: "no_answer", error_description: "latchkey dev does not answer: has it been stopped?" } };
	try {
		const res = await fetch(path, {
			method, headers, body: form && new URLSearchParams(form),
			credentials: "omit", cache: "no-store", redirect: "error", referrerPolicy: "no-referrer",
		});
		const text = await res.text();
		answer.status = res.status;
		answer.ok = res.ok;
		answer.body = text ? JSON.parse(text) : null;
	} catch {
		answer.ok = false; // no answer, or one that is not Latchkey's
	}
	const row = make("li", "",
		make("span", "", `${method} ${path}`),
		make("span", answer.ok ? "pill" : "pill bad", answer.status ? String(answer.status) : "none"),
		make("span", "took", `${Math.max(1, Math.round(performance.now() - start))} ms`),
		make("span", carried.includes("secret") ? "carried secret" : "carried", `carried ${carried}`));
	$("wire-empty").hidden = true;
	$("wire").prepend(row);
	while ($("wire").children.length > 5) $("wire").lastChild.remove();
	return answer;
}

/** The client's credentials (RFC 6749 §2.3.1). */
function basic() {
	const part = (id) => encodeURIComponent($(id).value.trim());
	return { Authorization: `Basic ${btoa(`${part("client")}:${part("secret")}`)}` };
}

// The picture and the words.

/** Lights the parts of the picture that belong to these steps, and those alone. */
function light(...steps) {
	for (const e of $("picture").querySelectorAll("[data-steps]")) {
		e.classList.toggle("lit", e.dataset.steps.split(" ").some((step) => steps.includes(step)));
		e.classList.remove("good", "bad");
	}
}

/** Shows what a box said. */
function judge(step, ok) {
	for (const e of $("picture").querySelectorAll(`.box[data-steps="${step}"]`)) e.classList.add(ok ? "good" : "bad");
}

function tell(className, text) {
	$("told").className = className;
	$("told").textContent = text;
}

const why = (answer) => answer.body?.error_description ?? answer.body?.message ?? "";

/** Shows an answer below a step's buttons, open, and closes those of the other steps. */
function show(form, answer, short) {
	for (const other of document.querySelectorAll(".answer")) other.open = false;
	const shorten = (_, v) => (typeof v === "string" && /^eyJ.{60}/.test(v) ? `${v.slice(0, 18)}…` : v);
	const box = form.querySelector(".answer");
	box.replaceChildren(
		make("summary", "", make("span", answer.ok ? "pill" : "pill bad", answer.status ? `HTTP ${answer.status}` : "no answer"), make("span", "short", short)),
		make("pre", "", JSON.stringify(answer.body, shorten, 2)));
	box.hidden = false;
	box.open = true;
	form.classList.toggle("done", answer.ok);
}

/** Has a form do something at its button, one request at a time. */
let busy = false;
function at(id, action) {
	$(id).addEventListener("submit", async (event) => {
		event.preventDefault();
		await alone(() => action($(id)));
	});
}

async function alone(action) {
	if (busy) return;
	busy = true;
	try {
		await action();
	} finally {
		busy = false;
	}
}

// The steps.

at("signin", async (form) => {
	light("signin");
	const answer = await send("POST", "/oauth2/token", "the client id and secret", basic(), { grant_type: "client_credentials" });
	light("signin", "signin-answer");
	judge("signin", answer.ok);
	if (!answer.ok) {
		show(form, answer, "");
		tell("bad", `Not signed in. ${why(answer)}`);
		return;
	}
	stopWatching();
	Object.assign(held, {
		access: answer.body.access_token, refresh: answer.body.refresh_token ?? "", revokedAt: 0, refusedAt: 0,
		granted: (answer.body.scope ?? "").split(" ").filter(Boolean),
	});
	show(form, answer, held.refresh ? "two tokens" : "an access token alone");
	for (const id of ["call", "refresh", "revoke"]) {
		$(id).classList.remove("done");
		$(id).querySelector(".answer").hidden = true;
	}
	for (const b of document.querySelectorAll("button:disabled")) b.disabled = false;
	offerScopes();
	$("after").hidden = true;
	waiting(false);
	showToken("access");
	tell("good", "Signed in. The secret has crossed the network once, and the store was read once. From here on, tokens do.");
});

function offerScopes() {
	const labels = held.granted.map((scope) => {
		const box = document.createElement("input");
		Object.assign(box, { type: "checkbox", name: "scope", value: scope, checked: true });
		return make("label", "", box, scope);
	});
	$("scopes").disabled = false;
	$("scopes").replaceChildren($("scopes").querySelector("legend"), ...(labels.length ? labels : [make("p", "hint", "None was granted.")]));
}

at("call", () => call(held.access, false));
$("altered").addEventListener("click", () => alone(() => call(held.access.replace(".eyJ", ".eyK"), true)));

/** Calls the API with a token. */
async function call(token, altered) {
	light("call");
	const carried = altered ? "an access token with one letter altered" : "the access token";
	const answer = await send("GET", "/whoami", carried, { Authorization: `Bearer ${token}` });
	light("call", "call-answer", answer.ok ? "through" : "");
	judge("call", answer.ok);
	judge("through", answer.ok);
	const after = held.revokedAt ? seconds(Date.now() - held.revokedAt) : 0;
	const refused = answer.status === 401;
	if (refused && held.revokedAt && !altered && !held.refusedAt && !ended(token)) {
		held.refusedAt = Date.now();
		waiting(false);
	}
	show($("call"), answer, answer.ok ? "what the backend is told" : "the API was not asked");
	if (refused && altered) tell("bad", "Refused. One letter of the claims was altered, and the signature does not fit them any more.");
	else if (refused && ended(token)) tell("bad", "Refused: the token has ended. Refresh, and go on with the next one.");
	else if (refused && held.revokedAt) tell("bad", `Refused, ${after} after it was revoked. The authorizer learned of it from the feed; the API was not asked.`);
	else if (!answer.ok) tell("bad", why(answer));
	else if (!held.revokedAt) tell("good", "Let through. The authorizer verified the token by itself, with the public key, and told the API who calls.");
	else if (Date.now() - held.revokedAt < bound) tell("warn", `Still let through, ${after} after it was revoked: the authorizer’s copy of the revocations is older than that.`);
	else tell("bad", `Still let through, ${after} after it was revoked. It should not be: look at the log of latchkey dev.`);
	tick();
}

at("refresh", async (form) => {
	const chosen = [...form.querySelectorAll("input:checked")].map((box) => box.value);
	if (held.granted.length && !chosen.length) {
		tell("bad", "Choose one scope at least: a refresh that names none asks for all.");
		return;
	}
	light("refresh");
	const answer = await send("POST", "/oauth2/refresh", "the refresh token", {}, {
		grant_type: "refresh_token", client_id: $("client").value.trim(), refresh_token: held.refresh, scope: chosen.join(" "),
	});
	light("refresh", "refresh-answer");
	judge("refresh", answer.ok);
	if (!answer.ok) {
		show(form, answer, "");
		tell("bad", `Not refreshed. ${why(answer)}`);
		return;
	}
	show(form, answer, answer.body.refresh_token ? "the next of both tokens" : "the next access token");
	held.access = answer.body.access_token;
	held.refresh = answer.body.refresh_token ?? held.refresh;
	showToken("access");
	tell("good", `The next access token, with ${answer.body.scope || "no scope"}. No secret was sent, and no store was asked.`);
});

at("revoke", async (form) => {
	light("revoke");
	const answer = await send("POST", "/oauth2/revoke", `the ${held.refresh ? "refresh" : "access"} token, and the client id and secret`, basic(),
		{ token: held.refresh || held.access });
	light("revoke", "revoke-answer");
	judge("revoke", answer.ok);
	show(form, answer, answer.ok ? "the grant has ended" : "");
	if (!answer.ok) {
		tell("bad", `Not revoked. ${why(answer)}`);
		return;
	}
	held.revokedAt ||= Date.now();
	$("after").hidden = false;
	waiting(!held.refusedAt);
	tick();
	tell("good", `Revoked. Whoever verifies tokens learns of it by the feed, within ${bound / 1000} s. Call, and see.`);
});

// From the revocation to the first refusal.

const poll = Number($("after").dataset.poll), memory = Number($("after").dataset.feed);
const bound = (poll + memory) * 1000;
$("why").textContent = `The authorizer works offline, by a copy of the revocations that is at most ${poll} s old, of a feed that is served from memory for ${memory} s. ` +
	"On AWS, API Gateway may keep its answer for 10 s more.";

function waiting(yes) {
	$("picture").querySelector(".feed").classList.toggle("pending", yes);
	$("watch").hidden = !yes;
	if (!yes) stopWatching();
}

let watching = 0;
function stopWatching() {
	clearTimeout(watching);
	watching = 0;
	$("watch").textContent = "Call until it is refused";
}

async function watch() {
	await alone(() => call(held.access, false));
	if (watching) watching = setTimeout(watch, 1000);
}

$("watch").addEventListener("click", () => {
	if (watching) {
		stopWatching();
		return;
	}
	$("watch").textContent = "Stop calling";
	watching = setTimeout(watch);
});

// The token.

const seconds = (ms) => `${Math.max(0, Math.round(ms / 1000))} s`;
const clock = (unix) => new Date(unix * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

function bytes(part) {
	return Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
}

/** Takes a token apart. It verifies nothing. */
function decode(token) {
	const parts = token.split(".");
	const [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(new TextDecoder().decode(bytes(part))));
	return { parts, header, claims };
}

function ended(token) {
	try {
		return decode(token).claims.exp * 1000 <= Date.now();
	} catch {
		return false; // it was altered
	}
}

const meaning = {
	iss: "who issued it", aud: "whom it is for", sub: "who it is about", client_id: "who signed in", jti: "its own id",
	grant_id: "its grant, which a revocation ends", epochs: "the state of the client’s record",
};
const times = { iat: "issued", exp: "ends", auth_time: "signed in", grant_exp: "the grant ends" };

function row(name, value) {
	const dd = make("dd", "");
	if (name === "scope") {
		const has = String(value).split(" ");
		for (const scope of held.granted) {
			dd.append(make("span", has.includes(scope) ? "scope" : "scope off", scope, make("span", "away", has.includes(scope) ? "" : " (not in this token)")));
		}
	} else {
		dd.append(typeof value === "string" ? value : JSON.stringify(value));
	}
	const hint = name in times ? `${times[name]} ${clock(value)}` : meaning[name];
	if (hint) dd.append(make("small", "", hint));
	return [make("dt", "", name), dd];
}

const which = () => document.querySelector("input[name=which]:checked").value;

function showToken(kind) {
	$(`show-${kind}`).checked = true;
	$("show-refresh").disabled = !held.refresh;
	$("no-token").hidden = true;
	$("shown").hidden = false;
	const token = held[kind], { parts, header, claims } = decode(token);
	$("raw").querySelectorAll("span").forEach((span, i) => { span.textContent = parts[i]; });
	$("header").replaceChildren(...Object.entries(header).flatMap(([name, value]) => row(name, value)));
	$("claims").replaceChildren(...Object.entries({ ...claims, scope: claims.scope ?? "" }).flatMap(([name, value]) => row(name, value)));
	$("signature").replaceChildren();
	tick();
	if (kind === "refresh") {
		$("signature").textContent = `${header.alg}, by a key that is in no public document: Latchkey alone can check it. A client keeps it, and sends it back as it is.`;
		return;
	}
	check(parts, header).then((said) => {
		if (held[which()] === token) $("signature").replaceChildren(...said);
	});
}

for (const radio of document.querySelectorAll("input[name=which]")) radio.addEventListener("change", () => showToken(radio.value));

// Web Cryptography's names of the algorithms (RFC 7518 §3.1, RFC 8037).
const algorithms = {
	ES256: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
	RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
	EdDSA: { name: "Ed25519" },
};
let keys = [];

/** Checks a signature as any backend can, and returns what to say of it. */
async function check(parts, { alg, kid }) {
	if (!keys.some((key) => key.kid === kid)) {
		keys = (await send("GET", "/.well-known/jwks.json", "nothing", {})).body?.keys ?? [];
	}
	const said = (className, verdict, rest) => [make("span", `verdict ${className}`, verdict), rest, make("code", "", kid ?? "none"), "."];
	const jwk = keys.find((key) => key.kid === kid);
	if (!jwk) return said("bad", "Not to be checked. ", "Among the public keys is none with the id ");
	const { kty, crv, x, y, n, e } = jwk;
	let good;
	try {
		const key = await crypto.subtle.importKey("jwk", { kty, crv, x, y, n, e }, algorithms[alg], false, ["verify"]);
		good = await crypto.subtle.verify(algorithms[alg], key, bytes(parts[2]), new TextEncoder().encode(`${parts[0]}.${parts[1]}`));
	} catch {
		return said("", `${alg}. `, "This browser can’t check it. Its public key has the id ");
	}
	return said(good ? "good" : "bad", good ? "✓ It fits. " : "✗ It does not fit. ", `${alg}, ${bytes(parts[2]).length} bytes, checked in this page with the public key `);
}

// The clock.

function span(ms) {
	const s = Math.max(0, Math.ceil(ms / 1000)), two = (n) => String(Math.floor(n)).padStart(2, "0");
	return `${s >= 3600 ? `${Math.floor(s / 3600)}:` : ""}${two((s % 3600) / 60)}:${two(s % 60)}`;
}

function tick() {
	const now = Date.now();
	if (held[which()]) {
		const { exp, iat } = decode(held[which()]).claims, left = exp * 1000 - now;
		$("left").textContent = span(left);
		$("until").textContent = held.revokedAt ? `revoked ${clock(held.revokedAt / 1000)}` : `${left > 0 ? "ends" : "ended"} ${clock(exp)}`;
		$("life").style.width = `${Math.max(0, Math.min(100, left / (exp - iat) / 10))}%`;
		$("shown").querySelector(".life").classList.toggle("over", left <= 0 || held.revokedAt > 0);
	}
	if (!held.revokedAt) return;
	const gone = now - held.revokedAt;
	$("elapsed").style.width = `${held.refusedAt ? 100 : Math.min(100, (gone / bound) * 100)}%`;
	$("bound").textContent = held.refusedAt ? `Refused ${seconds(held.refusedAt - held.revokedAt)} after it was revoked.`
		: gone < bound ? `Revoked ${seconds(gone)} ago. Refused in ${seconds(bound - gone)} at the most.`
		: `Revoked ${seconds(gone)} ago. It is refused from now on.`;
}

// A browser may keep a page that was left as it was, tokens and all, to go back to.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

$("host").textContent = location.host;
setInterval(tick, 250);
