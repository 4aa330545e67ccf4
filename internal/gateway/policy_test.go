package gateway

import (
	"strings"
	"testing"
	"time"
)

const arn = "arn:aws:execute-api:eu-central-1:123456789012:abc/prod/GET/users/ada"

// noon is the time at which policies are evaluated.
var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func TestEvaluate(t *testing.T) {
	allow := func(resource string) string {
		return `{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"` + resource + `"}`
	}
	deny := func(resource string) string { return strings.Replace(allow(resource), "Allow", "Deny", 1) }
	when := func(statement, condition string) string {
		return strings.TrimSuffix(statement, "}") + `,"Condition":` + condition + `}`
	}
	const all = "arn:aws:execute-api:eu-central-1:123456789012:abc/prod/*"
	const before, after = `{"DateLessThan":{"aws:CurrentTime":"2026-09-01T12:00:01Z"}}`, `{"DateLessThan":{"aws:CurrentTime":"2026-09-01T12:00:00Z"}}`
	tests := []struct {
		name       string
		statements string // joined by commas
		want       verdict
	}{
		{"the method itself", allow(arn), allowed},
		{"the stage", allow(all), allowed},
		{"everything", allow("*"), allowed},
		{"verb and path by stars", allow("arn:aws:execute-api:eu-central-1:123456789012:abc/prod/*/*"), allowed},
		{"a star crosses slashes", allow("arn:aws:execute-api:eu-central-1:123456789012:abc/*"), allowed},
		{"a star in the middle", allow("arn:aws:execute-api:*:*:abc/*/GET/users/*"), allowed},
		{"question marks", allow("arn:aws:execute-api:eu-central-1:123456789012:abc/prod/?ET/users/???"), allowed},
		{"a question mark is one character", allow(arn + "?"), implicitDeny},
		{"a star may stand for nothing", allow(arn + "*"), allowed},
		{"another path", allow(strings.Replace(arn, "ada", "bob", 1)), implicitDeny},
		{"a prefix is not enough", allow(strings.TrimSuffix(arn, "/ada")), implicitDeny},
		{"another verb", allow(strings.Replace(arn, "GET", "POST", 1)), implicitDeny},
		{"another stage", allow(strings.Replace(all, "prod", "test", 1)), implicitDeny},
		{"another API", allow(strings.Replace(all, "abc", "abd", 1)), implicitDeny},
		{"another account", allow(strings.Replace(all, "123456789012", "123456789013", 1)), implicitDeny},
		{"another region", allow(strings.Replace(all, "eu-central-1", "eu-central-2", 1)), implicitDeny},
		{"another partition", allow(strings.Replace(all, "aws", "aws-cn", 1)), implicitDeny},
		{"another service", allow(strings.Replace(all, "execute-api", "lambda", 1)), implicitDeny},
		{"paths know case", allow(strings.Replace(arn, "users", "Users", 1)), implicitDeny},
		{"no star crosses a colon", allow("arn:*:prod:GET:x:abc"), implicitDeny},
		{"an empty resource part", allow("arn:aws:execute-api:::abc/prod/*"), implicitDeny},
		{"an action in another case", strings.Replace(allow(all), "Invoke", "invoke", 1), allowed},
		{"an action by a star", strings.Replace(allow(all), "Invoke", "*", 1), allowed},
		{"another action", strings.Replace(allow(all), "Invoke", "InvalidateCache", 1), implicitDeny},
		{"lists", `{"Effect":"Allow","Action":["a:b","execute-api:Invoke"],"Resource":["` + arn + `x","` + arn + `"]}`, allowed},

		{"deny wins", allow(all) + "," + deny(arn), explicitDeny},
		{"deny wins, first", deny(arn) + "," + allow(all), explicitDeny},
		{"deny of another", deny(arn+"x") + "," + allow(all), allowed},
		{"deny alone", deny("*"), explicitDeny},

		{"before the time", when(allow(all), before), allowed},
		{"at the time", when(allow(all), after), implicitDeny},
		{"keys know no case", when(allow(all), `{"DateLessThan":{"AWS:currenttime":["2026-09-01T12:00:01Z"]}}`), allowed},
		{"any value", when(allow(all), `{"DateLessThan":{"aws:CurrentTime":["2020-01-01T00:00:00Z","2026-09-01T12:00:01Z"]}}`), allowed},
		{"no value", when(allow(all), `{"DateLessThan":{"aws:CurrentTime":[]}}`), implicitDeny},
		{"all operators", when(allow(all), `{"DateLessThan":{"aws:CurrentTime":"2026-09-01T12:00:01Z"},"DateGreaterThan":{"aws:CurrentTime":"2026-09-01T12:00:00Z"}}`), implicitDeny},
		{"an offset", when(allow(all), `{"DateLessThan":{"aws:CurrentTime":"2026-09-01T14:00:01+02:00"}}`), allowed},
		{"an unknown operator", when(allow(all), `{"DateLessThanEquals":{"aws:CurrentTime":"2026-09-01T12:00:01Z"}}`), implicitDeny},
		{"an unknown operator beside one that holds", when(allow(all), `{"StringLike":{"aws:CurrentTime":"*"},"DateLessThan":{"aws:CurrentTime":"2026-09-01T12:00:01Z"}}`), implicitDeny},
		{"an unknown key", when(allow(all), `{"DateLessThan":{"aws:EpochTime":"2026-09-01T12:00:01Z"}}`), implicitDeny},
		{"no time", when(allow(all), `{"DateLessThan":{"aws:CurrentTime":"tomorrow"}}`), implicitDeny},
		{"deny before the time", allow(all) + "," + when(deny(all), before), explicitDeny},
		{"deny after it", allow(all) + "," + when(deny(all), after), allowed},
		{"deny by an unknown operator", allow(all) + "," + when(deny(all), `{"Bool":{"aws:SecureTransport":"false"}}`), explicitDeny},
		{"deny by no time", allow(all) + "," + when(deny(all), `{"DateLessThan":{"aws:CurrentTime":"tomorrow"}}`), explicitDeny},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := parsePolicy([]byte(`{"Version":"2012-10-17","Statement":[` + test.statements + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := p.evaluate(arn, noon); got != test.want {
				t.Errorf("the verdict is %d, want %d", got, test.want)
			}
		})
	}
}

func TestRefusedPolicies(t *testing.T) {
	const good = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"*"}}`
	if _, err := parsePolicy([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"no version":         {`"Version":"2012-10-17",`, ``},
		"another version":    {`2012-10-17`, `2008-10-17`},
		"no statement":       {`{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"*"}`, `[]`},
		"null statement":     {`{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"*"}`, `null`},
		"another effect":     {`Allow`, `allow`},
		"no effect":          {`"Effect":"Allow",`, ``},
		"no action":          {`"Action":"execute-api:Invoke",`, ``},
		"NotAction":          {`"Action"`, `"NotAction"`},
		"NotResource":        {`"Resource"`, `"NotResource"`},
		"a principal":        {`"Effect"`, `"Principal":"*","Effect"`},
		"a resource not ARN": {`"*"`, `"execute-api/*"`},
		"a policy variable":  {`"*"`, `"arn:aws:execute-api:r:1:abc/${aws:username}/*"`},
		"a number":           {`"*"`, `1`},
		"data after the end": {`"*"}}`, `"*"}}{}`},
	} {
		data := strings.Replace(good, change[0], change[1], 1)
		if data == good {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := parsePolicy([]byte(data)); err == nil {
			t.Errorf("%s: %s is taken", name, data)
		}
	}
}

func TestWildcardTakesNoForever(t *testing.T) {
	pattern, s := strings.Repeat("*a", 200)+"b", strings.Repeat("a", 5000)
	start := time.Now()
	if wildcard(pattern, s) {
		t.Error("it matches")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %s", took)
	}
}
