package grant

import (
	"errors"
	"net/http"

	"github.com/latchkey-auth/latchkey/pkg/dpop"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// shown returns what the client has shown to hold by this request, and, where it sent a proof, the nonce for its next one.
func (e *Endpoint) shown(r *http.Request) (shown token.Confirmation, nonce string, err error) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		shown.X5T = token.CertificateThumbprint(r.TLS.PeerCertificates[0].Raw)
	}
	header := r.Header.Values(dpop.Header)
	if len(header) == 0 {
		return shown, "", nil
	}
	if e.Proofs == nil {
		return shown, "", oauth.Errorf(oauth.InvalidDPoPProof, "This endpoint takes no DPoP proofs.")
	}
	proof, err := e.Proofs.Verify(r.Context(), header, dpop.Request{Method: r.Method, URLs: e.URLs})
	var bad *dpop.InvalidError
	var stale *dpop.NonceError
	switch {
	case errors.As(err, &bad):
		return shown, "", oauth.Errorf(oauth.InvalidDPoPProof, "The DPoP proof is not taken: %s.", bad.Detail)
	case errors.As(err, &stale):
		return shown, "", oauth.Errorf(oauth.UseDPoPNonce, "Make the DPoP proof again, with the nonce of the header DPoP-Nonce.").WithDPoPNonce(stale.Nonce)
	case err != nil:
		return shown, "", oauth.Errorf(oauth.Unavailable, "The DPoP proof can't be verified at the moment. Try again.").Because(err)
	}
	shown.JKT = proof.Thumbprint
	if e.Proofs.Nonces != nil {
		if nonce, err = e.Proofs.Nonces.Current(r.Context()); err != nil {
			return shown, "", unavailable(err)
		}
	}
	return shown, nonce, nil
}

// Bind returns what the tokens of a sign-in are bound to: to the key of a proof whenever there is one, and to the certificate
// of the connection if that is what the client refreshes with, since a domain may ask for one of everybody. A refresh token
// is bound as the access token is, a confidential client's too: its secret is not asked for when it refreshes.
func Bind(mode token.Mode, shown token.Confirmation) (token.Confirmation, error) {
	switch {
	case mode == token.ModeDPoP && shown.JKT == "":
		return token.Confirmation{}, errNoProof()
	case mode == token.ModeMTLS && shown.X5T == "":
		return token.Confirmation{}, errNoCertificate()
	case mode != token.ModeMTLS:
		shown.X5T = ""
	}
	return shown, nil
}

// Rebind asks for what a refresh token is bound to and returns what its access token is. Where the client comes with a proof
// and the refresh token is bound to no key, the access token alone is bound: what a refresh token asks for is settled when
// the client signs in, by its secret, and nobody who got hold of the token can change that.
func Rebind(held, shown token.Confirmation) (token.Confirmation, error) {
	switch {
	case held.JKT != "" && shown.JKT == "":
		return token.Confirmation{}, errNoProof().Becausef("the refresh token is bound to a key, and there is no proof")
	case held.X5T != "" && shown.X5T == "":
		return token.Confirmation{}, errNoCertificate().Becausef("the refresh token is bound to a certificate, and there is none")
	case held.JKT != "" && shown.JKT != held.JKT:
		return token.Confirmation{}, otherKey().Becausef("the proof is by another key than the one that the refresh token is bound to")
	case held.X5T != "" && shown.X5T != held.X5T:
		return token.Confirmation{}, otherKey().Becausef("the certificate is another one than that which the refresh token is bound to")
	}
	return token.Confirmation{JKT: shown.JKT, X5T: held.X5T}, nil
}

func errNoProof() *oauth.Error {
	return oauth.Errorf(oauth.InvalidDPoPProof, "A DPoP proof is needed here: send one in the header DPoP (RFC 9449).")
}

func errNoCertificate() *oauth.Error {
	return oauth.Errorf(oauth.InvalidRequest, "A client certificate is needed here: connect with one (RFC 8705).")
}

func otherKey() *oauth.Error {
	return oauth.Errorf(oauth.InvalidGrant, "The refresh token is bound to another key or certificate. Use that, or sign in again.")
}
