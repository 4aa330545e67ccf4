package routefile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/routes"
)

// Warnings are what isn't wrong and can't be meant: rules, or parts of them, that never matter.
func (f *File) Warnings() []Problem {
	var out []Problem
	for i := range f.Set.APIs {
		a := &f.Set.APIs[i]
		warn := func(p Place, format string, args ...any) {
			out = append(out, Problem{f.Name, p, fmt.Sprintf(format, args...)})
		}
		if f.Forced(i) && a.Form == routes.FormRoute && len(a.Analyse().Obstacles) == 0 {
			warn(at(f.places[i].fields["form"]), "form token would be as safe here, and let one answer be cached for all routes")
		}
		for j := range a.Routes {
			r := &a.Routes[j]
			if r.Method == "ANY" && len(r.Methods()) == 0 {
				warn(f.Place(i, j), "%s is never reached: each method of the path has a rule of its own", r.Key())
			}
			for _, text := range idle(r) {
				warn(at(f.places[i].routes[j].value), "%s: %s", r.Key(), text)
			}
		}
	}
	return out
}

// idle says which parts of a rule change nothing.
func idle(r *routes.Route) []string {
	var out []string
	for i, alternative := range r.AnyOf {
		for _, s := range alternative {
			if slices.Contains(r.AllOf, s) {
				out = append(out, fmt.Sprintf("any names %s, which all asks for anyway", s))
			}
		}
		for j, other := range r.AnyOf {
			// Of two that are the same, the later one is idle.
			if i != j && within(other, alternative) && (j < i || !within(alternative, other)) {
				out = append(out, fmt.Sprintf("%q of any changes nothing, since %q suffices", strings.Join(alternative, " "), strings.Join(other, " ")))
				break
			}
		}
	}
	return out
}

func within(need, have []string) bool {
	return !slices.ContainsFunc(need, func(s string) bool { return !slices.Contains(have, s) })
}
