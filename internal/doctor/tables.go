package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/latchkey-auth/latchkey/internal/awserr"
)

// Table is a table of the deployment's.
type Table struct {
	Concept string // clients, users and so on: see Concepts
	Name    string // or ARN; empty: it was not named
}

// shape is what a concept's table has to be like.
type shape struct {
	key, sort string // attributes, strings all of them
	expires   bool   // items are deleted by the TTL attribute expires_at
}

const ttlAttribute = "expires_at"

var shapes = map[string]shape{
	"clients":     {key: "client_id"},
	"users":       {key: "username"},
	"signins":     {key: "id", expires: true},
	"issuers":     {key: "issuer"},
	"assertions":  {key: "id", expires: true},
	"grants":      {key: "grant_id", expires: true},
	"keys":        {key: "id"},
	"revocations": {key: "day", sort: "at", expires: true},
}

// Concepts are those that there are tables of, in the order in which they are looked at.
var Concepts = []string{"clients", "users", "signins", "issuers", "assertions", "grants", "keys", "revocations"}

func (e *Examination) tables(ctx context.Context) {
	if e.DB == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*limit)
	defer cancel()
	// All at once: where nobody answers, each takes its time.
	found := make([]Finding, len(e.Tables))
	var all sync.WaitGroup
	var mu sync.Mutex
	for i, t := range e.Tables {
		check := "tables." + t.Concept
		if t.Name == "" {
			found[i] = Finding{Check: check, Status: Skipped, Detail: "not named (--" + t.Concept + "-table)"}
			continue
		}
		all.Go(func() {
			var s *skew
			found[i], s = e.table(ctx, t)
			found[i].Check = check
			if s != nil {
				mu.Lock()
				defer mu.Unlock()
				if len(e.skews) == 0 {
					e.skews = append(e.skews, *s)
				}
			}
		})
	}
	all.Wait()
	for _, f := range found {
		e.Tell(f)
	}
}

// table looks at one table. How far DynamoDB's clock is from this machine's comes with it, where it said.
func (e *Examination) table(ctx context.Context, t Table) (Finding, *skew) {
	sent := e.Now()
	out, err := e.DB.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &t.Name})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing):
		return Finding{Status: Failed, Detail: "there is no such table in this account and Region", Fix: "name this deployment's own (--" + t.Concept + "-table, or --stack)"}, nil
	case err != nil:
		return unseen(awserr.Translate("DynamoDB DescribeTable", err)), nil
	}
	var s *skew
	if there, ok := awsmiddleware.GetServerTime(out.ResultMetadata); ok {
		s = skewOf("DynamoDB", sent, e.Now(), there)
	}
	want, table := shapes[t.Concept], out.Table
	if table.TableStatus != types.TableStatusActive && table.TableStatus != types.TableStatusUpdating {
		return Finding{Status: Failed, Detail: fmt.Sprintf("it can't be used: its status is %s", table.TableStatus)}, s
	}
	if got := schema(table.KeySchema); got != want.String() {
		return Finding{
			Status: Failed, Detail: fmt.Sprintf("its key is %s, and that of a table of %s is %s", got, t.Concept, want),
			Fix: "it is another table: name this deployment's own (--" + t.Concept + "-table)",
		}, s
	}
	return e.protection(ctx, t, want, table), s
}

func unseen(err error) Finding {
	if errors.Is(err, awserr.ErrDenied) {
		return Finding{Status: Skipped, Detail: "not allowed to whoever runs this: it takes dynamodb:DescribeTable"}
	}
	return Finding{Status: Failed, Detail: err.Error()}
}

func (s shape) String() string { return strings.TrimSuffix(s.key+" and "+s.sort, " and ") }

func schema(keys []types.KeySchemaElement) string {
	var s shape
	for _, k := range keys {
		if k.KeyType == types.KeyTypeHash {
			s.key = aws.ToString(k.AttributeName)
		} else {
			s.sort = aws.ToString(k.AttributeName)
		}
	}
	return s.String()
}

// protection looks at what keeps a table's content, and at what clears it. What may not be seen, or is not told, as by an
// emulator, is named.
func (e *Examination) protection(ctx context.Context, t Table, want shape, table *types.TableDescription) Finding {
	var good, bad, fixes, untold []string
	switch on := table.DeletionProtectionEnabled; {
	case on == nil:
		untold = append(untold, "deletion protection")
	case *on:
		good = append(good, "protected from deletion")
	default:
		bad, fixes = append(bad, "it is not protected from deletion"), append(fixes, "turn deletion protection on")
	}
	out, err := e.DB.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &t.Name})
	var backups types.PointInTimeRecoveryStatus
	if err == nil && out.ContinuousBackupsDescription != nil && out.ContinuousBackupsDescription.PointInTimeRecoveryDescription != nil {
		backups = out.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus
	}
	switch {
	case err != nil && !silent(err):
		return Finding{Status: Failed, Detail: awserr.Translate("DynamoDB DescribeContinuousBackups", err).Error()}
	case backups == "":
		untold = append(untold, "backups")
	case backups == types.PointInTimeRecoveryStatusEnabled:
		good = append(good, "backed up")
	default:
		bad, fixes = append(bad, "it is not backed up"), append(fixes, "turn point-in-time recovery on")
	}
	if want.expires {
		out, err := e.DB.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &t.Name})
		switch {
		case err != nil && !silent(err):
			return Finding{Status: Failed, Detail: awserr.Translate("DynamoDB DescribeTimeToLive", err).Error()}
		case err != nil || out.TimeToLiveDescription == nil:
			untold = append(untold, "TTL")
		case !clears(out.TimeToLiveDescription):
			bad = append(bad, "its TTL is off, so that what has expired stays, and is paid for")
			fixes = append(fixes, "turn TTL on by the attribute "+ttlAttribute)
		default:
			good = append(good, "TTL on")
		}
	}
	f := Finding{Status: OK, Detail: strings.Join(append(bad, good...), ", "), Fix: strings.Join(fixes, ", ")}
	if len(untold) > 0 {
		f.Detail = strings.TrimPrefix(f.Detail+"; not to be seen: "+strings.Join(untold, ", "), "; ")
	}
	if len(bad) > 0 {
		f.Status = Warning
	}
	return f
}

func clears(d *types.TimeToLiveDescription) bool {
	on := d.TimeToLiveStatus == types.TimeToLiveStatusEnabled || d.TimeToLiveStatus == types.TimeToLiveStatusEnabling
	return on && aws.ToString(d.AttributeName) == ttlAttribute
}

// silent reports whether an error says that a call may not be made, or is not served, as by an emulator.
func silent(err error) bool {
	var api smithy.APIError
	return errors.Is(awserr.Translate("", err), awserr.ErrDenied) || errors.As(err, &api) && api.ErrorCode() == "UnknownOperationException"
}
