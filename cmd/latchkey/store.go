package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/pflag"

	"github.com/latchkey-auth/latchkey/internal/adminsock"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
	"github.com/latchkey-auth/latchkey/pkg/issuer"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

// The files of the laptop's folder, besides demo.json.
const (
	defaultDir = ".latchkey"
	storeFile  = "store.db"
	keysFile   = "keys.json"
	socketFile = "admin.sock"
)

// place is where a command works: in the laptop's folder, or on a DynamoDB table.
type place struct {
	dir         string
	table       string // of clients; empty: the laptop
	users       string // table
	issuers     string // table
	revocations string // table
	flags       *pflag.FlagSet
}

func (a *app) addDirFlag(flags *pflag.FlagSet, p *place) {
	p.flags = flags
	flags.StringVar(&p.dir, "dir", cmp.Or(a.env("LATCHKEY_DIR"), defaultDir), "`folder` of the laptop's store and keys (env LATCHKEY_DIR)")
}

func (a *app) addTableFlag(flags *pflag.FlagSet, p *place) {
	flags.StringVar(&p.table, "clients-table", "", "DynamoDB `table` of the clients; without it, the laptop's store (env CLIENTS_TABLE)")
}

func (a *app) addUsersFlag(flags *pflag.FlagSet, p *place) {
	flags.StringVar(&p.users, "users-table", "", "DynamoDB `table` of the users, on AWS (env USERS_TABLE)")
}

func (a *app) addIssuersFlag(flags *pflag.FlagSet, p *place) {
	flags.StringVar(&p.issuers, "issuers-table", "", "DynamoDB `table` of the trusted issuers, on AWS (env ISSUERS_TABLE)")
}

func (a *app) addRevocationsFlag(flags *pflag.FlagSet, p *place) {
	flags.StringVar(&p.revocations, "revocations-table", "", "DynamoDB `table` of the revocations, on AWS (env REVOCATIONS_TABLE)")
}

// dirGiven reports whether --dir is on the command line: then the laptop is meant, whatever the environment says.
func (p *place) dirGiven() bool { return p.flags.Changed("dir") }

// command returns a function that writes a command line of the tool, whose name was self, for the same folder.
func (p *place) command(self string) func(string) string {
	dir := ""
	if p.dirGiven() {
		dir = " --dir " + quoteShell(p.dir)
	}
	return func(args string) string { return quoteShell(self) + " " + args + dir }
}

// resolve fills in the tables from the environment.
func (a *app) resolve(p *place) error {
	switch {
	case p.dirGiven() && p.flags.Changed("clients-table"):
		return usagef("--dir is the laptop's store, and --clients-table is on AWS: give either")
	case p.dirGiven() && p.flags.Changed("revocations-table"):
		return usagef("--dir is the laptop's store, and --revocations-table is on AWS: give either")
	case p.dirGiven() && p.flags.Changed("users-table"):
		return usagef("--dir is the laptop's store, and --users-table is on AWS: give either")
	case p.dirGiven() && p.flags.Changed("issuers-table"):
		return usagef("--dir is the laptop's store, and --issuers-table is on AWS: give either")
	case p.flags.Changed("issuers-table") && p.issuers == "":
		return usagef("--issuers-table is empty: it must be the name or the ARN of a table")
	case p.flags.Changed("users-table") && p.users == "":
		return usagef("--users-table is empty: it must be the name or the ARN of a table")
	case p.flags.Changed("clients-table") && p.table == "":
		return usagef("--clients-table is empty: it must be the name or the ARN of a table")
	case p.flags.Changed("revocations-table") && p.revocations == "":
		return usagef("--revocations-table is empty: it must be the name or the ARN of a table")
	case p.dirGiven():
		return nil
	}
	p.table = cmp.Or(p.table, a.env("CLIENTS_TABLE"))
	p.users = cmp.Or(p.users, a.env("USERS_TABLE"))
	if p.flags.Lookup("issuers-table") != nil {
		p.issuers = cmp.Or(p.issuers, a.env("ISSUERS_TABLE"))
	}
	p.revocations = cmp.Or(p.revocations, a.env("REVOCATIONS_TABLE"))
	return nil
}

func (p *place) aws() bool { return p.table != "" }

// where says in words where that is, to stand after "in".
func (p *place) where() string {
	switch {
	case p.aws():
		return "the DynamoDB table " + p.table
	case p.issuers != "":
		return "the DynamoDB table " + p.issuers
	case p.users != "" && p.flags.Lookup("clients-table") == nil && p.flags.Lookup("issuers-table") == nil:
		return "the DynamoDB table " + p.users
	case p.revocations != "":
		return "the DynamoDB table " + p.revocations
	}
	return "the store in " + p.dir
}

// openedStore is a store that was opened for one command.
type openedStore struct {
	client.Store
	users       user.Store          // nil where that table is on AWS and was not named
	issuers     issuer.Store        // the same
	revocations revocation.Appender // nil where no table of them was named
	where       string              // see place.where
	close       func() error
}

// errNoTable is for what has to be told in the revocations table where none was named: it is not done.
var errNoTable = usagef("on AWS that takes --revocations-table, too (env REVOCATIONS_TABLE; the stack's output RevocationsTableName). Nothing was changed")

// openStore opens the store of clients: on the laptop through the process of `latchkey dev` while that runs, which has the
// file to itself, and the file otherwise.
func (a *app) openStore(ctx context.Context, p *place) (*openedStore, error) {
	if err := a.resolve(p); err != nil {
		return nil, err
	}
	switch {
	case p.aws():
		return openTables(ctx, p)
	case p.flags.Changed("revocations-table"):
		return nil, usagef("--revocations-table goes with --clients-table")
	}
	return openLaptop(p)
}

// openRevocations opens the log of revocations, and the clients besides if they are needed.
func (a *app) openRevocations(ctx context.Context, p *place, clients bool) (*openedStore, error) {
	if err := a.resolve(p); err != nil {
		return nil, err
	}
	switch {
	case p.revocations != "" && clients && p.table == "":
		return nil, usagef("on AWS, --client takes --clients-table, too (env CLIENTS_TABLE)")
	case p.revocations == "" && p.table != "":
		// Whoever has named one table does not mean the laptop.
		return nil, usagef("on AWS it takes --revocations-table (env REVOCATIONS_TABLE; the stack's output RevocationsTableName)")
	case p.revocations != "":
		return openTables(ctx, p)
	}
	return openLaptop(p)
}

// openUsers opens the store of users, as openStore does that of clients.
func (a *app) openUsers(ctx context.Context, p *place) (*openedStore, error) {
	if err := a.resolve(p); err != nil {
		return nil, err
	}
	p.table = "" // of clients, from the environment, if anything: no command on users needs it
	switch {
	case p.users != "":
		return openTables(ctx, p)
	case p.revocations != "" || !p.dirGiven() && a.env("CLIENTS_TABLE") != "":
		// Whoever has named one table does not mean the laptop.
		return nil, usagef("on AWS it takes --users-table (env USERS_TABLE; the stack's output UsersTableName)")
	}
	return openLaptop(p)
}

// openIssuers opens the store of issuers, and that of users where it is at hand.
func (a *app) openIssuers(ctx context.Context, p *place) (*openedStore, error) {
	if err := a.resolve(p); err != nil {
		return nil, err
	}
	p.table = "" // of clients: no command on issuers needs it
	switch {
	case p.issuers != "":
		return openTables(ctx, p)
	case p.users != "" || p.revocations != "" || !p.dirGiven() && a.env("CLIENTS_TABLE") != "":
		// Whoever has named one table does not mean the laptop.
		return nil, usagef("on AWS it takes --issuers-table (env ISSUERS_TABLE; the stack's output IssuersTableName)")
	}
	return openLaptop(p)
}

// maxSkew is how far a person's machine may be from DynamoDB's time when it says that something is revoked: well within the
// time by which the feed's readers look back.
const maxSkew = 30 * time.Second

// openTables opens those tables that are named.
func openTables(ctx context.Context, p *place) (*openedStore, error) {
	cfg, err := awsConfig(ctx)
	if err != nil {
		return nil, err
	}
	db := dynamodb.NewFromConfig(cfg)
	opened := &openedStore{where: p.where(), close: func() error { return nil }}
	if p.table != "" {
		if opened.Store, err = dynamostore.NewClients(db, p.table); err != nil {
			return nil, err
		}
	}
	if p.users != "" {
		if opened.users, err = dynamostore.NewUsers(db, p.users); err != nil {
			return nil, err
		}
	}
	if p.issuers != "" {
		if opened.issuers, err = dynamostore.NewIssuers(db, p.issuers); err != nil {
			return nil, err
		}
	}
	if p.revocations != "" {
		revocations, err := dynamostore.NewRevocations(db, p.revocations)
		if err != nil {
			return nil, err
		}
		revocations.MaxSkew = maxSkew
		opened.revocations = revocations
	}
	return opened, nil
}

func openLaptop(p *place) (*openedStore, error) {
	store, err := dialDev(p)
	if !errors.Is(err, adminsock.ErrNotRunning) {
		return store, err
	}
	path := filepath.Join(p.dir, storeFile)
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no store in %s: `latchkey dev` makes it there; --dir names another folder, --clients-table a table on AWS", p.dir)
	case err != nil:
		return nil, err
	}
	local, err := boltstore.Open(path)
	if errors.Is(err, boltstore.ErrLocked) { // by a process that was just starting
		if store, err := dialDev(p); err == nil {
			return store, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return &openedStore{local, local, local, local, p.where(), local.Close}, nil
}

// dialDev opens the store of the `latchkey dev` that runs on the folder; adminsock.ErrNotRunning where none does.
func dialDev(p *place) (*openedStore, error) {
	s, err := adminsock.Dial(filepath.Join(p.dir, socketFile))
	if err != nil {
		return nil, err
	}
	return &openedStore{s, s, s, s, p.where(), s.Close}, nil
}

// awsConfig is the SDK's own, from the environment and ~/.aws. The SDK's warnings, which it would write between our lines,
// are dropped: what goes wrong is in the errors.
func awsConfig(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{}))
	if err != nil {
		return cfg, fmt.Errorf("the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return cfg, errors.New("no AWS region: set AWS_REGION, or choose a profile that has one with AWS_PROFILE")
	}
	return cfg, nil
}
