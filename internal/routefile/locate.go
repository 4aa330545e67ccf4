package routefile

import (
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/routes"
)

// Locate says to which of an API's routes API Gateway would send a request, if these are all its routes: the one with the
// most specific path. HTTP APIs choose among the routes that take the method; REST APIs choose the path first, and refuse
// the request where it lacks the method. It is nil where none matches.
//
// It is for people to read. The authorizer decides on the route that API Gateway names, and never on a path.
func Locate(a *routes.API, rest bool, method, path string) *routes.Route {
	if path != "/" {
		path = strings.TrimSuffix(path, "/")
	}
	var best *routes.Route
	var bestRank string
	for i := range a.Routes {
		r := &a.Routes[i]
		rank, ok := rank(r.Path, path)
		switch {
		case r.Method == method:
			rank += "0"
		case r.Method == "ANY":
			rank += "1"
		case r.Path == "$default":
			rank, ok = "9", true
		case rest:
			rank += "2"
		default:
			ok = false
		}
		if ok && (best == nil || rank < bestRank) {
			best, bestRank = r, rank
		}
	}
	if best != nil && best.Method != method && best.Method != "ANY" && best.Path != "$default" {
		return nil
	}
	return best
}

// rank is a digit for each segment of a template that matches the path, the smaller the more specific: 1 a literal, 2 a
// variable, 3 a variable that takes all the rest.
func rank(template, path string) (string, bool) {
	have := strings.Split(path, "/")[1:]
	out := ""
	parts := strings.Split(template, "/")[1:]
	for i, part := range parts {
		switch {
		case i >= len(have):
			return "", false
		case strings.HasSuffix(part, "+}"):
			return out + "3", have[i] != ""
		case strings.HasPrefix(part, "{") && have[i] != "":
			out += "2"
		case part == have[i]:
			out += "1"
		default:
			return "", false
		}
	}
	return out, len(parts) == len(have) && len(parts) > 0
}
