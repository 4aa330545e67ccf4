package main

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"os/user"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
)

// auditLine is what an operator changed: one JSON line on stderr, told from everything else there by its event.
type auditLine struct {
	Time   string  `json:"time"`
	Event  string  `json:"event"`  // audit
	Stream string  `json:"stream"` // audit, as in the functions' logs
	Action string  `json:"action"`
	By     auditBy `json:"by"`
	Where  string  `json:"where"`
	ID     string  `json:"id"`
	Before any     `json:"before,omitempty"`
	After  any     `json:"after,omitempty"`
}

// auditBy is who did it: the AWS identity where the change was made there, and in any case the user of this machine, which
// nobody vouches for.
type auditBy struct {
	AWS  string `json:"aws,omitempty"` // ARN
	User string `json:"user,omitempty"`
	Host string `json:"host,omitempty"`
}

// scene is where a change was made.
type scene struct {
	where string // in words
	aws   bool
}

func (p *place) scene() scene {
	return scene{p.where(), p.aws() || p.users != "" || p.issuers != "" || p.revocations != ""}
}

func (f *keysFlags) scene() scene {
	if f.aws() {
		return scene{"AWS Secrets Manager", true}
	}
	return scene{"the keys in " + f.place.dir, false}
}

// identityWait bounds how long AWS is asked who this is. The change is made by then, and is told in any case.
const identityWait = 3 * time.Second

// auditHelp documents it, under `latchkey help audit`.
const auditHelp = `What changes a client, a user, an issuer, the revocations or the keys writes one more line to stderr, in JSON, so that it can
be told from everything else there by its event:

  {"time": …, "event": "audit", "stream": "audit", "action": "client.updated", "by": {"aws": ARN, "user": …, "host": …}, "where": …, "id": …,
   "before": {…}, "after": {…}}

by has the AWS identity where the change was made on AWS, as sts:GetCallerIdentity tells it, and the user of this machine in
any case, which nobody vouches for. before and after are what --json prints of the record; no secret, no password and no
hash of one is in it. To keep it: latchkey … 2>> audit.log. What nobody can forgo is CloudTrail's record of DynamoDB's data
events on the tables, which the account has to turn on.`

// audit writes what was changed, with the records as the tool shows them: no secret and no hash of one is among it.
func (a *app) audit(ctx context.Context, in scene, action, id string, before, after any) {
	line := auditLine{
		Time: a.now().UTC().Format(time.RFC3339), Event: "audit", Stream: oauth.StreamAudit, Action: action, Where: in.where, ID: id, Before: before, After: after,
		By: auditBy{User: localUser()},
	}
	line.By.Host, _ = os.Hostname() // what is not known is left out
	if in.aws {
		a.asked.Do(func() { a.identity = awsIdentity(context.WithoutCancel(ctx)) }) // once for many changes
		line.By.AWS = a.identity
	}
	e := json.NewEncoder(a.stderr)
	e.SetEscapeHTML(false)
	_ = e.Encode(line) // of stderr's errors nobody can be told
}

func localUser() string {
	u, err := user.Current()
	if err != nil {
		return os.Getenv("USER")
	}
	return cmp.Or(u.Username, u.Uid)
}

// awsIdentity asks AWS whose credentials are in use, empty where it does not say.
func awsIdentity(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, identityWait)
	defer cancel()
	cfg, err := awsConfig(ctx)
	if err != nil {
		return ""
	}
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || out.Arn == nil {
		return ""
	}
	return *out.Arn
}
