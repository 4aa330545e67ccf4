package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/latchkey-auth/latchkey/pkg/assertion"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// assertionFlags are what the client commands say of assertions.
type assertionFlags struct {
	jwks, jwksURI   string
	tokenEndpoint   bool
	issuer, subject string
	claims, issuers []string
	flags           *pflag.FlagSet
}

func (f *assertionFlags) add(fl *pflag.FlagSet) {
	f.flags = fl
	fl.StringVar(&f.jwks, "jwks", "", "`file` of public keys by which it signs in (private_key_jwt), a JWKS; - for stdin")
	fl.StringVar(&f.jwksURI, "jwks-uri", "", "`URL` of them, instead")
	fl.BoolVar(&f.tokenEndpoint, "token-endpoint-audience", false, "take assertions of its that are for the token endpoint's URL, besides those for the issuer")
	fl.StringVar(&f.issuer, "workload-issuer", "", "`URL` of a trusted issuer by a token of which it signs in, such as\nhttps://token.actions.githubusercontent.com (see \"latchkey help issuer\")")
	fl.StringVar(&f.subject, "workload-subject", "", "`sub` that it has there, the whole of it")
	fl.StringArrayVar(&f.claims, "workload-claim", nil, "`name=value` of a claim that such a token must have; may be repeated")
	fl.StringArrayVar(&f.issuers, "assertion-issuer", nil, "`URL` of a trusted issuer whose tokens it may come with in the grant jwt-bearer; may be repeated")
}

// given reports whether one of them is.
func (f *assertionFlags) given() bool {
	return slices.ContainsFunc([]string{
		"jwks", "jwks-uri", "token-endpoint-audience", "workload-issuer", "workload-subject", "workload-claim", "assertion-issuer",
	}, f.flags.Changed)
}

// keys reads the keys, none where no flag names any.
func (f *assertionFlags) keys(stdin io.Reader) (assertion.KeySource, error) {
	switch {
	case f.jwks != "" && f.jwksURI != "":
		return "", usagef("the keys are in a file or at a URL: give --jwks or --jwks-uri")
	case f.jwks == "":
		return assertion.KeySource(f.jwksURI), nil
	}
	keys, err := readKeys(f.jwks, stdin)
	if err != nil {
		return "", fmt.Errorf("--jwks: %w", err)
	}
	return keys, nil
}

// readKeys reads a JWKS from a file, - being stdin.
func readKeys(path string, stdin io.Reader) (assertion.KeySource, error) {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, assertion.MaxStoredJWKS+1))
	if err != nil {
		return "", err
	}
	return assertion.ParseKeys(data)
}

// identities are one, or none.
func (f *assertionFlags) identities() ([]client.Identity, error) {
	if f.issuer == "" {
		if f.subject != "" || len(f.claims) > 0 {
			return nil, usagef("whose token? --workload-subject and --workload-claim go with --workload-issuer")
		}
		return nil, nil
	}
	claims, err := claimsOf(f.claims)
	if err != nil {
		return nil, err
	}
	one := client.Identity{Issuer: f.issuer, Subject: f.subject}
	for name, values := range claims {
		if len(values) > 1 {
			return nil, usagef("--workload-claim %s is given twice", plain(name))
		}
		if one.Claims == nil {
			one.Claims = map[string]string{}
		}
		one.Claims[name] = values[0]
	}
	return []client.Identity{one}, nil
}

// claimsOf reads name=value flags.
func claimsOf(flags []string) (map[string][]string, error) {
	var claims map[string][]string
	for _, c := range flags {
		name, value, ok := strings.Cut(c, "=")
		if !ok || name == "" || value == "" {
			return nil, usagef("%q: a claim is given as name=value", plain(c))
		}
		if claims == nil {
			claims = map[string][]string{}
		}
		claims[name] = append(claims[name], value)
	}
	return claims, nil
}

// spec fills in what a new client is told by. Without --with-secret it has none, if it can sign in without.
func (f *assertionFlags) spec(s *client.Spec, stdin io.Reader, withSecret bool) (err error) {
	if s.Keys, err = f.keys(stdin); err != nil {
		return err
	}
	if s.Identities, err = f.identities(); err != nil {
		return err
	}
	s.TokenEndpointAudience, s.AssertionIssuers = f.tokenEndpoint, f.issuers
	s.NoSecret = (s.Keys != "" || len(s.Identities) > 0) && !withSecret
	return nil
}

// change fills in what is given.
func (f *assertionFlags) change(r *client.Record, keys assertion.KeySource) error {
	if f.flags.Changed("jwks") || f.flags.Changed("jwks-uri") {
		r.Keys = keys
	}
	if f.flags.Changed("token-endpoint-audience") {
		r.TokenEndpointAudience = f.tokenEndpoint
	}
	if f.flags.Changed("assertion-issuer") {
		r.AssertionIssuers = slices.DeleteFunc(slices.Clone(f.issuers), func(s string) bool { return s == "" })
	}
	if f.flags.Changed("workload-issuer") || f.flags.Changed("workload-subject") || f.flags.Changed("workload-claim") {
		list, err := f.identities()
		if err != nil {
			return err
		}
		r.Identities = list
	}
	return nil
}

// grantNames takes jwt-bearer for what it is called in full.
func grantNames(names []string) []string {
	var all []string
	for _, n := range names {
		if n == "jwt-bearer" {
			n = oauth.GrantJWTBearer
		}
		all = append(all, n)
	}
	return all
}

// describeKeys says where keys are.
func describeKeys(s assertion.KeySource) string {
	switch {
	case s == "":
		return ""
	case s.JWKS() != nil:
		return "kept in the record"
	}
	return s.URL()
}

// describeIdentity says what a client is elsewhere.
func describeIdentity(i client.Identity) string {
	words := []string{i.Issuer}
	if i.Subject != "" {
		words = append(words, "sub="+i.Subject)
	}
	for name, value := range i.Claims {
		words = append(words, name+"="+value)
	}
	slices.Sort(words[1:])
	return plain(strings.Join(words, " "))
}
