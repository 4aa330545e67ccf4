package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/internal/awserr"
	"github.com/latchkey-auth/latchkey/internal/doctor"
	"github.com/latchkey-auth/latchkey/pkg/client"
)

// doctorFlags are the flags of `latchkey doctor`. What is on AWS is named by the stack, by flags or by the environment.
type doctorFlags struct {
	place         place             // dir
	stack         string            // on AWS
	named         map[string]string // by a doctorFlag's name: what is on AWS, and where it answers
	period        time.Duration
	scopes        []string
	noFlow        bool
	wait          lifetime
	asJSON        bool
	withoutIssuer string
}

// doctorFlag is a flag of what there is to be looked at.
type doctorFlag struct{ name, env, usage string }

// tableFlag is the flag of a concept's table.
func tableFlag(concept string) string { return concept + "-table" }

// doctorNames are the flags that mean AWS: one of them, on the command line or in the environment, and the laptop is not meant.
var doctorNames = func() []doctorFlag {
	all := []doctorFlag{
		{"issuer", "LATCHKEY_ISSUER", "issuer (`URL`) of the tokens"},
		{"access-secret", "ACCESS_KEYS_SECRET", "Secrets Manager `name` or ARN of the access keys"},
		{"refresh-secret", "REFRESH_KEYS_SECRET", "Secrets Manager `name` or ARN of the refresh keys"},
	}
	of := map[string]string{"signins": "tries to sign in", "keys": "public keys", "grants": "rotating grants", "assertions": "assertions that had their use"}
	for _, concept := range doctor.Concepts {
		what := cmp.Or(of[concept], concept)
		all = append(all, doctorFlag{tableFlag(concept), strings.ToUpper(concept) + "_TABLE", "DynamoDB `table` of the " + what})
	}
	return all
}()

const doctorHelp = `Looks over a deployment, or a laptop's "latchkey dev", and says for each thing whether it is in order, and if not what to do:

  aws          whose credentials these are
  keys         the private keys are there, one of each ring signs and is not overdue; the public ones are theirs
  tables       each is there, with its key, backed up, protected from deletion, and its TTL on where things expire
  issuer       an https URL; its metadata name it, and endpoints of its own
  clock        this machine's, held to DynamoDB's and the issuer's
  jwks, feed   served, of this deployment's keys, cacheable; fresh, and to be read to the end
  flow         a client made for this signs in, its token is verified by what is published, an API is called with it, without
               it and with an altered one, it is refreshed with less scope, revoked, and seen to be refused

The flow writes: a client "doctor-…", whose secret ends within 10 minutes, is made and, whatever happens, deleted at the end,
with the audit lines of that; --no-flow leaves it out. It takes a clients table and the revocations table. Seeing the revocation
obeyed takes up to 45 seconds: --wait says how long, and 0 that it is not waited for.

It looks at the laptop, in the folder --dir, unless something on AWS is named: by --stack, which asks CloudFormation for all
that the stack has, by flags, or by the environment. Flags go before the stack, and that before the environment.

A line each: ok, warning (it works, and should be seen to), failed, or skipped (and why). What whoever runs this is not allowed
to see is skipped. The exit code is 1 if a check failed, and 0 otherwise, warnings or not. No secret and no token is printed.

With --json: ok (no check failed), and checks (check, status, detail, fix).`

func (a *app) doctorCommand() *cobra.Command {
	f := doctorFlags{named: map[string]string{}, wait: lifetime{doctor.DefaultPatience, true}}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look over a deployment or a laptop, and say what is wrong",
		Long:  doctorHelp,
		Example: `  latchkey doctor                                    # the laptop, while "latchkey dev" runs
  latchkey doctor --stack latchkey
  latchkey doctor --issuer https://id.example.com    # what anybody can see`,
		Args: noArgs,
	}
	fl := cmd.Flags()
	a.addDirFlag(fl, &f.place)
	fl.StringVar(&f.stack, "stack", "", "`name` of a CloudFormation stack made of the template")
	values := map[string]*string{}
	for _, n := range doctorNames {
		values[n.name] = fl.String(n.name, "", n.usage+" (env "+n.env+")")
	}
	values["api"] = fl.String("api", "", "`URL` of an API behind the authorizer, to be called by GET (default: the stack's /whoami)")
	values["audience"] = fl.String("audience", "", "`URI` of that API, as the aud of its tokens (default: the stack's first)")
	fl.StringArrayVar(&f.scopes, "scope", nil, "`scope` that its route needs, if it needs one; may be repeated")
	fl.BoolVar(&f.noFlow, "no-flow", false, "leave the flow out, which writes")
	fl.Var(&f.wait, "wait", "how long to wait for the revocation to be obeyed; 0 not to")
	fl.Lookup("wait").DefValue = "45s"
	fl.BoolVar(&f.asJSON, "json", false, "print JSON for scripts")
	cmd.RunE = a.action(func(ctx context.Context, _ []string) error {
		for name, value := range values {
			if f.named[name] = *value; fl.Changed(name) && *value == "" {
				return usagef("--%s is empty", name)
			}
		}
		return a.doctor(ctx, &f)
	})
	return cmd
}

// onAWS fills in what the environment names, and reports whether a deployment is meant.
func (a *app) onAWS(f *doctorFlags) (bool, error) {
	given := f.stack
	for _, n := range doctorNames {
		given = cmp.Or(given, f.named[n.name])
	}
	if f.place.dirGiven() {
		if given != "" {
			return false, usagef("--dir is the laptop's, and %s is on AWS: give either", plain(given))
		}
		return false, nil
	}
	if f.stack != "" {
		return true, nil // which has all of it
	}
	for _, n := range doctorNames {
		f.named[n.name] = cmp.Or(f.named[n.name], a.env(n.env))
		given = cmp.Or(given, f.named[n.name])
	}
	return given != "", nil
}

// doctorJSON is what --json prints.
type doctorJSON struct {
	OK     bool             `json:"ok"`
	Checks []doctor.Finding `json:"checks"`
}

func (a *app) doctor(ctx context.Context, f *doctorFlags) (err error) {
	scope, err := scopeOf(f.scopes)
	if err != nil {
		return err
	}
	aws, err := a.onAWS(f)
	if err != nil {
		return err
	}
	p := a.progress()
	out := doctorJSON{OK: true, Checks: []doctor.Finding{}}
	counts := map[doctor.Status]int64{}
	e := &doctor.Examination{
		Laptop: !aws, Scope: scope, Patience: f.wait.d, Now: a.now,
		Busy: func(what string) { p.say("%s …", what) },
		Tell: func(found doctor.Finding) {
			p.clear()
			out.Checks = append(out.Checks, found)
			counts[found.Status]++
			if !f.asJSON {
				a.printFinding(found)
			}
		},
	}
	prepare := a.laptopPatient
	if aws {
		prepare = a.awsPatient
	}
	closing, err := prepare(ctx, f, e)
	if err != nil && !errors.Is(err, errNothing) {
		return err
	}
	nothing := err != nil
	defer func() { err = errors.Join(err, closing()) }()
	if f.noFlow {
		e.Clients, e.WithoutFlow = nil, "--no-flow"
	}
	if e.Clients != nil {
		e.Clients.Changed = quietly(p, e.Clients.Changed)
	}
	var stopped error
	if !nothing {
		stopped = e.Run(ctx)
	}
	p.clear()
	out.OK = counts[doctor.Failed] == 0 && stopped == nil
	if f.asJSON {
		if err := a.printJSON(out); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.stdout, "\n%d ok, %s, %d failed, %d skipped\n",
			counts[doctor.OK], plural(counts[doctor.Warning], "warning"), counts[doctor.Failed], counts[doctor.Skipped])
	}
	switch n := counts[doctor.Failed]; {
	case stopped != nil:
		return errors.New("interrupted: what is left was not looked at")
	case n > 0:
		return fmt.Errorf("%s failed", plural(n, "check"))
	}
	return nil
}

// printFinding is one line.
func (a *app) printFinding(f doctor.Finding) {
	text := f.Detail
	if f.Fix != "" {
		text += " → " + f.Fix
	}
	fmt.Fprintf(a.stdout, "%-8s %-19s %s\n", f.Status, f.Check, oneLine(errors.New(text)))
}

// awsPatient says what is looked at of a deployment.
func (a *app) awsPatient(ctx context.Context, f *doctorFlags, e *doctor.Examination) (closing func() error, err error) {
	closing = func() error { return nil }
	cloud := f.stack != ""
	for _, n := range doctorNames {
		cloud = cloud || n.name != "issuer" && f.named[n.name] != ""
	}
	e.WithoutFlow = "it takes --clients-table and --revocations-table"
	if cloud {
		if err := a.tablesPatient(ctx, f, e); err != nil {
			return closing, err
		}
	}
	e.Issuer, e.WithoutIssuer = f.named["issuer"], cmp.Or(f.withoutIssuer, "the issuer was not named (--issuer)")
	e.API, e.Audience, e.Period = f.named["api"], f.named["audience"], f.period
	if e.API != "" && e.Audience == "" {
		return closing, usagef("--api takes --audience: whom must its tokens be for?")
	}
	return closing, nil
}

// tablesPatient says what is looked at on AWS itself.
func (a *app) tablesPatient(ctx context.Context, f *doctorFlags, e *doctor.Examination) error {
	cfg, err := awsConfig(ctx)
	if err != nil {
		return err
	}
	e.Identity = func(ctx context.Context) (string, error) {
		out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return "", awserr.Translate("STS GetCallerIdentity", err)
		}
		return *out.Arn, nil
	}
	if f.stack != "" {
		if err := f.readStack(ctx, cfg); err != nil {
			return err
		}
	}
	keys, err := openAWSKeys(ctx, &keysFlags{
		accessSecret: f.named["access-secret"], refreshSecret: f.named["refresh-secret"], public: f.named[tableFlag("keys")],
	})
	if err != nil {
		return err
	}
	e.Access, e.Refresh, e.Public = keys.access, keys.refresh, keys.public
	e.DB = dynamodb.NewFromConfig(cfg)
	for _, concept := range doctor.Concepts {
		e.Tables = append(e.Tables, doctor.Table{Concept: concept, Name: f.named[tableFlag(concept)]})
	}
	p := f.place
	p.table, p.revocations = f.named[tableFlag("clients")], f.named[tableFlag("revocations")]
	if p.table == "" || p.revocations == "" {
		return nil
	}
	store, err := openTables(ctx, &p)
	if err != nil {
		return err
	}
	e.Clients = a.throwAway(&p, store)
	return nil
}

// throwAway makes the registry of the flow's client. Of that, the audit says that it was made and that it is gone, and no more.
func (a *app) throwAway(p *place, store *openedStore) *client.Registry {
	reg := a.registry(p, store)
	reg.Changed = func(ctx context.Context, before, after *client.Record) {
		switch {
		case before == nil:
			a.audit(ctx, p.scene(), "client.created", after.ID, nil, nil)
		case after == nil:
			a.audit(ctx, p.scene(), "client.deleted", before.ID, nil, nil)
		}
	}
	return reg
}
