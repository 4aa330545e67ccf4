package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// errTokenInvalid ends the process with exitInvalid; what is wrong has been printed by then.
var errTokenInvalid = errors.New("the token is not valid")

func (a *app) tokenCommand() *cobra.Command {
	cmd := group(&cobra.Command{Use: "token", Short: "Look into tokens"})
	cmd.AddCommand(a.tokenInspect())
	return cmd
}

// inspectFlags are the flags of `token inspect`.
type inspectFlags struct {
	place            place
	jwks, issuer     string
	acceptedIssuers  []string
	audiences        []string
	asJSON, noVerify bool
}

func (a *app) tokenInspect() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "inspect [TOKEN|-]",
		Short: "Show what an access token says, and what is wrong with it",
		Long: `Decodes an access token, verifies it as an API's authorizer does, and says in words what is wrong with it.

The token is read from stdin. It is taken as an argument too, but then your shell keeps it in its history.

It is verified against the keys of --jwks: a URL, or a file with a JWKS in it. Without that, against those that --issuer
publishes; without that, against the laptop's own (in --dir). Its issuer and its audience are compared to --issuer and
--audience where these are given; --accepted-issuer is a name that the issuer had before it moved to another domain. The keys
are never looked for where the token itself says: anyone could have made it.

Whether it is revoked is asked of whoever published the keys: the laptop's store, or the feed of --issuer. With --jwks that
is not known. What was not checked of a valid token is said.

Exit codes: 0 the token is valid, 3 it is not, 1 it could not be verified, 2 the command line is wrong.

With --json: valid, reason and explanation where it is not valid, not_checked (of issuer, audience and revocation, those
that were not) where it is, and header and claims as far as they can be read. reason is one of malformed, type, algorithm,
unknown_key, signature, issuer, audience, expired, not_yet_valid, claims, revoked.`,
		Example: `  echo "$ACCESS" | latchkey token inspect
  pbpaste | latchkey token inspect --jwks https://auth.acme.example/.well-known/jwks.json --audience https://api.acme.example`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("one token is taken, and here are %d arguments: quote what has spaces in it, or give it on stdin", len(args))
			}
			return nil
		},
		RunE: a.action(func(ctx context.Context, args []string) error { return a.inspect(ctx, &f, args) }),
	}
	fl := cmd.Flags()
	fl.StringVar(&f.jwks, "jwks", "", "`URL or file` of the JWKS to verify against")
	fl.StringVar(&f.issuer, "issuer", "", "issuer (`URL`) that the token must be of")
	fl.StringArrayVar(&f.acceptedIssuers, "accepted-issuer", nil, "other name (`URL`) of that issuer, whose tokens are taken besides, as ACCEPTED_ISSUERS has it; may be repeated")
	fl.StringArrayVar(&f.audiences, "audience", nil, "audience (`URI`) that the token must be for; may be repeated: one of them")
	fl.BoolVar(&f.noVerify, "no-verify", false, "decode only: exit code 0 then says nothing of the token")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON for scripts")
	cmd.MarkFlagsMutuallyExclusive("no-verify", "jwks")
	cmd.MarkFlagsMutuallyExclusive("no-verify", "issuer")
	cmd.MarkFlagsMutuallyExclusive("no-verify", "audience")
	a.addDirFlag(fl, &f.place)
	return cmd
}

func (a *app) inspect(ctx context.Context, f *inspectFlags, args []string) error {
	if len(f.acceptedIssuers) > 0 && f.issuer == "" || slices.Contains(f.acceptedIssuers, "") {
		return usagef("--accepted-issuer names what --issuer is called besides, and goes with that")
	}
	raw, err := a.readToken(args)
	if err != nil {
		return err
	}
	seen := look(raw)
	if f.noVerify {
		return a.printInspection(f, seen, nil)
	}
	keys, where, err := a.verificationKeys(ctx, f)
	if err != nil {
		if seen.header != nil && !f.asJSON {
			a.printParts(seen)
		}
		return err
	}
	verdict, err := a.judge(ctx, f, raw, seen, keys, where)
	if err != nil {
		return err
	}
	if err := a.printInspection(f, seen, verdict); err != nil {
		return err
	}
	if !verdict.valid {
		return errTokenInvalid
	}
	return nil
}

// readToken takes the token from the argument or from stdin, as it was pasted: with white space around it, "Bearer" or
// the whole header before it.
func (a *app) readToken(args []string) (string, error) {
	var text string
	if len(args) == 1 && args[0] != "-" {
		text = args[0]
	} else {
		if f, ok := a.stdin.(*os.File); ok && isTerminal(f) {
			fmt.Fprintln(a.stderr, "Paste the token, then Return and Ctrl-D:")
		}
		data, err := io.ReadAll(io.LimitReader(a.stdin, 64<<10))
		if err != nil {
			return "", fmt.Errorf("reading the token from stdin: %w", err)
		}
		text = string(data)
	}
	text = strings.Trim(text, " \t\r\n\"'")
	text = headerPattern.ReplaceAllString(text, "")
	if text == "" {
		return "", usagef("no token: give it on stdin")
	}
	return text, nil
}

var headerPattern = regexp.MustCompile(`(?i)^(authorization:\s*)?(bearer|dpop)\s+`)

// parts are what can be read of a token without believing it.
type parts struct {
	header, claims json.RawMessage // nil where it can't be read

	typ, alg, kid, iss string
	aud                []string
	exp, iat, nbf      int64
}

// look decodes leniently: it is for people to look at, and decides nothing.
func look(raw string) parts {
	var p parts
	segments := strings.Split(raw, ".")
	if len(segments) < 2 {
		return p
	}
	p.header, p.claims = decodeObject(segments[0]), decodeObject(segments[1])
	var h struct {
		Typ, Alg, Kid any
	}
	if json.Unmarshal(p.header, &h) == nil {
		p.typ, p.alg, p.kid = text(h.Typ), text(h.Alg), text(h.Kid)
	}
	var c map[string]any
	if json.Unmarshal(p.claims, &c) == nil {
		p.iss = text(c["iss"])
		switch aud := c["aud"].(type) {
		case string:
			p.aud = []string{aud}
		case []any:
			for _, one := range aud {
				p.aud = append(p.aud, text(one))
			}
		}
		p.exp, p.iat, p.nbf = seconds(c["exp"]), seconds(c["iat"]), seconds(c["nbf"])
	}
	return p
}

func decodeObject(segment string) json.RawMessage {
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(segment, "="))
	if err != nil {
		return nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil {
		return nil
	}
	return data
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func seconds(v any) int64 {
	n, _ := v.(float64)
	const most = 1 << 40 // far beyond any year that can be written
	if n < 0 || n > most {
		return 0
	}
	return int64(n)
}

// keySet is what tokens are verified against here.
type keySet struct {
	set *keyring.KeySet
	ids []string
}

// VerificationKey implements token.VerificationKeys.
func (k *keySet) VerificationKey(_ context.Context, kid string) (keyring.VerificationKey, error) {
	return k.set.Key(kid)
}

// verificationKeys gets the keys, and says in words where from.
func (a *app) verificationKeys(ctx context.Context, f *inspectFlags) (*keySet, string, error) {
	source := f.jwks
	if source == "" && f.issuer != "" {
		source = strings.TrimSuffix(f.issuer, "/") + oauth.PathJWKS
	}
	var data []byte
	var err error
	switch {
	case source == "":
		if data, err = a.laptopJWKS(ctx, &f.place); errors.Is(err, os.ErrNotExist) || errors.Is(err, keyring.ErrNoKeys) {
			return nil, "", fmt.Errorf("no keys to verify the token against: name them with --jwks or --issuer (there are none in %s), or give --no-verify", f.place.dir)
		}
		source = "the laptop's keys in " + f.place.dir
	case isURL(source):
		data, err = fetch(ctx, source)
	default:
		data, err = readAtMost(source, keyring.MaxJWKS)
	}
	if err != nil {
		return nil, "", err
	}
	set, err := keyring.ParseJWKS(data)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", source, err)
	}
	var names keyring.JWKS
	if err := json.Unmarshal(data, &names); err != nil {
		return nil, "", fmt.Errorf("%s: %w", source, err)
	}
	k := &keySet{set: set}
	for _, key := range names.Keys {
		if _, err := set.Key(key.ID); err == nil {
			k.ids = append(k.ids, key.ID)
		}
	}
	return k, source, nil
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}

func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return data, err
}

// fetch gets a JWKS over the network: over http from this machine only, for whoever can change it can pass off any token.
func fetch(ctx context.Context, from string) ([]byte, error) {
	safe := func(u *url.URL) error {
		if u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
			return fmt.Errorf("%s: keys are fetched by https (by http from this machine only)", from)
		}
		return nil
	}
	u, err := url.Parse(from)
	if err == nil {
		err = safe(u)
	}
	if err != nil {
		return nil, err
	}
	c := http.Client{Timeout: 10 * time.Second, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 {
			return errors.New("too many redirects")
		}
		return safe(r.URL)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetching the keys: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching the keys: %s answered %s", from, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, keyring.MaxJWKS+1)) // ParseJWKS refuses what is longer
}

// verdict is the outcome of a verification.
type verdict struct {
	valid       bool
	reason      token.Reason
	explanation string
	checked     []string // what was compared, and what was not
	notChecked  []string // the latter as --json has it
}

// judge verifies the token as an authorizer would. What the operator didn't say is taken from the token itself, and the
// verdict says that it is unchecked.
func (a *app) judge(ctx context.Context, f *inspectFlags, raw string, seen parts, keys *keySet, where string) (out *verdict, err error) {
	now := a.now()
	c := token.Config{Issuer: f.issuer, AcceptedIssuers: f.acceptedIssuers, Audiences: f.audiences, Keys: keys, Now: func() time.Time { return now }}
	out = &verdict{checked: []string{"Checked against " + where + "."}}
	var unchecked []string
	skip := func(what, words string) {
		out.notChecked, unchecked = append(out.notChecked, what), append(unchecked, words)
	}
	if c.Issuer == "" {
		skip("issuer", "its issuer (--issuer)")
		c.Issuer = seen.iss
	}
	if len(c.Audiences) == 0 {
		skip("audience", "its audience (--audience)")
		c.Audiences = slices.DeleteFunc(slices.Clone(seen.aud), func(s string) bool { return s == "" })
	}
	// Something has to be there for the verifier to be made; a token that has none of it fails on its claims.
	if c.Issuer == "" {
		c.Issuer = "-"
	}
	if len(c.Audiences) == 0 {
		c.Audiences = []string{"-"}
	}
	view, closing, err := a.revocationsFor(ctx, f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closing()) }()
	if view == nil {
		skip("revocation", "whether it is revoked")
	} else {
		c.Revocations = view
	}
	v, err := token.NewAccessVerifier(c)
	if err != nil {
		return nil, err
	}
	access, err := v.Verify(ctx, raw)
	var bad *token.InvalidError
	switch {
	case errors.As(err, &bad):
		out.reason, out.explanation = bad.Reason, explain(bad, raw, seen, f, keys, where, now)
		return out, nil
	case err != nil:
		return nil, err
	}
	out.valid = true
	out.explanation = fmt.Sprintf("It expires %s.", relative(time.Unix(seen.exp, 0), now))
	if held := bound(access.Confirmation); held != "" {
		out.checked = append(out.checked, held)
	}
	if late := now.Sub(time.Unix(seen.exp, 0)); late >= 0 {
		out.explanation = fmt.Sprintf("It expired %s, which the leeway of %s for clocks that differ still allows.", relative(time.Unix(seen.exp, 0), now), inWords(token.Leeway))
	}
	if len(unchecked) > 0 {
		out.checked = append(out.checked, "Not checked: "+inList(unchecked)+".")
	}
	return out, nil
}

// bound says in words what a token is bound to.
func bound(c token.Confirmation) string {
	const say = "It is bound to %s: by itself it is worth nothing. Who calls an API with it has to %s."
	const proof = "send a DPoP proof by that key, and the token with the scheme DPoP (RFC 9449)"
	switch {
	case c.JKT != "" && c.X5T != "":
		return fmt.Sprintf(say, "the key "+c.JKT+" and the certificate "+c.X5T, proof+", over a connection with that certificate (RFC 8705)")
	case c.JKT != "":
		return fmt.Sprintf(say, "the key "+c.JKT, proof)
	case c.X5T != "":
		return fmt.Sprintf(say, "the certificate "+c.X5T, "connect with it (RFC 8705)")
	}
	return ""
}

// explain says in words what is wrong with a token, and what to do about it.
func explain(bad *token.InvalidError, raw string, seen parts, f *inspectFlags, keys *keySet, where string, now time.Time) string {
	exp := time.Unix(seen.exp, 0)
	switch bad.Reason {
	case token.ReasonMalformed:
		return explainMalformed(bad, raw)
	case token.ReasonType:
		if seen.typ == token.TypeRefresh {
			return "It is a refresh token. APIs take access tokens; this one goes to its issuer alone, in a request for a new access token."
		}
		return fmt.Sprintf("It is no access token: its header's typ is %q where an access token has %q (RFC 9068).", plain(seen.typ), token.TypeAccess)
	case token.ReasonKey:
		return fmt.Sprintf("It was signed by a key that is not in the JWKS: its kid is %s, and %s has %s. It is another deployment's token, made up, or so old that its key is gone.",
			plain(seen.kid), where, strings.Join(keys.ids, ", "))
	case token.ReasonAlgorithm:
		return fmt.Sprintf("Its header says that it is signed with %s, and its key is of another algorithm. Latchkey makes no such token: somebody tampered with it.", plain(seen.alg))
	case token.ReasonSignature:
		return "It was altered, or not signed by the key that it names: the signature does not verify. Nothing that it says can be believed."
	case token.ReasonIssuer:
		known := f.issuer
		if len(f.acceptedIssuers) > 0 {
			known += ", --accepted-issuer " + inList(f.acceptedIssuers)
		}
		return fmt.Sprintf("It is another issuer's: it is of %s, and --issuer is %s. They are compared letter by letter, a slash at the end included.", quoteOr(seen.iss, "none"), known)
	case token.ReasonAudience:
		if len(f.audiences) == 0 {
			return "It is for no audience: an access token has an aud."
		}
		return fmt.Sprintf("It is for another audience: it is for %s, and --audience is %s.", quoteOr(strings.Join(seen.aud, ", "), "none"), strings.Join(f.audiences, ", "))
	case token.ReasonExpired:
		return fmt.Sprintf("It expired %s, at %s. Refresh it.", relative(exp, now), stamp(seen.exp))
	case token.ReasonRevoked:
		return fmt.Sprintf("It is revoked: %s. Sign in again.", plain(bad.Detail))
	case token.ReasonNotYet:
		return fmt.Sprintf("It is not valid yet: it begins %s. One of the two clocks is wrong.", relative(time.Unix(max(seen.iat, seen.nbf), 0), now))
	}
	return "Its claims are not those of an access token: " + plain(bad.Detail) + "."
}

func explainMalformed(bad *token.InvalidError, raw string) string {
	switch dots := strings.Count(raw, "."); {
	case strings.HasPrefix(raw, client.SecretPrefix):
		return "This is no token but a client's secret. Now that it was pasted, consider `latchkey client rotate-secret`."
	case strings.ContainsAny(raw, " \t\r\n"):
		return "There is white space within it: it was cut by a line break when it was copied, or there is more than the token."
	case dots == 4:
		return "It is an encrypted token (five parts), which Latchkey does not make."
	case dots != 2:
		return fmt.Sprintf("It is no JWT: that has three parts joined by two dots, and this has %s.", plural(int64(dots), "dot"))
	}
	return "It was altered, or cut off when it was copied: " + plain(bad.Detail) + "."
}

// inList joins words as people do: a, b and c.
func inList(words []string) string {
	if last := len(words) - 1; last > 0 {
		return strings.Join(words[:last], ", ") + " and " + words[last]
	}
	return strings.Join(words, "")
}

func quoteOr(s, none string) string {
	if s == "" {
		return none
	}
	return plain(s)
}

// printInspection shows the parts and the verdict; nil means that none was asked for.
func (a *app) printInspection(f *inspectFlags, seen parts, v *verdict) error {
	if f.asJSON {
		out := struct {
			Valid       *bool           `json:"valid,omitempty"`
			Reason      token.Reason    `json:"reason,omitempty"`
			Explanation string          `json:"explanation,omitempty"`
			NotChecked  []string        `json:"not_checked,omitempty"`
			Header      json.RawMessage `json:"header,omitempty"`
			Claims      json.RawMessage `json:"claims,omitempty"`
		}{Header: seen.header, Claims: seen.claims}
		if v != nil {
			out.Valid = &v.valid
			if !v.valid {
				out.Reason, out.Explanation = v.reason, v.explanation
			} else {
				out.NotChecked = v.notChecked
			}
		}
		return a.printJSON(out)
	}
	switch {
	case v == nil:
		fmt.Fprintf(a.stdout, "Decoded only: nothing of this was verified.\n")
	case v.valid:
		fmt.Fprintf(a.stdout, "Valid. %s\n%s\n", v.explanation, strings.Join(v.checked, "\n"))
	default:
		fmt.Fprintf(a.stdout, "Not valid. %s\n%s\n", v.explanation, strings.Join(v.checked, "\n"))
	}
	a.printParts(seen)
	return nil
}

// printParts shows header and claims as they stand, and the times among them in words.
func (a *app) printParts(p parts) {
	show := func(title string, part json.RawMessage) {
		var out bytes.Buffer
		if part == nil || json.Indent(&out, part, "", "  ") != nil {
			fmt.Fprintf(a.stdout, "\n%s: can't be read\n", title)
			return
		}
		fmt.Fprintf(a.stdout, "\n%s: %s\n", title, plain(out.String()))
	}
	if p.header == nil && p.claims == nil {
		return
	}
	show("header", p.header)
	show("claims", p.claims)
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, t := range []struct {
		name string
		at   int64
	}{{"issued", p.iat}, {"begins", p.nbf}, {"expires", p.exp}} {
		if t.at != 0 {
			fmt.Fprintf(w, "%s\t%s\n", t.name, a.when(t.at))
		}
	}
	fmt.Fprintln(a.stdout)
	_ = w.Flush() // an error of stdout's, which nothing can be done about
}
