package dpop

import (
	"errors"
	"net/url"
	"strings"
)

// normalURL writes an http or https URL in the one way that all equal ones have (RFC 3986 §6.2.2, §6.2.3), without its
// query and fragment. Of a path's segments it compares what they say: see plain.
func normalURL(raw string) (string, error) {
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"<>\\^`{|}", r) }) {
		return "", errors.New("a character that no URI has")
	}
	u, err := url.Parse(raw)
	// What url.URL holds has been decoded; here are the parts as they were sent.
	_, rest, _ := strings.Cut(raw, "//")
	rest, _, _ = strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(authority, "@%") {
		return "", errors.New("not an absolute URL with the scheme http or https, a plain host and no user")
	}
	host := strings.TrimSuffix(strings.ToLower(authority), map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
	host = strings.TrimSuffix(host, ":")
	return u.Scheme + "://" + host + withoutDots(normalEscapes("/"+path)), nil
}

// normalEscapes decodes what need not be encoded, and writes the rest of the encoded in upper case (RFC 3986 §6.2.2.1,
// §6.2.2.2). The escapes are well-formed: url.Parse has seen them.
func normalEscapes(path string) string {
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			out.WriteByte(path[i])
			continue
		}
		escape := path[i : i+3]
		if decoded, err := url.PathUnescape(escape); err == nil && plain(decoded[0]) {
			out.WriteString(decoded)
		} else {
			out.WriteString(strings.ToUpper(escape))
		}
		i += 2
	}
	return out.String()
}

// plain says whether a character of a path means the same encoded or not. Of the unreserved ones RFC 3986 §2.3 says so. The
// others that a segment may have (§3.3), and the brackets that clients leave as they are too, could mean something else
// encoded; but HTTP APIs pass paths on decoded, so that which of the two it was can't be known. A slash is none of them.
func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~!$&'()*+,;=:@[]", c) >= 0
}

// withoutDots removes the segments "." and ".." of an absolute path (RFC 3986 §5.2.4). Unlike path.Clean it keeps empty
// segments and a slash at the end, which are part of what a path says.
func withoutDots(path string) string {
	segments := strings.Split(path[1:], "/")
	out := segments[:0]
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		case s != ".":
			out = append(out, s)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}
