"""A verifier's copy of Latchkey's revocation feed, as docs/revocation-feed.md describes it. Standard library only.

    view = View("https://id.example.com/.well-known/latchkey-revocations", window=3600)
    if view.revoked(kid, claims): ...  # of a token that is valid otherwise; an exception is an outage: refuse it too
"""
import base64, hashlib, json, time, urllib.parse, urllib.request
POLL, MAX_STALENESS, MARGIN = 15, 60, 300  # seconds

def key(kind, name):
    return base64.urlsafe_b64encode(hashlib.sha256(f"{kind}:{name}".encode()).digest()[:16]).decode().rstrip("=")


class View:
    def __init__(self, url, window, clock=time.time):
        self.url, self.window, self.clock = url, window, clock
        self.said, self.before, self.feed, self.cursor, self.as_of, self.asked, self.held = {}, 0, None, "", 0, 0, 0

    def poll(self):
        now = self.clock()
        if self.held > now - self.window: self.cursor, self.as_of = "", 0  # by a clock that was ahead: see rule 10
        cursor, old = self.cursor, now - self.window - MARGIN
        while True:
            self.held = self.held if cursor else int(old) // 3600 * 3600  # what was said since then is known after this
            query = {"after": cursor} if cursor else {"since": self.held}
            with urllib.request.urlopen(f"{self.url}?{urllib.parse.urlencode(query)}", timeout=8) as answer:
                page = json.load(answer)
            if page["version"] != 1 or page["as_of"] > now + 60:
                raise RuntimeError("a feed of another version, or with a wrong clock")
            if cursor and page["feed"] != self.feed:
                self.feed, self.cursor, cursor = page["feed"], "", ""  # another log: from the beginning; what is known stays known
                continue
            for entry in page["entries"]: self.take(*entry.split(" "))
            self.feed, cursor = page["feed"], page["next"]
            if not page["more"]: break
        self.as_of, self.asked, self.cursor = max(self.as_of, min(page["as_of"], now)), now, cursor  # no sooner: see rule 2
        self.held = max(self.held, old)
        self.said = {k: v for k, v in self.said.items() if k[0] == "k" or max(v[1], v[0] if k[0] in "si" else 0) >= old}

    def take(self, kind, name, n, at):
        if kind not in ("g", "t", "b", "s", "i", "k", "a"):
            raise RuntimeError("a kind of revocation that this reader does not know")
        if kind == "a":
            self.before = max(self.before, int(n))
        else:
            old = self.said.get((kind, name), (0, 0))
            self.said[kind, name] = max(old[0], int(n)), max(old[1], int(at))

    def revoked(self, kid, claims):
        if not 0 <= self.clock() - self.asked < POLL or self.clock() - self.as_of > MAX_STALENESS:
            try:
                self.poll()
            except Exception:
                if not 0 <= self.clock() - self.as_of <= MAX_STALENESS:
                    raise
        if not 0 <= self.clock() - self.as_of <= MAX_STALENESS:
            raise RuntimeError("the feed is out of date")
        sealed = [("s", claims["sub"], claims["auth_time"]), ("i", claims["iss"], claims["auth_time"])] + [("b", *epoch) for epoch in claims["epochs"].items()]
        said = [(self.said.get((kind, key(kind, name))), n) for kind, name, n in sealed]
        over = any((kind, key(kind, name)) in self.said for kind, name in (("g", claims["grant_id"]), ("t", claims["jti"]), ("k", kid)))
        return over or claims["auth_time"] < self.before or any(bound and n < bound[0] for bound, n in said)
