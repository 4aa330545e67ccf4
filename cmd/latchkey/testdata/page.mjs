// Clicks through the page of `latchkey dev` as a person does. It ends with an error at the first thing that is not as it should
// be. Parameters, JSON on stdin: url and secret of what runs; mover, which moves its clock; browser, the program; now, its clock;
// pictures, a folder for them, or empty.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const given = JSON.parse(readFileSync(0, "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
	executablePath: given.browser, timeout: 60_000, chromiumSandbox: process.getuid?.() !== 0,
	args: ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server"], // nothing but this machine is reached
});
try {
	const context = await browser.newContext({ deviceScaleFactor: 1.5, locale: "en-GB", timezoneId: "UTC" });
	await test(await context.newPage());
} finally {
	await browser.close();
}

async function test(page) {
	page.setDefaultTimeout(60_000);
	const heard = [], asked = [];
	page.on("console", (m) => heard.push(`${m.type()}: ${m.text()}`));
	page.on("pageerror", (e) => heard.push(`page error: ${e}`));
	page.on("request", (r) => asked.push(r));
	await page.addInitScript((now) => {
		globalThis.test = { now, violations: [], moved: 0 };
		Date.now = () => globalThis.test.now;
		for (const moves of ["animationstart", "transitionrun"]) document.addEventListener(moves, () => { globalThis.test.moved++; });
		document.addEventListener("securitypolicyviolation", (e) => globalThis.test.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
	}, given.now);

	const text = async (selector) => (await page.locator(selector).innerText()).replaceAll(/\s+/g, " ").trim();
	const told = (want) => waitFor(() => text("#told"), want);
	async function waitFor(get, want) {
		for (const end = performance.now() + 60_000; ; await new Promise((done) => setTimeout(done, 50))) {
			const got = await get();
			if (got.match(want)) return got;
			if (performance.now() > end) assert.match(got, want);
		}
	}
	const button = (name, role = "button") => page.getByRole(role, { name, exact: true });
	const click = (name, role) => button(name, role).click();
	const claim = async (name) => (await page.locator(`#claims dt:text-is("${name}") + dd`).innerText()).replaceAll(/\s+/g, " ");
	/** What of the picture is lit, by the steps that it belongs to, and what was made of it. */
	const lit = async () => (await page.locator("#picture .lit, #picture .pending").evaluateAll((all) => all.map((e) =>
		[e.dataset.steps, ...["good", "bad", "pending"].filter((c) => e.classList.contains(c))].join(" ")))).join(", ");
	const client = "signin call refresh revoke";
	async function move(seconds) {
		assert.equal((await fetch(`${given.mover}/?by=${seconds}s`)).status, 200);
		await page.evaluate((ms) => { globalThis.test.now += ms; }, seconds * 1000);
	}
	const size = (width, height, colorScheme = "light") => Promise.all([page.setViewportSize({ width, height }), page.emulateMedia({ colorScheme })]);
	async function picture(name) {
		if (!given.pictures) return;
		await page.mouse.move(0, 0);
		await page.evaluate(() => window.scrollTo(0, 0));
		await page.screenshot({ path: `${given.pictures}/${name}.png`, fullPage: true, animations: "disabled" });
	}
	const wide = ["light", 1280], narrow = ["dark", 380];
	/** Whoever sees little, uses no mouse or a small screen, can use the page as it stands now. */
	async function usable(state, ...views) {
		for (const [scheme, width] of views) {
			await size(width, 900, scheme);
			await page.evaluate(() => document.getAnimations().forEach((a) => (a instanceof CSSTransition ? a.finish() : a.cancel()))); // as it will look
			const where = `${state}, ${scheme}, ${width} wide`;
			const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
			assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`), [], where);
			assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), `${where}: it scrolls sideways`);
			await picture(`dev-page-${state.replaceAll(" ", "-")}-${scheme}`);
		}
		await size(1280, 900);
	}

	await size(1280, 900);
	await page.goto(given.url);
	await page.evaluate(axe);
	await told(/Sign in, and watch/);
	await usable("at first", narrow);
	for (const name of ["Call /whoami", "Alter one letter, call", "Refresh", "Revoke"]) {
		assert.ok(await button(name).isDisabled(), `${name} can be pressed before the sign-in`);
	}

	// Sign in, by the keyboard.
	await page.focus("#secret");
	await page.keyboard.type("<b>wrong</b>");
	await page.keyboard.press("Enter");
	await told(/^Not signed in\. .*authentication failed/i);
	assert.equal(await lit(), `${client}, signin, signin-answer, signin bad`);
	assert.match(await text("#signin .answer"), /^HTTP 401/);
	await page.getByLabel("Client secret").fill(given.secret);
	await page.keyboard.press("Enter");
	await told(/^Signed in\./);
	assert.equal(await lit(), `${client}, signin, signin-answer, signin good`);
	assert.match(await text("#signin .answer"), /HTTP 200.*"token_type": "Bearer"/);

	// The token: decoded, its signature checked, counting down.
	await waitFor(() => text("#signature"), /^✓ It fits\. ES256, 64 bytes/);
	assert.match(await text("#header"), /alg ES256 .*typ at\+jwt/);
	assert.match(await claim("exp"), /ends 00:15:00/);
	assert.match(await claim("client_id"), /^demo/);
	assert.equal((await text("#raw")).split(".").length, 3);
	await waitFor(() => text("#left"), /^15:00$/);
	await move(60);
	await waitFor(() => text("#left"), /^14:00$/);
	await page.focus("#show-access"); // by the keyboard
	await page.keyboard.press("ArrowRight");
	await waitFor(() => text("#signature"), /^HS256, by a key that is in no public document/);
	assert.match(await text("#header"), /rt\+jwt/);
	await waitFor(() => text("#left"), /^23:59:00$/);
	await page.keyboard.press("ArrowLeft");
	await waitFor(() => text("#header"), /at\+jwt/);

	// Call, and with a letter altered.
	await click("Call /whoami");
	await told(/^Let through\./);
	assert.equal(await lit(), `${client}, call, call-answer, call good, through, through good`);
	assert.match(await text("#call .answer"), /HTTP 200.*"client_id": "demo".*"scope": "orders:read orders:write"/);
	await click("Alter one letter, call");
	await told(/^Refused\. One letter/);
	assert.equal(await lit(), `${client}, call, call-answer, call bad`);
	assert.match(await text("#call .answer"), /HTTP 401.*"error": "invalid_token"/);

	// Refresh: with nothing chosen, with less, with all again.
	await click("orders:read", "checkbox");
	await click("orders:write", "checkbox");
	await click("Refresh");
	await told(/^Choose one scope/);
	await click("orders:read", "checkbox");
	await click("Refresh");
	await told(/^The next access token, with orders:read\./);
	assert.equal(await lit(), `${client}, refresh, refresh-answer, refresh good`);
	assert.match(await claim("scope"), /^orders:read orders:write \(not in this token\)/);
	assert.match(await text("#refresh .answer"), /HTTP 200.*"scope": "orders:read"/);
	await click("Call /whoami");
	await told(/^Let through\./);
	assert.match(await text("#call .answer"), /"scope": "orders:read"/);
	await waitFor(() => text("#wire"), /POST \/oauth2\/refresh 200 \d+ ms carried the refresh token GET/);
	await waitFor(() => text("#signature"), /^✓ It fits/);
	await usable("refreshed", wide, narrow);
	await picture("dev-page");
	await click("orders:write", "checkbox");
	await click("Refresh");
	await told(/^The next access token, with orders:read orders:write\./);

	// It ends.
	await move(16 * 60);
	await waitFor(() => text("#left"), /^00:00$/);
	await click("Call /whoami");
	await told(/^Refused: the token has ended\./);
	await click("Refresh");
	await told(/^The next access token/);
	await click("Call /whoami");
	await told(/^Let through\./);

	// Revoke: let through for a while, as is said, and then refused.
	await click("Revoke");
	await told(/^Revoked\. .* within 20 s/);
	assert.equal(await lit(), `${client}, revoke, revoke-answer, revoke good, feed pending`);
	await waitFor(() => text("#bound"), /^Revoked 0 s ago\. Refused in 20 s at the most\.$/);
	await click("Call /whoami");
	await told(/^Still let through, 0 s after/);
	await move(7);
	await waitFor(() => text("#bound"), /^Revoked 7 s ago\. Refused in 13 s at the most\.$/);
	await click("Call until it is refused");
	await click("Stop calling");
	await button("Call until it is refused").waitFor();
	await usable("revoked", wide);
	await move(13);
	await waitFor(() => text("#bound"), /It is refused from now on\.$/);
	await click("Call until it is refused");
	await told(/^Refused, 20 s after it was revoked\./);
	assert.equal(await lit(), `${client}, call, call-answer, call bad`);
	await waitFor(() => text("#bound"), /^Refused 20 s after it was revoked\.$/);
	assert.ok(await page.locator("#watch").isHidden());
	await click("Refresh");
	await told(/^Not refreshed\. /);
	assert.match(await text("#refresh .answer"), /HTTP 400.*"error": "invalid_grant"/);
	await usable("refused", narrow);

	// What moves, and does not for whom it would trouble.
	const moved = () => page.evaluate(() => globalThis.test.moved);
	const before = await moved();
	await click("Sign in");
	await told(/^Signed in\./);
	await waitFor(async () => String(await moved() > before), /true/);
	await page.emulateMedia({ reducedMotion: "reduce" });
	await page.evaluate(() => { globalThis.test.moved = 0; });
	await click("Call /whoami");
	await told(/^Let through\./);
	await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
	assert.equal(await moved(), 0);

	// Secrets are where they belong.
	for (const r of asked) {
		const { origin, pathname, search } = new URL(r.url());
		assert.equal(origin + search, given.url, r.url());
		const headers = r.headers(), body = r.postData() ?? "";
		assert.ok(!headers.referer, r.url());
		assert.ok(!body.includes(given.secret));
		assert.equal(/^Basic /.test(headers.authorization), ["/oauth2/token", "/oauth2/revoke"].includes(pathname), r.url());
	}
	assert.equal(page.url(), `${given.url}/`);
	assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [0, 0, ""]);

	// Nothing was blocked, and what is injected is.
	assert.deepEqual(await page.evaluate(() => globalThis.test.violations), []);
	await page.evaluate(() => {
		const script = document.createElement("script");
		script.append("globalThis.test.violations.push('it ran')");
		document.body.append(script);
	}).catch(() => {}); // it is thrown where trusted types are known
	assert.match((await page.evaluate(() => globalThis.test.violations)).join(), /^(require-trusted-types-for|script-src-elem) /);

	const refusals = heard.filter((line) => /^error: Failed to load resource: .* 40[01] /.test(line)); // which a browser calls errors
	assert.equal(refusals.length, 5, heard.join("\n"));
	assert.deepEqual(heard.filter((line) => !refusals.includes(line) && !/Content Security Policy|TrustedScript/.test(line)), []);

	// Who comes back finds nothing.
	await button("Public keys", "link").click();
	await page.waitForURL(/jwks\.json$/);
	await page.goBack();
	await told(/Sign in, and watch/);
	assert.equal(await page.getByLabel("Client secret").inputValue(), "");
}
