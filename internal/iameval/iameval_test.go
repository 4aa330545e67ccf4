package iameval_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/internal/iameval"
)

var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

const (
	stage = "arn:aws:execute-api:eu-central-1:123456789012:abc/prod/"
	asked = stage + "GET/orders/7/lines"
)

func TestDecide(t *testing.T) {
	statement := func(effect, resource, condition string) string {
		s := `{"Effect":"` + effect + `","Action":"execute-api:Invoke","Resource":"` + resource + `"`
		if condition != "" {
			s += `,"Condition":` + condition
		}
		return s + `}`
	}
	allow := func(resource string) string { return statement("Allow", resource, "") }
	when := func(condition string) string { return statement("Allow", stage+"*", condition) }
	for _, test := range []struct {
		name, statements string
		want             iameval.Decision
	}{
		{"the resource itself", allow(asked), iameval.Allowed},
		{"everything", allow("*"), iameval.Allowed},
		{"a star crosses slashes", allow(stage + "GET/*"), iameval.Allowed},
		{"a star in between", allow(stage + "*/orders/*/lines"), iameval.Allowed},
		{"a star for nothing", allow(asked + "*"), iameval.Allowed},
		{"a question mark", allow(stage + "GET/orders/?/lines"), iameval.Allowed},
		{"a question mark is one character", allow(stage + "GET/orders/7?/lines"), iameval.ImplicitDeny},
		{"a dot is a dot", allow(strings.Replace(asked, "7", ".", 1)), iameval.ImplicitDeny},
		{"a prefix", allow(stage + "GET/orders"), iameval.ImplicitDeny},
		{"another case", allow(strings.Replace(asked, "orders", "Orders", 1)), iameval.ImplicitDeny},
		{"another stage", allow(strings.Replace(stage, "prod", "test", 1) + "*"), iameval.ImplicitDeny},
		{"actions know no case", strings.Replace(allow(asked), "Invoke", "INVOKE", 1), iameval.Allowed},
		{"an action's wildcard", strings.Replace(allow(asked), "Invoke", "*", 1), iameval.Allowed},
		{"another action", strings.Replace(allow(asked), "Invoke", "ManageConnections", 1), iameval.ImplicitDeny},
		{"lists", `{"Effect":"Allow","Action":["a:B","execute-api:Invoke"],"Resource":["` + stage + `x","` + asked + `"]}`, iameval.Allowed},
		{"deny wins", allow("*") + "," + statement("Deny", asked, ""), iameval.ExplicitDeny},
		{"deny wins, first", statement("Deny", "*", "") + "," + allow("*"), iameval.ExplicitDeny},
		{"deny of another", allow("*") + "," + statement("Deny", asked+"x", ""), iameval.Allowed},
		{"a deny whose time is over", allow("*") + "," + statement("Deny", "*", `{"DateLessThan":{"aws:CurrentTime":"2026-09-01T12:00:00Z"}}`), iameval.Allowed},

		{"a second before", when(`{"DateLessThan":{"aws:CurrentTime":"2026-09-01T12:00:01Z"}}`), iameval.Allowed},
		{"at the time", when(`{"DateLessThan":{"aws:CurrentTime":"2026-09-01T12:00:00Z"}}`), iameval.ImplicitDeny},
		{"until and with the time", when(`{"DateLessThanEquals":{"aws:CurrentTime":"2026-09-01T12:00:00Z"}}`), iameval.Allowed},
		{"in another zone", when(`{"DateLessThan":{"aws:CurrentTime":"2026-09-01T14:00:01+02:00"}}`), iameval.Allowed},
		{"in seconds", when(`{"NumericLessThan":{"aws:EpochTime":"1788264001"}}`), iameval.Allowed},
		{"in seconds, a number", when(`{"NumericLessThan":{"aws:EpochTime":1788264000}}`), iameval.ImplicitDeny},
		{"a date in seconds", when(`{"DateLessThan":{"aws:EpochTime":"1788264001"}}`), iameval.Allowed},
		{"numbers and dates don't mix", when(`{"NumericLessThan":{"aws:CurrentTime":"1788264001"}}`), iameval.ImplicitDeny},
		{"any value", when(`{"DateLessThan":{"aws:currenttime":["2020-01-01","2026-09-02"]}}`), iameval.Allowed},
		{"both operators", when(`{"DateLessThan":{"aws:CurrentTime":"2026-09-02"},"DateGreaterThan":{"aws:CurrentTime":"2026-09-02"}}`), iameval.ImplicitDeny},
		{"no date", when(`{"DateLessThan":{"aws:CurrentTime":"tomorrow"}}`), iameval.ImplicitDeny},
		{"an unknown operator", when(`{"DateBefore":{"aws:CurrentTime":"2026-09-02"}}`), iameval.ImplicitDeny},
		{"an unknown key", when(`{"DateLessThan":{"aws:TokenIssueTime":"2026-09-02"}}`), iameval.ImplicitDeny},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := iameval.Parse([]byte(`{"Version":"2012-10-17","Statement":[` + test.statements + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Decide(iameval.Request{Action: "execute-api:Invoke", Resource: asked, Now: noon}); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	const good = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"*"}}`
	if _, err := iameval.Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"another version":    {"2012-10-17", "2008-10-17"},
		"no statement":       {`{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"*"}`, `[]`},
		"another effect":     {`"Allow"`, `"allow"`},
		"no action":          {`"Action":"execute-api:Invoke",`, ``},
		"an empty resource":  {`"*"`, `[]`},
		"NotResource":        {`"Resource"`, `"NotResource"`},
		"not an ARN":         {`"*"`, `"orders"`},
		"a policy variable":  {`"*"`, `"arn:aws:execute-api:r:1:abc/${aws:username}"`},
		"an object":          {`"*"`, `{}`},
		"data after the end": {`"*"}}`, `"*"}}{}`},
	} {
		data := strings.Replace(good, change[0], change[1], 1)
		if _, err := iameval.Parse([]byte(data)); err == nil {
			t.Errorf("%s: %s is taken", name, data)
		}
	}
}
