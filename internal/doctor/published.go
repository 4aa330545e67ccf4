package doctor

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-auth/latchkey/pkg/discovery"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/remotefeed"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// metadata looks at what the issuer says of itself (RFC 8414).
func (e *Examination) metadata(ctx context.Context) {
	const (
		checkIssuer = "issuer"
		check       = "metadata"
	)
	switch {
	case e.Issuer == "":
		e.mute = e.WithoutIssuer
		e.skip(check, "%s", e.mute)
		return
	case strings.HasSuffix(e.Issuer, "/") || origin(e.Issuer) != e.Issuer:
		e.fail(checkIssuer, "give the iss of the tokens, byte by byte", "%s is no issuer: that is a URL without a path", e.Issuer)
		e.mute = "the issuer is none"
		return
	case !private(e.Issuer):
		e.fail(checkIssuer, "give the deployment an https URL", "%s is plain http: whoever is on the way reads secrets and tokens, and can say what the keys are", e.Issuer)
		e.mute = "nothing is asked over plain http"
		return
	case !strings.HasPrefix(e.Issuer, "https:") && !e.Laptop:
		e.warn(checkIssuer, "on AWS it is an https URL", "%s is plain http, on this machine", e.Issuer)
	default:
		e.ok(checkIssuer, "%s", e.Issuer)
	}
	a, err := e.get(ctx, e.Issuer+oauth.PathMetadata, nil)
	if err != nil {
		e.mute = "the issuer does not answer"
		e.fail(check, "is the deployment up, and the domain mapped to its HTTP API?", "%s: %v", e.Issuer+oauth.PathMetadata, err)
		return
	}
	if a.skew != nil {
		e.skews = append(e.skews, *a.skew)
	}
	var m oauth.Metadata
	switch {
	case a.status != http.StatusOK:
		e.fail(check, logOf("discovery"), "%s answers %d", oauth.PathMetadata, a.status)
		return
	case json.Unmarshal(a.body, &m) != nil:
		e.fail(check, "is it Latchkey that answers there?", "%s does not answer with metadata", oauth.PathMetadata)
		return
	case m.Issuer != e.Issuer:
		e.fail(check, "clients refuse that (RFC 8414 section 3.3): the parameter Issuer has to be the URL that they use, byte by byte",
			"it says that its issuer is %s, and it was asked for at %s", m.Issuer, e.Issuer)
		return
	}
	for _, endpoint := range []struct{ is, path string }{
		{m.TokenEndpoint, oauth.PathToken}, {m.JWKSURI, oauth.PathJWKS}, {m.RevocationEndpoint, oauth.PathRevoke},
		{m.IntrospectionEndpoint, oauth.PathIntrospect}, {m.LatchkeyRefresh, oauth.PathRefresh},
	} {
		if endpoint.is != e.Issuer+endpoint.path {
			e.fail(check, "is it Latchkey that answers there?", "it names an endpoint %q instead of %s", endpoint.is, e.Issuer+endpoint.path)
			return
		}
	}
	if b, err := e.get(ctx, e.Issuer+oauth.PathOpenIDConfiguration, nil); err != nil || b.status != http.StatusOK {
		e.fail(check, "API Gateway's native authorizers and load balancers read that", "%s is not served", oauth.PathOpenIDConfiguration)
		return
	}
	e.ok(check, "names the issuer and its endpoints")
}

// jwks looks at the keys that are served.
func (e *Examination) jwks(ctx context.Context) {
	const check = "jwks"
	if e.mute != "" {
		e.skip(check, "%s", e.mute)
		return
	}
	a, err := e.get(ctx, e.Issuer+oauth.PathJWKS, nil)
	switch {
	case err != nil:
		e.fail(check, logOf("discovery"), "%s: %v", oauth.PathJWKS, err)
		return
	case a.status != http.StatusOK:
		e.fail(check, logOf("discovery"), "%s answers %d: nobody can verify a token", oauth.PathJWKS, a.status)
		return
	}
	var set keyring.JWKS
	if _, err := keyring.ParseJWKS(a.body); err != nil {
		e.fail(check, "", "%v", err)
		return
	} else if err := json.Unmarshal(a.body, &set); err != nil {
		e.fail(check, "", "%v", err)
		return
	}
	if wrong := e.served(set); wrong != "" {
		e.fail(check, "do the discovery function and this run name the same keys table? A cache in front of it must heed Cache-Control", "%s", wrong)
		return
	}
	var algorithms []string
	for _, k := range set.Keys {
		if alg := string(k.Algorithm); !slices.Contains(algorithms, alg) {
			algorithms = append(algorithms, alg)
		}
	}
	age, kept := maxAge(a.header)
	told := strings.Join(algorithms, ", ")
	switch {
	case !kept:
		e.warn(check, "whatever stands in front of it should leave Cache-Control as it is", "%d keys (%s), which may not be cached: each verifier asks for them again and again", len(set.Keys), told)
	case age > keyring.MaxJWKSCache:
		e.warn(check, "whatever stands in front of it should leave Cache-Control as it is", "%d keys (%s), which may be cached for %s: longer than a new key is published before it signs", len(set.Keys), told, span(age))
	default:
		e.ok(check, "%d served (%s), to be cached for %s", len(set.Keys), told, span(age))
	}
}

// served says what is wrong with the keys that are served, by the public document, or else by the private one. What was
// published, or has ended, within the time that discovery and those who ask it keep an answer may be missing or left over.
func (e *Examination) served(set keyring.JWKS) string {
	known := e.public
	if known == nil && e.access != nil {
		known, _ = e.access.Public() // it has been read once
	}
	if known == nil {
		return ""
	}
	const kept = discovery.MaxAge + discovery.Memory
	now := e.Now()
	for _, k := range known.Keys {
		lately := now.Sub(time.Unix(k.Published, 0)) < kept
		if ended := k.VerifyUntil != 0 && k.VerifyUntil <= now.Unix(); !ended && !lately && !slices.Contains(set.Keys, k.JWK) {
			return "the key " + k.JWK.ID + " is not among those served, and is in the deployment's keys: tokens that it signs are refused"
		}
	}
	for _, j := range set.Keys {
		if !slices.ContainsFunc(known.Keys, func(k keyring.PublicKey) bool { return k.JWK == j }) {
			return "the key " + j.ID + " is served, and is none of the deployment's keys"
		}
	}
	return ""
}

// feed reads the revocations as a verifier does that starts.
func (e *Examination) feed(ctx context.Context) {
	const (
		check = "feed"
		// most pages are read, which hold a million entries. A verifier reads all.
		most = 25
		back = 30 * 24 * time.Hour
	)
	if e.mute != "" {
		e.skip(check, "%s", e.mute)
		return
	}
	source, err := remotefeed.New(remotefeed.Config{URL: e.Issuer + revocation.PathFeed, HTTPClient: e.HTTP})
	if err != nil {
		e.fail(check, "", "%v", err)
		return
	}
	pages, entries, cursor, asOf, more := 0, 0, "", int64(0), true
	for more && pages < most {
		p, err := source.Page(ctx, cursor, e.Now().Add(-back))
		if err != nil {
			e.fail(check, "past MaxStaleness nothing is let through: "+logOf("discovery"), "%s: %v", revocation.PathFeed, err)
			return
		}
		if p.Version != revocation.PageVersion {
			e.fail(check, "use a release of the tool that is as new as the deployment", "it has version %d, and this release reads %d", p.Version, revocation.PageVersion)
			return
		}
		for _, text := range p.Entries {
			if _, err := revocation.Parse(text); err != nil {
				e.fail(check, "verifiers take nothing of a feed with such an entry", "%v", err)
				return
			}
		}
		pages, entries = pages+1, entries+len(p.Entries)
		cursor, asOf, more = p.Next, p.AsOf, p.More
	}
	e.fresh(check, asOf, pages, entries, more)
}

// fresh judges the feed's as_of, by this machine's clock as it should be.
func (e *Examination) fresh(check string, asOf int64, pages, entries int, more bool) {
	age := e.Now().Add(-e.off()).Sub(time.Unix(asOf, 0)).Round(time.Second)
	told := plural(entries, "revocation") + " on " + plural(pages, "page")
	if more {
		told += " and more"
	}
	const fix = "does a cache in front of it keep answers for longer than Cache-Control says? Else: "
	switch {
	case age > revocation.MaxStaleness:
		e.fail(check, fix+logOf("discovery"), "it is %s old: verifiers let nothing through by it (MaxStaleness is 60 seconds by default)", span(age))
	case age < -revocation.MaxStaleness:
		e.fail(check, "the discovery function's clock is wrong", "it is from %s ahead: verifiers don't believe it", span(age))
	case age > revocation.PollInterval:
		e.warn(check, fix+logOf("discovery"), "it is %s old, and should be 5 seconds at the most", span(age))
	default:
		e.ok(check, "%s, as of %s ago", told, span(max(age, 0)))
	}
}

func logOf(function string) string { return "look at the " + function + " function's log" }
